package integration

import (
	"context"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/detached-workers/unref/client"
)

// deeds are what may be done with a pool, each one at any moment and beside any
// other.
var deeds = []func(ctx context.Context, p *testPool){
	func(ctx context.Context, p *testPool) {
		_, _ = client.Call(ctx, p, work, workRequest{For: rand.N(5 * time.Millisecond)}, client.Priority(rand.N(3)))
	},
	func(ctx context.Context, p *testPool) {
		_, _ = client.Call(ctx, p, work, workRequest{For: time.Hour}, client.Timeout(rand.N(20*time.Millisecond)+1))
	},
	func(ctx context.Context, p *testPool) { // given up at any moment
		ctx, cancel := context.WithTimeout(ctx, rand.N(10*time.Millisecond))
		defer cancel()
		_, _ = client.Call(ctx, p, work, workRequest{For: rand.N(10 * time.Millisecond)}, client.Idempotent())
	},
	func(ctx context.Context, p *testPool) { // not ended in time, now and then
		req := workRequest{For: rand.N(100 * time.Millisecond), Ignore: true}
		_, _ = client.Call(ctx, p, work, req, client.Timeout(10*time.Millisecond))
	},
	func(ctx context.Context, p *testPool) {
		ctx, cancel := context.WithTimeout(ctx, rand.N(40*time.Millisecond))
		defer cancel()
		most := rand.N(20)
		for range client.Stream(ctx, p, feed, workRequest{N: 10, For: time.Millisecond}) {
			if most--; most < 0 {
				break
			}
		}
	},
	func(ctx context.Context, p *testPool) {
		_ = p.With(ctx, func(l *client.Lease) error {
			for range 3 {
				_, _ = client.Call(ctx, l, work, workRequest{})
			}
			if rand.N(4) == 0 {
				l.Discard()
			}
			return nil
		})
	},
	func(ctx context.Context, p *testPool) { client.Broadcast(ctx, p.Pool, echo, nil) },
	func(ctx context.Context, p *testPool) {
		if rand.N(10) == 0 {
			_ = p.Reload(p.command())
		}
	},
	func(ctx context.Context, p *testPool) {
		if pids := p.pids(); len(pids) > 0 && rand.N(10) == 0 {
			signal := []syscall.Signal{syscall.SIGKILL, syscall.SIGKILL, syscall.SIGTERM, syscall.SIGSTOP}[rand.N(4)]
			_ = syscall.Kill(pids[rand.N(len(pids))], signal)
		}
	},
}

// Whatever comes together, the pool is as it should be afterwards.
// LESSONS 26, 38, 39
func TestPoolIsSoundAfterAllThatCanHappenToItAtOnce(t *testing.T) {
	t.Parallel()
	d := quiet()
	d.Timeout = 500 * time.Millisecond // so that nobody waits for a worker that was stopped
	p := newPool(t, client.PoolConfig{
		Dialer: d, Min: 3, Max: 5, MaxCalls: 200, MaxAge: 500 * time.Millisecond, CallsPerWorker: 3, CancelGrace: 50 * time.Millisecond,
		ShrinkAfter: 300 * time.Millisecond, MaxRestarts: -1, MinBackoff: time.Millisecond,
	})
	var doing sync.WaitGroup
	until := time.Now().Add(time.Duration(rounds(10)) * 200 * time.Millisecond)
	for range 16 {
		doing.Go(func() {
			for time.Now().Before(until) {
				deeds[rand.N(len(deeds))](limited(t), p)
			}
		})
	}
	doing.Wait()
	for _, pid := range p.pids() {
		_ = syscall.Kill(pid, syscall.SIGCONT)
	}
	await(t, "a pool with nothing to do", func() bool {
		stats := p.Stats()
		return stats.Idle == 3 && stats.Workers() == 3 && stats.Running == 0 && stats.Leases == 0 && stats.Queued == 0
	})
	for range 20 {
		p.mustWork(workRequest{})
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}
