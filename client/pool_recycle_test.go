package client

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/detached-workers/unref/lifecycle"
	"github.com/detached-workers/unref/transport"
)

// load makes calls of d from n callers until stop is called, which returns how
// many there were. None may fail.
func load(t *testing.T, p *Pool, n int, d time.Duration) (stop func() int) {
	ctx, cancel := context.WithCancel(context.Background())
	counts := make([]int, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			for ctx.Err() == nil {
				mustDo(t, p, d)
				counts[i]++
			}
		})
	}
	return func() (sum int) {
		cancel()
		wg.Wait()
		for _, c := range counts {
			sum += c
		}
		return sum
	}
}

// LESSONS.md 41.
func TestPoolReplacesAWorkerAfterSoManyCallsWithoutAGap(t *testing.T) {
	simulate(t, PoolConfig{Min: 1, Max: 1, MaxCalls: 100}, func(t *testing.T, p *Pool, f *fakes) {
		ready(t, p)
		stop := load(t, p, 1, time.Millisecond*5)
		pass(10 * time.Second)
		calls := stop()
		if calls < 1995 {
			t.Errorf("%d calls of 5 ms in 10 s, want 2000: the replacement is to be warm first", calls)
		}
		for _, w := range f.all() {
			if w.served > 100 {
				t.Errorf("a worker has served %d calls, want at most 100", w.served)
			}
		}
		if got := p.Stats(); got.Ends[ReasonCalls] < 19 || got.Ends[ReasonCrashed] != 0 || f.peak() > 2 {
			t.Errorf("ends %v, %d workers at once", got.Ends, f.peak())
		}
	})
}

func TestPoolGivesEachCallAFreshProcessWithMaxCallsOfOne(t *testing.T) {
	simulate(t, PoolConfig{Min: 2, Max: 2, MaxCalls: 1}, func(t *testing.T, p *Pool, f *fakes) {
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() { mustDo(t, p, time.Second) })
		}
		wg.Wait()
		for _, w := range f.all() {
			if w.served > 1 {
				t.Errorf("a worker has served %d calls, want 1", w.served)
			}
		}
		if f.peak() > 3 {
			t.Errorf("%d workers at once, want at most Max of 2 and Surge of 1", f.peak())
		}
	})
}

func TestPoolDoesNotRecycleAllAtOnce(t *testing.T) {
	simulate(t, PoolConfig{Min: 20, Max: 20, MaxAge: 10 * time.Minute, Jitter: 0.5}, func(t *testing.T, p *Pool, f *fakes) {
		ready(t, p)
		pass(time.Hour)
		if f.peak() != 21 {
			t.Errorf("%d workers at once, want 20 and one that replaces another", f.peak())
		}
		together := 0
		for i := 21; i < len(f.tries); i++ {
			if f.tries[i].Sub(f.tries[i-1]) < time.Second {
				together++
			}
		}
		if got := p.Stats(); got.Ends[ReasonAge] < 100 || together > len(f.tries)/4 {
			t.Errorf("%d ends because of age in an hour, %d of %d starts within a second of another", got.Ends[ReasonAge], together, len(f.tries))
		}
	})
}

func TestPoolWithoutSurgeReplacesOneAfterTheOther(t *testing.T) {
	simulate(t, PoolConfig{Min: 3, Max: 3, Surge: -1}, func(t *testing.T, p *Pool, f *fakes) {
		ready(t, p)
		if err := p.Reload(&lifecycle.Command{Path: "fake", Build: "new"}); err != nil {
			t.Fatal(err)
		}
		ready(t, p)
		synctest.Wait()
		for _, w := range f.living() {
			if w.build != "new" {
				t.Errorf("a worker of the old command is left")
			}
		}
		if f.peak() != 3 {
			t.Errorf("%d workers at once, want 3", f.peak())
		}
	})
}

func TestPoolReplacesAnIdleWorkerOverMaxIdleRSSOnly(t *testing.T) {
	simulate(t, PoolConfig{Min: 2, Max: 2, MaxIdleRSS: 100}, func(t *testing.T, p *Pool, f *fakes) {
		ready(t, p)
		fat := f.living()[0]
		if fat.slot != 0 {
			fat = f.living()[1]
		}
		fat.memory.Store(101)
		pass(time.Minute)
		if fat.Err() != nil {
			t.Fatal("a worker that nobody has used was replaced") // its memory is looked at after use
		}
		mustDo(t, p, time.Minute)
		pass(time.Second)
		if fat.Err() == nil || len(f.living()) != 2 {
			t.Errorf("the fat worker lives: %v; %d workers, want it replaced", fat.Err() == nil, len(f.living()))
		}
		if got := p.Stats(); got.Ends[ReasonIdleRSS] != 1 || f.peak() != 3 {
			t.Errorf("ends %v, %d at once", got.Ends, f.peak())
		}
	})
}

func TestPoolKillsAWorkerOverMaxRSSThoughItIsBusy(t *testing.T) {
	simulate(t, PoolConfig{Min: 1, Max: 1, MaxRSS: 100}, func(t *testing.T, p *Pool, f *fakes) {
		ready(t, p)
		time.AfterFunc(3*time.Second, func() { f.living()[0].memory.Store(101) })
		began := time.Now()
		_, err := do(t.Context(), p, time.Hour)
		if !errors.Is(err, ErrWorkerExited) || !strings.Contains(err.Error(), "101 bytes is more than MaxRSS of 100") {
			t.Errorf("call = %v, want the reason in it", err)
		}
		if took := time.Since(began); took > 4*time.Second {
			t.Errorf("it took %v, want at most half a second after 3 s", took)
		}
		mustDo(t, p, 0)
		if got := p.Stats(); got.Ends[ReasonMemory] != 1 {
			t.Errorf("ends %v", got.Ends)
		}
	})
}

func TestPoolReloadsTwentyTimesInASecondUnderLoad(t *testing.T) {
	simulate(t, PoolConfig{Min: 4, Max: 4, CallsPerWorker: 2}, func(t *testing.T, p *Pool, f *fakes) {
		ready(t, p)
		stop := load(t, p, 16, 7*time.Millisecond)
		for i := range 20 {
			pass(50 * time.Millisecond)
			f.mu.Lock()
			f.startTime = time.Duration(i%5) * 30 * time.Millisecond // some are superseded while they start
			f.mu.Unlock()
			if err := p.Reload(&lifecycle.Command{Path: "fake", Build: fmt.Sprint(i)}); err != nil {
				t.Error(err)
			}
		}
		ready(t, p)
		stop()
		synctest.Wait()
		for _, w := range f.living() {
			if w.build != "19" {
				t.Errorf("a worker of reload %s is left", w.build)
			}
		}
		if got := p.Stats(); got.Failed != 0 || got.Workers() != 4 || got.StartFailures != 0 {
			t.Errorf("stats %+v", got)
		}
		superseded := 0
		for _, e := range p.roster.journal.after(0) {
			if e.Kind == WorkerEnded && e.Pid == 0 {
				superseded++
			}
		}
		if superseded == 0 || f.starts()-len(f.all()) != superseded {
			t.Errorf("%d starts were superseded, and %d came to nothing", superseded, f.starts()-len(f.all()))
		}
	})
}

func TestPoolReloadWithACommandThatFailsLeavesTheOldWorkers(t *testing.T) {
	simulate(t, PoolConfig{Min: 2, Max: 2, MaxRestarts: 4}, func(t *testing.T, p *Pool, f *fakes) {
		ready(t, p)
		f.setFail(errors.New("broken build"))
		if err := p.Reload(&lifecycle.Command{Path: "fake"}); err != nil {
			t.Fatal(err)
		}
		if err := p.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "broken build") {
			t.Errorf("Ready = %v", err)
		}
		mustDo(t, p, time.Second)
		f.setFail(nil)
		if err := p.Reload(&lifecycle.Command{Path: "fake", Build: "mended"}); err != nil {
			t.Fatal(err)
		}
		ready(t, p)
		synctest.Wait()
		for _, w := range f.living() {
			if w.build != "mended" {
				t.Error("an old worker is left")
			}
		}
	})
}

func TestPoolWorkerThatIsReplacedHasTheDrainTimeoutForItsCalls(t *testing.T) {
	simulate(t, PoolConfig{Min: 1, Max: 1, DrainTimeout: time.Minute}, func(t *testing.T, p *Pool, f *fakes) {
		ready(t, p)
		var wg sync.WaitGroup
		wg.Go(func() { mustDo(t, p, 50*time.Second) })
		wg.Go(func() {
			pass(time.Second)
			if err := p.Reload(&lifecycle.Command{Path: "fake"}); err != nil {
				t.Error(err)
			}
			mustDo(t, p, 0)
		})
		wg.Wait()
		began := time.Now()
		wg.Go(func() {
			pass(time.Second)
			if err := p.Reload(&lifecycle.Command{Path: "fake"}); err != nil {
				t.Error(err)
			}
		})
		if _, err := do(t.Context(), p, time.Hour); !errors.Is(err, ErrWorkerExited) {
			t.Errorf("a call of an hour = %v, want it cut off", err)
		}
		wg.Wait()
		if took := time.Since(began); took < time.Minute || took > 62*time.Second {
			t.Errorf("it was cut off after %v, want about 61 s", took)
		}
	})
}

// stubborn is a handler that does not heed the end of its call.
func stubborn(release <-chan struct{}) func(context.Context, *fakeWorker, *Request) error {
	return func(ctx context.Context, w *fakeWorker, req *Request) error {
		if req.Metadata["stubborn"] == "" {
			return sleepFor(ctx, w, req)
		}
		select {
		case <-release:
		case <-w.done:
		}
		return nil
	}
}

// LESSONS.md 28 and 33.
func TestPoolKillsAWorkerThatDoesNotEndACallThatTimedOut(t *testing.T) {
	simulate(t, PoolConfig{Min: 1, Max: 1, CallsPerWorker: 3, CancelGrace: time.Second}, func(t *testing.T, p *Pool, f *fakes) {
		f.setHandle(stubborn(nil))
		ready(t, p)
		var others sync.WaitGroup
		others.Go(func() {
			if _, err := do(t.Context(), p, time.Hour); !errors.Is(err, ErrBystander) || !errors.Is(err, ErrWorkerExited) {
				t.Errorf("another call = %v, want ErrBystander", err)
			}
		})
		others.Go(func() { mustDo(t, p, 5*time.Second, Idempotent()) })
		synctest.Wait()
		time.AfterFunc(2500*time.Millisecond, func() { // while the worker is waited for
			others.Go(func() {
				if pid := mustDo(t, p, 0); pid == f.all()[0].pid {
					t.Error("a call was given to a worker that did not end one")
				}
			})
		})
		began := time.Now()
		_, err := do(t.Context(), p, 0, Metadata("stubborn", "yes"), Timeout(2*time.Second))
		e, ok := errors.AsType[*transport.Error](err)
		if !ok || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(e.Stack, "goroutine 1 [stuck]") || !strings.Contains(err.Error(), "was killed") {
			t.Errorf("the stuck call = %v, want a deadline with stacks", err)
		}
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("it took %v, want 2 s and a grace of 1 s", took)
		}
		others.Wait()
		if got := p.Stats(); got.Ends[ReasonHung] != 1 || got.Timeouts != 1 || got.Retries != 1 {
			t.Errorf("stats %+v", got)
		}
	})
}

func TestPoolKeepsAWorkerThatEndsATimedOutCallWithinTheGrace(t *testing.T) {
	release := make(chan struct{})
	simulate(t, PoolConfig{Min: 1, Max: 1, CancelGrace: time.Minute}, func(t *testing.T, p *Pool, f *fakes) {
		release = make(chan struct{})
		f.setHandle(stubborn(release))
		ready(t, p)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if _, err := do(ctx, p, 0, Metadata("stubborn", "yes")); !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("call = %v after %v, want the end of its context at once", err, time.Since(began))
		}
		if got := p.Stats(); got.Running != 1 {
			t.Errorf("%d running, want the call that has not ended", got.Running)
		}
		time.AfterFunc(10*time.Second, func() { close(release) })
		began = time.Now()
		if pid := mustDo(t, p, 0); pid != f.all()[0].pid || time.Since(began) != 10*time.Second {
			t.Errorf("the next call was served by %d after %v, want the same worker after 10 s", pid, time.Since(began))
		}
	})
}

func TestPoolLeavesACallAloneIfItIsToldTo(t *testing.T) {
	simulate(t, PoolConfig{Min: 1, Max: 1, CancelGrace: -1}, func(t *testing.T, p *Pool, f *fakes) {
		release := make(chan struct{})
		f.setHandle(stubborn(release))
		ready(t, p)
		if _, err := do(t.Context(), p, 0, Metadata("stubborn", "yes"), Timeout(time.Second)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("call = %v", err)
		}
		if pid := mustDo(t, p, 0); pid != f.all()[0].pid {
			t.Error("the worker was replaced")
		}
		close(release)
	})
}
