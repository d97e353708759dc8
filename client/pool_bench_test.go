package client

import (
	"context"
	"fmt"
	"testing"

	"github.com/detached-workers/unref/lifecycle"
)

// instant is a worker whose calls take no time, so that what is measured is the
// pool.
type instant struct{ *fakeWorker }

func (instant) Invoke(context.Context, *Request, any) error { return nil }

// What a pool adds to each call.
func BenchmarkPoolCall(b *testing.B) {
	for _, workers := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("workers=%d", workers), func(b *testing.B) {
			p := benchPool(b, workers)
			req := &Request{Method: "none"}
			b.ReportAllocs()
			for b.Loop() {
				if err := p.Invoke(b.Context(), req, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// The same from many callers, with some who read the pool's events.
func BenchmarkPoolCallsOfManyCallers(b *testing.B) {
	for _, readers := range []int{0, 10} {
		b.Run(fmt.Sprintf("readers=%d", readers), func(b *testing.B) {
			p := benchPool(b, 8)
			for range readers {
				go func() { // until the pool is killed
					for range p.Events(context.Background()) {
					}
				}()
			}
			req := &Request{Method: "none"}
			b.SetParallelism(32)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := p.Invoke(b.Context(), req, nil); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

func benchPool(b *testing.B, workers int) *Pool {
	b.Helper()
	cfg := PoolConfig{Command: &lifecycle.Command{}, Min: workers, Max: workers, CallsPerWorker: 8}
	p := newPool(cfg.withDefaults())
	p.start = func(_ context.Context, slot int, _ *lifecycle.Command) (poolWorker, error) {
		return instant{&fakeWorker{slot: slot, pid: slot + 1, done: make(chan struct{}), gone: func() {}}}, nil
	}
	p.timer.Reset(0)
	b.Cleanup(func() { _ = p.Kill() })
	if err := p.Ready(b.Context()); err != nil {
		b.Fatal(err)
	}
	return p
}
