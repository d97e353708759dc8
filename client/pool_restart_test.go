package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/detached-workers/unref/lifecycle"
	"github.com/detached-workers/unref/transport"
)

// LESSONS.md 38.
func TestPoolIsAsLargeAsItWasAfterWorkersHaveDied(t *testing.T) {
	simulate(t, PoolConfig{Min: 1, Max: 4}, func(t *testing.T, p *Pool, f *fakes) {
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() { mustDo(t, p, time.Second) })
		}
		wg.Wait()
		for round := range 3 {
			for _, w := range f.living()[:2] {
				w.die("test")
			}
			pass(5 * time.Second)
			if n := len(f.living()); n != 4 {
				t.Fatalf("round %d: %d workers after 2 of 4 have died, want 4", round, n)
			}
		}
		if got := p.Stats(); got.Ends[ReasonCrashed] != 6 || got.Restarts() != 6 || f.starts() != 10 {
			t.Errorf("%d starts, stats %+v, want 10 starts, 6 crashes and restarts", f.starts(), got)
		}
	})
}

func TestPoolStartsOneReplacementHoweverManyNeedIt(t *testing.T) {
	simulate(t, PoolConfig{Min: 1, Max: 1}, func(t *testing.T, p *Pool, f *fakes) {
		ready(t, p)
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() { mustDo(t, p, time.Millisecond, Idempotent()) })
		}
		synctest.Wait()
		f.living()[0].die("test")
		wg.Wait()
		if n := f.starts(); n != 2 {
			t.Errorf("%d starts, want 2", n)
		}
	})
}

// LESSONS.md 36: who waits is told why there is no worker, starts are rare while
// they fail, and succeed as soon as they can.
func TestPoolFailingStartsReachThoseWhoWait(t *testing.T) {
	simulate(t, PoolConfig{Max: 4, MaxRestarts: -1}, func(t *testing.T, p *Pool, f *fakes) {
		f.setFail(errors.New("no such program"))
		var failed atomic.Int64
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for ctx.Err() == nil {
					_, err := do(ctx, p, time.Millisecond)
					if err != nil && ctx.Err() == nil {
						failed.Add(1)
						if !strings.Contains(err.Error(), "no such program") || !SafeToRetry(err) {
							t.Errorf("call = %v", err)
						}
					}
				}
			})
		}
		pass(2 * time.Second)
		if n := f.starts(); n < 3 || n > 12 {
			t.Errorf("%d starts within 2 s of failing ones, want a few", n)
		}
		if failed.Load() == 0 {
			t.Error("no caller was told")
		}
		f.setFail(nil)
		began := time.Now()
		mustDo(t, p, 0)
		if took := time.Since(began); took > 15*time.Second {
			t.Errorf("the first call after starts succeed again took %v, want one back-off at most", took)
		}
		cancel()
		wg.Wait()
	})
}

func TestPoolWithAWorkerLeftDoesNotTellOfFailingStarts(t *testing.T) {
	simulate(t, PoolConfig{Min: 1, Max: 3, MaxRestarts: -1}, func(t *testing.T, p *Pool, f *fakes) {
		ready(t, p)
		f.setFail(errors.New("no such program"))
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() { mustDo(t, p, time.Second) })
		}
		wg.Wait()
	})
}

func TestPoolTellsThoseForWhomNoWorkerThatIsThereWouldDo(t *testing.T) {
	bySlot := func(key string, workers []Candidate, _ bool) int {
		for i, w := range workers {
			if fmt.Sprint(w.Slot) == key && w.Free {
				return i
			} else if fmt.Sprint(w.Slot) == key {
				return PickWait
			}
		}
		return PickNone
	}
	simulate(t, PoolConfig{Max: 3, MaxRestarts: -1, Strategy: StrategyFunc(bySlot)}, func(t *testing.T, p *Pool, f *fakes) {
		mustDo(t, p, 0, Key("0"))
		f.setFail(errors.New("no such device"))
		var wg sync.WaitGroup
		wg.Go(func() { mustDo(t, p, 10*time.Second, Key("0")) })
		synctest.Wait()
		wg.Go(func() { mustDo(t, p, 0, Key("0"), Priority(1)) }) // waits for the worker that is there
		began := time.Now()
		if _, err := do(t.Context(), p, 0, Key("1")); err == nil || !strings.Contains(err.Error(), "no such device") || time.Since(began) > time.Second {
			t.Errorf("a call that needs another worker = %v after %v", err, time.Since(began))
		}
		wg.Wait()
	})
}

// LESSONS.md 37.
func TestPoolFailsFastPastTheRestartLimitUntilItIsRevived(t *testing.T) {
	simulate(t, PoolConfig{Min: 1, Max: 2, MaxRestarts: 3}, func(t *testing.T, p *Pool, f *fakes) {
		f.setHandle(func(ctx context.Context, w *fakeWorker, req *Request) error {
			if req.Metadata["poison"] != "" {
				w.die("poisoned")
				return rest(ctx, time.Hour)
			}
			return sleepFor(ctx, w, req)
		})
		for i := range 3 {
			if _, err := do(t.Context(), p, 0, Metadata("poison", "yes")); !errors.Is(err, ErrWorkerExited) || errors.Is(err, ErrRestartLimit) {
				t.Fatalf("poisoned call %d = %v", i, err)
			}
		}
		synctest.Wait()
		starts, began := f.starts(), time.Now()
		_, err := do(t.Context(), p, 0)
		if !errors.Is(err, ErrRestartLimit) || !errors.Is(err, ErrWorkerExited) || !SafeToRetry(err) || time.Since(began) != 0 {
			t.Errorf("call past the limit = %v after %v, want ErrRestartLimit with the last failure, at once", err, time.Since(began))
		}
		if err := p.Ready(t.Context()); !errors.Is(err, ErrRestartLimit) {
			t.Errorf("Ready past the limit = %v", err)
		}
		pass(time.Hour)
		if n := f.starts(); n != starts {
			t.Errorf("%d starts past the limit, want none", n-starts)
		}
		p.Revive()
		mustDo(t, p, 0)
		if err := p.Ready(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestPoolAnswersEndARowOfFailures(t *testing.T) {
	simulate(t, PoolConfig{Min: 2, Max: 2, MaxRestarts: 3}, func(t *testing.T, p *Pool, f *fakes) {
		for range 20 {
			ready(t, p)
			mustDo(t, p, time.Millisecond)
			f.living()[0].die("test")
			pass(time.Second)
		}
	})
}

// LESSONS.md 36: answers of the workers that are there don't make starts succeed.
func TestPoolWhoseNewWorkersDoNotStartWaitsLongerAndLongerUnderLoad(t *testing.T) {
	simulate(t, PoolConfig{Min: 1, Max: 1, MaxRestarts: 5}, func(t *testing.T, p *Pool, f *fakes) {
		ready(t, p)
		stop := load(t, p, 2, time.Millisecond)
		f.setFail(errors.New("broken build"))
		if err := p.Reload(&lifecycle.Command{Path: "fake"}); err != nil {
			t.Error(err)
		}
		if err := p.Ready(t.Context()); !errors.Is(err, ErrRestartLimit) || !strings.Contains(err.Error(), "broken build") {
			t.Errorf("Ready = %v, want the restart limit", err)
		}
		pass(time.Minute)
		if n := f.starts(); n != 6 {
			t.Errorf("%d starts, want the first and 5 that failed", n)
		}
		stop()
	})
}

func TestPoolCountsWorkersThatDieTogetherAsOneFailure(t *testing.T) {
	simulate(t, PoolConfig{Min: 8, Max: 8, MaxRestarts: 3}, func(t *testing.T, p *Pool, f *fakes) {
		for range 2 {
			ready(t, p)
			for _, w := range f.living() {
				w.die("test")
			}
			synctest.Wait()
		}
		if err := p.Ready(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// LESSONS.md 26: chaos in virtual time, over many seeds. Each call settles once,
// and only those that are idempotent run twice.
func TestPoolCallsSettleOnceWhateverDies(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { chaos(t, seed) })
	}
}

func chaos(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	cfg := PoolConfig{
		Min: 2, Max: 8, CallsPerWorker: 1 + rnd.IntN(3), MaxQueue: 10000, MaxRestarts: -1, ShrinkAfter: time.Second,
		MaxCalls: rnd.IntN(2) * (1 + rnd.IntN(20)), MaxAge: time.Duration(rnd.IntN(2)) * time.Second, CancelGrace: 100 * time.Millisecond,
		MinBackoff: time.Millisecond, MaxBackoff: 20 * time.Millisecond,
	}
	simulate(t, cfg, func(t *testing.T, p *Pool, f *fakes) {
		var mu sync.Mutex
		runs := map[string]int{}
		f.setHandle(func(ctx context.Context, w *fakeWorker, req *Request) error {
			mu.Lock()
			runs[req.Metadata["id"]]++
			mu.Unlock()
			return sleepFor(ctx, w, req)
		})
		stop := make(chan struct{})
		var killer, callers sync.WaitGroup
		killer.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, 2))
			for {
				select {
				case <-stop:
					return
				case <-time.After(50 * time.Millisecond):
				}
				if alive := f.living(); len(alive) > 0 {
					alive[rnd.IntN(len(alive))].die("chaos")
				}
				if rnd.IntN(10) == 0 {
					_ = p.Reload(&lifecycle.Command{Path: "fake"})
				}
			}
		})
		for i := range 1000 {
			idempotent := i%2 == 0
			id := fmt.Sprint(i)
			wait, take := time.Duration(rnd.IntN(5000))*time.Millisecond, time.Duration(rnd.IntN(30))*time.Millisecond
			callers.Go(func() {
				pass(wait)
				opts := []CallOption{Metadata("id", id), Timeout(20 * time.Millisecond)}
				if idempotent {
					opts = append(opts, Idempotent())
				}
				_, err := do(context.Background(), p, take, opts...)
				mu.Lock()
				n := runs[id]
				mu.Unlock()
				checkOutcome(t, id, idempotent, n, err)
			})
		}
		callers.Wait()
		close(stop)
		killer.Wait()
		if want := cfg.Max + 1; f.peak() > want {
			t.Errorf("%d workers at once, want at most %d", f.peak(), want)
		}
		if got := p.Stats(); got.Calls != 1000 || got.Run.Count < 900 {
			t.Errorf("stats %+v, want 1000 calls", got)
		}
	})
}

func checkOutcome(t *testing.T, id string, idempotent bool, runs int, err error) {
	t.Helper()
	switch {
	case !idempotent && runs > 1:
		t.Errorf("call %s was run %d times", id, runs)
	case idempotent && runs > defaultMaxTries:
		t.Errorf("idempotent call %s was run %d times", id, runs)
	case err == nil && runs == 0:
		t.Errorf("call %s succeeded and was not run", id)
	case SafeToRetry(err) && runs > 0:
		t.Errorf("call %s was run %d times and is said to be safe to retry: %v", id, runs, err)
	}
	if tries, ok := errors.AsType[*RetryError](err); ok && tries.Tries != runs {
		t.Errorf("call %s was run %d times, and its error says %v", id, runs, err)
	}
	if err == nil || errors.Is(err, ErrWorkerExited) || errors.Is(err, transport.CodeDeadline) {
		return
	}
	t.Errorf("call %s = %v", id, err)
}

func TestPoolRunsIdempotentCallsAgainAndCountsTheTries(t *testing.T) {
	simulate(t, PoolConfig{Max: 2, MaxTries: 4, MaxRestarts: -1}, func(t *testing.T, p *Pool, f *fakes) {
		var runs atomic.Int64
		f.setHandle(func(ctx context.Context, w *fakeWorker, req *Request) error {
			runs.Add(1)
			w.die("poisoned")
			return rest(ctx, time.Hour)
		})
		_, err := do(t.Context(), p, 0, Idempotent())
		tries, ok := errors.AsType[*RetryError](err)
		if !ok || tries.Tries != 4 || runs.Load() != 4 || !errors.Is(err, ErrWorkerExited) || SafeToRetry(err) {
			t.Errorf("call = %v after %d runs, want a RetryError of 4 tries that is not safe to retry", err, runs.Load())
		}
		if got := p.Stats(); got.Retries != 3 {
			t.Errorf("%d retries, want 3", got.Retries)
		}
		runs.Store(0)
		if _, err = do(t.Context(), p, 0); runs.Load() != 1 || !errors.Is(err, ErrWorkerExited) {
			t.Errorf("a call that is not idempotent = %v after %d runs, want 1", err, runs.Load())
		}
	})
}

func TestPoolCallWhoseWorkerIsGoneBeforeItIsSentGoesToAnother(t *testing.T) {
	simulate(t, PoolConfig{Min: 1, Max: 1}, func(t *testing.T, p *Pool, f *fakes) {
		ready(t, p)
		f.living()[0].die("test") // the pool has not had time to see it
		mustDo(t, p, 0)
		if got := p.Stats(); got.Retries != 0 {
			t.Errorf("%d retries, want none: no handler had seen the call", got.Retries)
		}
	})
}

func TestPoolWorkerThatExitsWithStatusZeroIsReplaced(t *testing.T) {
	simulate(t, PoolConfig{Min: 1, Max: 1}, func(t *testing.T, p *Pool, f *fakes) {
		f.setHandle(func(ctx context.Context, w *fakeWorker, req *Request) error {
			_ = w.closeWithin(ctx)
			return rest(ctx, time.Hour)
		})
		if _, err := do(t.Context(), p, 0); !errors.Is(err, ErrWorkerExited) {
			t.Errorf("call = %v, want ErrWorkerExited", err)
		}
		pass(time.Second)
		if n := len(f.living()); n != 1 {
			t.Errorf("%d workers, want 1", n)
		}
		if got := p.Stats(); got.Ends[ReasonExited] != 1 {
			t.Errorf("ends %v, want one that exited", got.Ends)
		}
	})
}
