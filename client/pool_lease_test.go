package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/detached-workers/unref/lifecycle"
	"github.com/detached-workers/unref/transport"
)

func TestLeaseKeepsItsWorkerForSeveralCalls(t *testing.T) {
	simulate(t, PoolConfig{Min: 2, Max: 2}, func(t *testing.T, p *Pool, f *fakes) {
		ready(t, p)
		l, err := p.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if pid := mustDo(t, l, time.Second); pid != l.Pid() {
				t.Errorf("a call on the lease went to %d, want %d", pid, l.Pid())
			}
			if pid := mustDo(t, p, time.Second); pid == l.Pid() {
				t.Error("a call on the pool went to the worker that is lent")
			}
		}
		if got := p.Stats(); got.Leases != 1 || got.Busy != 1 {
			t.Errorf("stats %+v, want one lease", got)
		}
		l.Release()
		l.Release()
		l.Discard()
		if got := p.Stats(); got.Leases != 0 || got.Idle != 2 {
			t.Errorf("stats after the release %+v, want two idle workers", got)
		}
		if _, err := do(t.Context(), l, 0); !errors.Is(err, ErrReleased) || !SafeToRetry(err) {
			t.Errorf("a call after the release = %v", err)
		}
	})
}

func TestLeaseIsGivenBackWhenItsLastCallHasEnded(t *testing.T) {
	simulate(t, PoolConfig{Min: 1, Max: 1}, func(t *testing.T, p *Pool, f *fakes) {
		l, err := p.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() { mustDo(t, l, 10*time.Second) })
		synctest.Wait()
		l.Release()
		began := time.Now()
		mustDo(t, p, 0)
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("the next call came after %v, want the 10 s of the lease's", took)
		}
		wg.Wait()
	})
}

func TestLeaseThatIsDiscardedTakesItsWorkerWithIt(t *testing.T) {
	simulate(t, PoolConfig{Min: 1, Max: 1}, func(t *testing.T, p *Pool, f *fakes) {
		l, err := p.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		l.Discard()
		if pid := mustDo(t, p, 0); pid == l.Pid() {
			t.Error("the worker is still used")
		}
		if got := p.Stats(); got.Ends[ReasonDiscard] != 1 {
			t.Errorf("ends %v", got.Ends)
		}
	})
}

func TestLeaseOfAWorkerThatDiesIsHarmless(t *testing.T) {
	simulate(t, PoolConfig{Min: 1, Max: 1}, func(t *testing.T, p *Pool, f *fakes) {
		l, err := p.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		f.living()[0].die("test")
		if _, err := do(t.Context(), l, 0, Idempotent()); !errors.Is(err, ErrWorkerExited) {
			t.Errorf("a call on the lease = %v, want ErrWorkerExited: it gets no other worker", err)
		}
		mustDo(t, p, 0)
		l.Release()
		if got := p.Stats(); got.Leases != 0 || got.Idle != 1 {
			t.Errorf("stats %+v", got)
		}
	})
}

func TestWithReleasesOrDiscardsAsItsFunctionEnds(t *testing.T) {
	simulate(t, PoolConfig{Min: 1, Max: 1}, func(t *testing.T, p *Pool, f *fakes) {
		failure := errors.New("mine")
		err := p.With(t.Context(), func(l *Lease) error {
			mustDo(t, l, time.Second)
			return failure
		})
		if !errors.Is(err, failure) || len(f.all()) != 1 {
			t.Errorf("With = %v", err)
		}
		func() {
			defer func() {
				if recover() != "mine" {
					t.Error("the panic was swallowed")
				}
			}()
			_ = p.With(t.Context(), func(*Lease) error { panic("mine") })
		}()
		mustDo(t, p, 0)
		if len(f.all()) != 2 || p.Stats().Ends[ReasonDiscard] != 1 {
			t.Error("the worker was not discarded after a panic")
		}
	})
}

func TestDrainNamesALeaseThatIsNotReleased(t *testing.T) {
	simulate(t, PoolConfig{Min: 2, Max: 2}, func(t *testing.T, p *Pool, f *fakes) {
		l, err := p.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err = p.Drain(ctx)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "pool_lease_test.go:") || !strings.Contains(err.Error(), "1m0s ago") {
			t.Errorf("Drain = %v, want the lease's place and age", err)
		}
		if _, err := p.Acquire(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("Acquire of a pool that drains = %v", err)
		}
		mustDo(t, l, 0) // it goes on
		l.Release()
		if err := p.Drain(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestPoolCloseLetsCallsEndAndNothingStarts(t *testing.T) {
	simulate(t, PoolConfig{Min: 1, Max: 3, MaxCalls: 2, CloseTimeout: time.Minute}, func(t *testing.T, p *Pool, f *fakes) {
		var wg sync.WaitGroup
		for range 6 {
			wg.Go(func() {
				if _, err := do(context.Background(), p, 10*time.Second); err != nil && !errors.Is(err, ErrClosed) {
					t.Error(err)
				}
			})
		}
		pass(time.Second)
		starts := f.starts()
		began := time.Now()
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("Close took %v", took)
		}
		wg.Wait()
		if f.starts() != starts {
			t.Errorf("%d starts after Close", f.starts()-starts)
		}
		if _, err := do(t.Context(), p, 0); !errors.Is(err, ErrClosed) || !SafeToRetry(err) {
			t.Errorf("a call after Close = %v", err)
		}
		if err := p.Reload(&lifecycle.Command{Path: "fake"}); !errors.Is(err, ErrClosed) {
			t.Errorf("Reload after Close = %v", err)
		}
		if err := p.Ready(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("Ready after Close = %v", err)
		}
		p.Revive()
		pass(time.Hour)
		if f.starts() != starts || len(f.living()) != 0 {
			t.Error("something lives after Close")
		}
	})
}

func TestPoolCloseForcesWhatTakesTooLongAndNamesIt(t *testing.T) {
	simulate(t, PoolConfig{Min: 3, Max: 3, CloseTimeout: time.Second}, func(t *testing.T, p *Pool, f *fakes) {
		ready(t, p)
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := do(context.Background(), p, time.Hour); !errors.Is(err, ErrWorkerExited) {
				t.Errorf("the call = %v", err)
			}
		})
		synctest.Wait()
		err := p.Close()
		if !errors.Is(err, ErrForced) || !strings.Contains(err.Error(), "1 calls in flight") || strings.Count(err.Error(), "(pid ") != 1 {
			t.Errorf("Close = %v, want one worker that was forced", err)
		}
		if again := p.Close(); again == nil || again.Error() != err.Error() {
			t.Errorf("Close again = %v", again)
		}
		wg.Wait()
	})
}

func TestPoolKillEndsAllAtOnceThoughItIsBeingClosed(t *testing.T) {
	simulate(t, PoolConfig{Min: 2, Max: 2, CloseTimeout: time.Hour}, func(t *testing.T, p *Pool, f *fakes) {
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				if _, err := do(context.Background(), p, time.Hour); !errors.Is(err, ErrWorkerExited) && !errors.Is(err, ErrClosed) {
					t.Errorf("call = %v", err)
				}
			})
		}
		pass(time.Second)
		wg.Go(func() { _ = p.Close() })
		synctest.Wait()
		began := time.Now()
		if err := p.Kill(); err != nil {
			t.Error(err)
		}
		wg.Wait()
		if took := time.Since(began); took != 0 {
			t.Errorf("Kill took %v", took)
		}
	})
}

// LESSONS.md 40.
func TestPoolThatIsClosedWhileWorkersStartEndsThem(t *testing.T) {
	simulate(t, PoolConfig{Min: 4, Max: 4}, func(t *testing.T, p *Pool, f *fakes) {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		if len(f.living()) != 0 || f.alive != 0 {
			t.Errorf("%d workers live", f.alive)
		}
	})
}

func TestPoolEventsTellTheLifeOfEachWorker(t *testing.T) {
	simulate(t, PoolConfig{Min: 1, Max: 1}, func(t *testing.T, p *Pool, f *fakes) {
		var wg sync.WaitGroup
		var kinds []string
		wg.Go(func() {
			last := uint64(0)
			for e := range p.Events(t.Context()) {
				if e.Seq != last+1 {
					t.Errorf("event %d after %d", e.Seq, last)
				}
				last = e.Seq
				kind := string(e.Kind)
				if e.Reason != "" {
					kind += "(" + string(e.Reason) + ")"
				}
				kinds = append(kinds, kind)
			}
		})
		ready(t, p)
		f.living()[0].die("test")
		synctest.Wait()
		ready(t, p)
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
		want := "starting ready ended(crashed) starting ready closing leaving(closed) ended(closed) closed"
		if got := strings.Join(kinds, " "); got != want {
			t.Errorf("events\n%s, want\n%s", got, want)
		}
	})
}

func TestPoolEventsAreBoundedAndAGapShows(t *testing.T) {
	var j journal
	for range 10 * maxEvents {
		j.note(PoolEvent{})
	}
	events := j.after(0)
	if len(events) > maxEvents || len(events) < maxEvents*3/4 || events[len(events)-1].Seq != 10*maxEvents {
		t.Errorf("%d events are kept, the last is %d", len(events), events[len(events)-1].Seq)
	}
	if got := j.after(10*maxEvents - 3); len(got) != 3 || got[0].Seq != 10*maxEvents-2 {
		t.Errorf("the last three are %v", got)
	}
	if got := j.after(10 * maxEvents); len(got) != 0 {
		t.Errorf("after the last come %v", got)
	}
}

func TestSlotsShowEachWorker(t *testing.T) {
	simulate(t, PoolConfig{Min: 2, Max: 3, Surge: -1}, func(t *testing.T, p *Pool, f *fakes) {
		show := func() string {
			var list []string
			for _, s := range p.Slots() {
				list = append(list, fmt.Sprintf("%d %s %d/%d %s", s.Slot, s.State, s.Places, s.Calls, s.Reason))
			}
			return strings.Join(list, ", ")
		}
		check := func(want string) {
			t.Helper()
			synctest.Wait()
			if got := show(); got != want {
				t.Errorf("slots %q, want %q", got, want)
			}
		}
		check("0 starting 0/0 , 1 starting 0/0 ")
		ready(t, p)
		var wg sync.WaitGroup
		wg.Go(func() { mustDo(t, p, time.Second) })
		check("0 busy 1/1 , 1 idle 0/0 ")
		if slot := p.Slots()[0]; slot.Pid == 0 || slot.Ready.IsZero() || slot.Ready.Before(slot.Began) {
			t.Errorf("got %+v", slot)
		}
		if err := p.Reload(&lifecycle.Command{Path: "fake"}); err != nil {
			t.Error(err)
		}
		check("0 leaving 1/1 reload, 1 idle 0/0 reload, 2 starting 0/0 ")
		wg.Wait()
	})
}

func TestBroadcastReachesAllThatServe(t *testing.T) {
	simulate(t, PoolConfig{Min: 3, Max: 3, MaxCalls: 2}, func(t *testing.T, p *Pool, f *fakes) {
		ready(t, p)
		var wg sync.WaitGroup
		wg.Go(func() { mustDo(t, p, time.Hour) }) // waits for nobody
		synctest.Wait()
		idle := func(w *fakeWorker) bool { n, _ := w.inFlight(t.Context()); return n == 0 }
		dead := f.all()[slices.IndexFunc(f.all(), idle)]
		f.setHandle(sleepFor)
		dead.mu.Lock()
		dead.handle = func(ctx context.Context, w *fakeWorker, _ *Request) error {
			w.die("test")
			return rest(ctx, time.Hour)
		}
		dead.mu.Unlock()
		answers := Broadcast(t.Context(), p, sleepMethod, time.Second)
		pids := map[int]bool{}
		for i, a := range answers {
			pids[a.Pid] = true
			if a.Slot != i || (a.Err == nil) != (a.Pid != dead.pid) || a.Err == nil && a.Reply != a.Pid {
				t.Errorf("answer %d: %+v", i, a)
			}
		}
		if len(pids) != 3 {
			t.Errorf("%d workers have answered, want 3", len(pids))
		}
		if got := p.Stats(); got.Ends[ReasonCalls] != 0 {
			t.Errorf("ends %v: a broadcast is no call of those that are counted", got.Ends)
		}
		wg.Wait()
	})
}

const sleepMethod transport.Method[time.Duration, int] = "sleep"
