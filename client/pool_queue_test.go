package client

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/detached-workers/unref/lifecycle"
	"github.com/detached-workers/unref/transport"
)

func TestNewPoolNamesAllFaultsAtOnce(t *testing.T) {
	_, err := NewPool(PoolConfig{
		Min: 5, Max: 4, CallsPerWorker: -1, MaxTries: -1, MaxCalls: -1, MaxAge: -1, MaxIdleRSS: 3, MaxRSS: 2, Jitter: 1,
		MinBackoff: 2, MaxBackoff: 1, RestartWindow: -1, Name: "shared\n",
	})
	if !errors.Is(err, fs.ErrInvalid) {
		t.Fatalf("NewPool = %v, want an error that wraps fs.ErrInvalid", err)
	}
	for _, field := range []string{
		"Command", "Min of 5", "CallsPerWorker", "MaxTries", "MaxCalls", "MaxAge", "MaxIdleRSS of 3", "Jitter", "MinBackoff", "RestartWindow", "Name",
	} {
		if !strings.Contains(err.Error(), field) {
			t.Errorf("the error does not name %s:\n%v", field, err)
		}
	}
}

func TestPoolStartsMinAtOnceAndOthersWhenNeeded(t *testing.T) {
	simulate(t, PoolConfig{Min: 2, Max: 4}, func(t *testing.T, p *Pool, f *fakes) {
		ready(t, p)
		if got := p.Stats(); got.Idle != 2 || got.Workers() != 2 {
			t.Errorf("after Ready: %+v, want 2 idle workers", got)
		}
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { mustDo(t, p, time.Second) })
		}
		synctest.Wait()
		if got := p.Stats(); got.Running != 2 || got.Queued != 1 || got.Starting != 1 {
			t.Errorf("with 3 calls: %+v, want 2 running, 1 queued, 1 worker starting", got)
		}
		wg.Wait()
	})
}

func mustDo(t *testing.T, c Caller, d time.Duration, opts ...CallOption) int {
	t.Helper()
	pid, err := do(context.Background(), c, d, opts...)
	if err != nil {
		t.Error(err)
	}
	return pid
}

func TestPoolReadyEndsWithItsContextAndSaysWhatIsMissing(t *testing.T) {
	simulate(t, PoolConfig{Min: 2, MaxRestarts: -1}, func(t *testing.T, p *Pool, f *fakes) {
		f.setFail(errors.New("no such luck"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := p.Ready(ctx)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "0 of 2 workers") || !strings.Contains(err.Error(), "no such luck") {
			t.Errorf("Ready = %v", err)
		}
	})
}

func TestPoolRefusesCallsBeyondTheQueue(t *testing.T) {
	simulate(t, PoolConfig{Min: 1, Max: 1, MaxQueue: 2}, func(t *testing.T, p *Pool, f *fakes) {
		ready(t, p)
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { mustDo(t, p, time.Second) })
			synctest.Wait()
		}
		began := time.Now()
		_, err := do(t.Context(), p, 0)
		if !errors.Is(err, ErrQueueFull) || !SafeToRetry(err) || time.Since(began) != 0 {
			t.Errorf("the 4th call = %v after %v, want ErrQueueFull at once, safe to retry", err, time.Since(began))
		}
		if got := p.Stats(); got.Refused != 1 || got.Queued+got.Running+got.Starting < 3 {
			t.Errorf("stats %+v, want 1 refused", got)
		}
		wg.Wait()
	})
}

func TestPoolWithoutQueueTakesWhatAWorkerIsFreeFor(t *testing.T) {
	simulate(t, PoolConfig{Min: 1, Max: 1, MaxQueue: -1}, func(t *testing.T, p *Pool, f *fakes) {
		ready(t, p)
		var wg sync.WaitGroup
		wg.Go(func() { mustDo(t, p, time.Second) })
		synctest.Wait()
		if _, err := do(t.Context(), p, 0); !errors.Is(err, ErrQueueFull) {
			t.Errorf("a call beside one = %v, want ErrQueueFull", err)
		}
		wg.Wait()
		mustDo(t, p, 0)
	})
}

// LESSONS.md 32: the time in the queue is no part of the call's.
func TestPoolQueueTimeIsLimitedApartFromTheCalls(t *testing.T) {
	simulate(t, PoolConfig{Min: 1, Max: 1, QueueTimeout: 3 * time.Second}, func(t *testing.T, p *Pool, f *fakes) {
		ready(t, p)
		var wg sync.WaitGroup
		wg.Go(func() { mustDo(t, p, 2*time.Second) })
		synctest.Wait()
		wg.Go(func() { mustDo(t, p, 2*time.Second, Timeout(2500*time.Millisecond)) }) // 2 s in the queue, 2 s on the worker
		synctest.Wait()
		began := time.Now()
		_, err := do(t.Context(), p, 0)
		if !errors.Is(err, ErrQueueTimeout) || !SafeToRetry(err) || time.Since(began) != 3*time.Second {
			t.Errorf("a call behind 4 s of others = %v after %v, want ErrQueueTimeout after 3 s", err, time.Since(began))
		}
		wg.Wait()
		if got := p.Stats(); got.QueueTimeouts != 1 || got.Timeouts != 0 {
			t.Errorf("stats %+v, want 1 queue timeout and no other", got)
		}
	})
}

func TestPoolServesHigherPrioritiesFirstAndElseInOrder(t *testing.T) {
	var mu sync.Mutex
	var order []string
	handle := func(ctx context.Context, w *fakeWorker, req *Request) error {
		mu.Lock()
		order = append(order, req.Metadata["name"])
		mu.Unlock()
		return rest(ctx, time.Second)
	}
	simulate(t, PoolConfig{Min: 1, Max: 1}, func(t *testing.T, p *Pool, f *fakes) {
		f.setHandle(handle)
		ready(t, p)
		var wg sync.WaitGroup
		for _, c := range []struct {
			name     string
			priority int
		}{{"first", 0}, {"low", -1}, {"a", 0}, {"b", 0}, {"high", 5}, {"c", 0}, {"higher", 7}} {
			wg.Go(func() { mustDo(t, p, 0, Priority(c.priority), Metadata("name", c.name)) })
			synctest.Wait()
		}
		wg.Wait()
		if got, want := strings.Join(order, " "), "first higher high a b c low"; got != want {
			t.Errorf("order %q, want %q", got, want)
		}
	})
}

func TestPoolForgetsACallThatIsCancelledInTheQueue(t *testing.T) {
	simulate(t, PoolConfig{Min: 1, Max: 1, MaxQueue: 1, QueueTimeout: -1}, func(t *testing.T, p *Pool, f *fakes) {
		var wg sync.WaitGroup
		wg.Go(func() { mustDo(t, p, time.Minute) })
		synctest.Wait()
		pass(time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		_, err := do(ctx, p, 0)
		if !errors.Is(err, context.Canceled) || !errors.Is(err, transport.CodeCanceled) || !SafeToRetry(err) {
			t.Errorf("a cancelled call in the queue = %v, want CodeCanceled, safe to retry", err)
		}
		if got := p.Stats(); got.Queued != 0 {
			t.Errorf("%d calls are queued, want none", got.Queued)
		}
		wg.Go(func() { mustDo(t, p, 0) }) // there is room again
		wg.Wait()
		if n := f.all()[0].served; n != 2 {
			t.Errorf("the worker has seen %d calls, want 2", n)
		}
		if got := p.Stats(); got.Canceled != 1 || got.Calls != 3 {
			t.Errorf("stats %+v, want 1 of 3 calls cancelled", got)
		}
	})
}

func TestPoolCallWithoutTimeLeftIsNotMade(t *testing.T) {
	simulate(t, PoolConfig{Min: 1}, func(t *testing.T, p *Pool, f *fakes) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := do(ctx, p, 0); !errors.Is(err, context.Canceled) || !SafeToRetry(err) {
			t.Errorf("a call with a context that has ended = %v", err)
		}
	})
}

func TestPoolGrowsOnlyAsFarAsCallsNeed(t *testing.T) {
	simulate(t, PoolConfig{Max: 8, CallsPerWorker: 2}, func(t *testing.T, p *Pool, f *fakes) {
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() { mustDo(t, p, time.Second) })
		}
		wg.Wait()
		if n := f.starts(); n != 3 {
			t.Errorf("%d starts for 5 calls at 2 each, want 3", n)
		}
	})
}

// LESSONS.md 42: workers beyond the minimum leave when nobody needs them, and
// those that stay are the same.
func TestPoolShrinksToMinWithoutReplacingThoseThatStay(t *testing.T) {
	simulate(t, PoolConfig{Min: 2, Max: 6, ShrinkAfter: time.Minute}, func(t *testing.T, p *Pool, f *fakes) {
		var wg sync.WaitGroup
		for range 6 {
			wg.Go(func() { mustDo(t, p, time.Second) })
		}
		wg.Wait()
		if n := len(f.living()); n != 6 {
			t.Fatalf("%d workers, want 6", n)
		}
		pass(59 * time.Second)
		for range 3 { // one after the other: it takes one worker
			mustDo(t, p, time.Second)
		}
		pass(10 * time.Minute)
		if n := len(f.living()); n != 2 {
			t.Errorf("%d workers after 10 idle minutes, want 2", n)
		}
		if n := f.starts(); n != 6 {
			t.Errorf("%d starts, want 6: shrinking replaces nobody", n)
		}
		if got := p.Stats(); got.Ends[ReasonIdle] != 4 || got.Restarts() != 0 {
			t.Errorf("stats %+v, want 4 ends of idle workers and no restart", got)
		}
	})
}

// LESSONS.md 43, as far as the pool's own decisions go.
func TestPoolThatIsIdleHasNothingToDecide(t *testing.T) {
	simulate(t, PoolConfig{Min: 2, Max: 4, MaxIdleRSS: 1 << 30, MaxRSS: 1 << 31}, func(t *testing.T, p *Pool, f *fakes) {
		mustDo(t, p, time.Second)
		pass(10 * time.Minute)
		p.mu.Lock()
		defer p.mu.Unlock()
		if next := p.roster.wake(time.Now()); !next.IsZero() {
			t.Errorf("an idle pool wakes in %v, want never", time.Until(next))
		}
	})
}

func TestPoolGivesCommandAndSlotToPrepare(t *testing.T) {
	var mu sync.Mutex
	slots := map[int]string{}
	cfg := PoolConfig{Min: 3, Max: 3, Command: &lifecycle.Command{Path: "fake", Args: []string{"a"}}}
	cfg.Prepare = func(slot int, cmd *lifecycle.Command) error {
		mu.Lock()
		defer mu.Unlock()
		cmd.Args = append(cmd.Args, "slot")
		cmd.Args[0] = "changed"
		cmd.Build = string(rune('0' + slot))
		slots[slot] = strings.Join(cmd.Args, " ")
		return nil
	}
	simulate(t, cfg, func(t *testing.T, p *Pool, f *fakes) {
		ready(t, p)
		if len(slots) != 3 || slots[0] != "changed slot" || slots[1] != "changed slot" || slots[2] != "changed slot" {
			t.Errorf("prepared %v, want slots 0 to 2 with arguments of their own", slots)
		}
		for _, w := range f.living() {
			if w.build != string(rune('0'+w.slot)) {
				t.Errorf("the worker in slot %d was started with what was prepared for slot %s", w.slot, w.build)
			}
		}
	})
}

func TestPoolTellsWaitingCallsThatPrepareFails(t *testing.T) {
	cfg := PoolConfig{Prepare: func(slot int, _ *lifecycle.Command) error { return errors.New("no device is left") }}
	simulate(t, cfg, func(t *testing.T, p *Pool, f *fakes) {
		_, err := do(t.Context(), p, 0)
		if err == nil || !strings.Contains(err.Error(), "prepare the worker in slot 0: no device is left") || !SafeToRetry(err) {
			t.Errorf("call = %v", err)
		}
	})
}
