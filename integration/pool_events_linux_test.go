package integration

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/transport"
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

// What a worker has emitted before the pool ends it arrives, however soon that is.
func TestSubscriptionOnAPoolLosesNothingOfWorkersThatAreReplaced(t *testing.T) {
	t.Parallel()
	const calls, each = 60, 5
	p := startPool(t, client.PoolConfig{Min: 2, Max: 2, MaxCalls: 1})
	events, err := client.Subscribe(limited(t), p, news)
	if err != nil {
		t.Fatal(err)
	}
	var calling sync.WaitGroup
	defer calling.Wait()
	calling.Go(func() {
		for range calls {
			if _, err := client.Call(t.Context(), p, report, reportReq{To: each}); err != nil {
				t.Error(err)
			}
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	next := map[int]int{}
	for e, err := range events {
		if errors.Is(err, client.ErrClosed) {
			break
		}
		if err != nil || e.Missed > 0 || e.Value.N != next[e.Pid] {
			t.Errorf("got %+v, %v, want number %d", e, err, next[e.Pid])
		}
		next[e.Pid]++
	}
	whole := 0
	for _, n := range next {
		if n == each {
			whole++
		}
	}
	if whole != calls {
		t.Errorf("of %d workers all events came, want all of %d: %v", whole, calls, next)
	}
}

// outlast waits for one file and makes another, whatever becomes of its call.
const outlast transport.Method[[2]string, struct{}] = "outlast"

func handleOutlast(_ context.Context, files [2]string) (struct{}, error) {
	awaitFile(files[0])
	return struct{}{}, os.WriteFile(files[1], nil, 0o600)
}

func leaves(s client.PoolSlot) bool { return s.State == client.SlotStopping }

// A notification has no place in the worker, and is not cut off.
func TestPoolEndsNoWorkerBeforeItsNotificationsHaveEnded(t *testing.T) {
	t.Parallel()
	for how, end := range map[string]func(*client.Pool) error{
		"a reload": func(p *client.Pool) error { return p.Reload(self()) },
		"Close":    (*client.Pool).Close,
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			p := startPool(t, client.PoolConfig{Min: 1, Max: 1, CloseTimeout: patience})
			gate, done := filepath.Join(t.TempDir(), "gate"), filepath.Join(t.TempDir(), "done")
			if err := client.Notify(limited(t), p, outlast, [2]string{gate, done}); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- end(p) }()
			await(t, "the worker's turn to leave", func() bool { return slices.ContainsFunc(p.Slots(), leaves) })
			meanwhile(100 * time.Millisecond)
			if err := os.WriteFile(gate, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			awaitFile(done)
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestPoolWhoseWorkersLeaveWhenTheirTimeIsOverIsNotBroken(t *testing.T) {
	t.Parallel()
	cmd := self()
	cmd.MaxLifetime = 300 * time.Millisecond
	p := startPool(t, client.PoolConfig{Min: 1, Max: 1, MaxRestarts: 2, Command: cmd})
	await(t, "the end of five workers", func() bool { return p.Stats().Ends[client.ReasonExited] == 5 })
	if _, err := client.Call(limited(t), p, echo, nil); err != nil {
		t.Error(err)
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
