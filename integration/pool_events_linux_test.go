package integration

import (
	"errors"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/detached-workers/unref/client"
)

// startPool starts a pool of workers that are gone when the test ends.
func startPool(t *testing.T, cfg client.PoolConfig) *client.Pool {
	t.Helper()
	cfg.Dialer = quiet()
	if cfg.Command == nil {
		cfg.Command = self()
	}
	p, err := client.NewPool(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Kill() })
	if err := p.Ready(limited(t)); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestSubscriptionOnAPoolHasTheEventsOfAllItsWorkersAndOfThoseToCome(t *testing.T) {
	t.Parallel()
	p := startPool(t, client.PoolConfig{Min: 2, Max: 2, MaxCalls: 3, CloseTimeout: time.Minute})
	events, err := client.Subscribe(limited(t), p, news)
	if err != nil {
		t.Fatal(err)
	}
	const rounds = 20 // with three calls at most for each worker, and one that is killed now and then
	received := make(chan struct{}, 1)
	var calls sync.WaitGroup
	defer calls.Wait()
	calls.Go(func() {
		for i := range rounds {
			if i%5 == 4 {
				if err := p.With(t.Context(), func(l *client.Lease) error { return unix.Kill(l.Pid(), unix.SIGKILL) }); err != nil {
					t.Error(err)
				}
			}
			if _, err := client.Call(t.Context(), p, report, reportReq{From: i, To: i + 1}, client.Idempotent()); err != nil {
				t.Errorf("call %d: %v", i, err)
			}
			<-received // who is killed may not have sent what it has emitted
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	next, pids := 0, map[int]bool{}
	for e, err := range events {
		if errors.Is(err, client.ErrClosed) {
			break
		}
		if err != nil || e.Missed > 0 || e.Value.N != next {
			t.Errorf("got %+v, %v, want number %d", e, err, next)
		}
		next++
		pids[e.Pid] = true
		received <- struct{}{}
	}
	if next != rounds || len(pids) < rounds/3 {
		t.Errorf("%d of %d events, from %d workers", next, rounds, len(pids))
	}
}

func TestSubscriptionOnAPoolThatIsLeftEnds(t *testing.T) {
	t.Parallel()
	p := startPool(t, client.PoolConfig{Min: 2, Max: 2})
	for range 3 {
		events, err := client.Subscribe(limited(t), p, news)
		if err != nil {
			t.Fatal(err)
		}
		tellNews(t, p, reportReq{To: 3})
		for e, err := range events {
			if err != nil || e.Value.N != 0 {
				t.Errorf("got %+v, %v", e, err)
			}
			break
		}
	}
	for _, a := range client.Broadcast(limited(t), p, report, reportReq{To: 1}) {
		if a.Err != nil {
			t.Error(a.Err)
		}
	}
}

func TestNotificationOnAPoolIsAnsweredBeforeItIsDone(t *testing.T) {
	t.Parallel()
	p := startPool(t, client.PoolConfig{Min: 1, Max: 1})
	events, err := client.Subscribe(limited(t), p, news)
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Notify(limited(t), p, report, reportReq{To: 3}); err != nil {
		t.Fatal(err)
	}
	n := 0
	for e, err := range events {
		if err != nil || e.Value.N != n {
			t.Fatalf("got %+v, %v, want %d", e, err, n)
		}
		if n++; n == 3 {
			break
		}
	}
}
