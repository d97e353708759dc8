package integration

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/lifecycle"
)

// outcome is how a call on a pool has ended.
type outcome struct {
	id         int
	idempotent bool
	reply      workReply
	err        error
}

// storm makes calls from many callers at once and keeps how each has ended.
type storm struct {
	p       *testPool
	callers int
	request func(id int) workRequest
	before  int // the number before that of the first call

	next     atomic.Int64
	mu       sync.Mutex // protects what follows
	outcomes []outcome
}

// until makes calls until ctx ends or the pool is closed, and returns when each
// has an outcome. Every other call is idempotent.
func (s *storm) until(ctx context.Context) {
	var wg sync.WaitGroup
	for range s.callers {
		wg.Go(func() {
			for err := error(nil); ctx.Err() == nil && !errors.Is(err, client.ErrClosed); {
				err = s.call(limited(s.p.t), s.before+int(s.next.Add(1)))
			}
		})
	}
	wg.Wait()
}

func (s *storm) call(ctx context.Context, id int) error {
	o := outcome{id: id, idempotent: id%2 == 0}
	var opts []client.CallOption
	if o.idempotent {
		opts = append(opts, client.Idempotent())
	}
	o.reply, o.err = client.Call(ctx, s.p, work, s.request(id), opts...)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outcomes = append(s.outcomes, o)
	return o.err
}

// check compares what the callers were told with what the workers have run.
// allowed tells which errors there may be.
func (s *storm) check(maxTries int, allowed func(outcome) bool) {
	t := s.p.t
	t.Helper()
	runs := s.p.runs()
	failed, again := 0, 0
	for _, o := range s.outcomes {
		n := len(runs[o.id])
		retry, retried := errors.AsType[*client.RetryError](o.err)
		switch {
		case o.err == nil && (o.reply.ID != o.id || n == 0 || runs[o.id][n-1] != o.reply.Pid):
			t.Errorf("call %d: got %+v, and it was run by %v", o.id, o.reply, runs[o.id])
		case !o.idempotent && (n > 1 || retried):
			t.Errorf("call %d was run by %v: %v", o.id, runs[o.id], o.err)
		case n > maxTries:
			t.Errorf("call %d was run by %v", o.id, runs[o.id])
		case client.SafeToRetry(o.err) && n > 0:
			t.Errorf("call %d is safe to retry, and was run by %v: %v", o.id, runs[o.id], o.err)
		case retried && (retry.Tries < n || retry.Tries > maxTries):
			t.Errorf("call %d was run by %v, and the error says %d times: %v", o.id, runs[o.id], retry.Tries, o.err)
		case o.err != nil && !allowed(o):
			t.Errorf("call %d: %v", o.id, o.err)
		}
		if o.err != nil {
			failed++
		}
		if n > 1 {
			again++
		}
	}
	if int(s.next.Load()) != len(s.outcomes) {
		t.Errorf("%d outcomes of %d calls", len(s.outcomes), s.next.Load())
	}
	t.Logf("%d calls, %d failed, %d were run more than once", len(s.outcomes), failed, again)
}

// diedWith reports whether the call has failed because its worker died, if it is
// not idempotent, or as many workers as there are tries.
func diedWith(o outcome) bool {
	retry, retried := errors.AsType[*client.RetryError](o.err)
	return errors.Is(o.err, client.ErrWorkerExited) && !client.SafeToRetry(o.err) && (!o.idempotent || retried && retry.Tries == 3)
}

// shortWork is work that takes up to 2 ms.
func shortWork(id int) workRequest {
	return workRequest{ID: id, For: time.Duration(id%3) * time.Millisecond}
}

// The pool has the default settings but for its size.
// LESSONS 26, 37, 38
func TestPoolCallsSettleOnceWhileWorkersAreKilled(t *testing.T) {
	t.Parallel()
	p := newPool(t, client.PoolConfig{Min: 8, Max: 8})
	p.mustBeReady()
	s := &storm{p: p, callers: 32, request: shortWork}
	killed := s.whileKilling(50, p.pids)
	s.check(3, diedWith)
	p.awaitIdle(8)
	stats := p.Stats()
	if int(stats.Calls) != len(s.outcomes) || killed == 0 || stats.Ends[client.ReasonCrashed] == 0 {
		t.Errorf("%d calls, %d workers killed, and the pool says %+v", len(s.outcomes), killed, stats)
	}
}

// A start that fails because of that is an error for those who wait only if there
// is nobody else to wait for.
// LESSONS 26, 36
func TestPoolCallsSettleOnceWhileWorkersAreKilledAsTheyStart(t *testing.T) {
	t.Parallel()
	p := newPool(t, client.PoolConfig{Min: 4, Max: 4, MaxRestarts: -1, MinBackoff: time.Millisecond, MaxBackoff: 20 * time.Millisecond})
	s := &storm{p: p, callers: 16, request: shortWork}
	killed := s.whileKilling(30, func() []int { return belonging(p.root) })
	s.check(3, func(o outcome) bool { return errors.Is(o.err, client.ErrWorkerExited) })
	p.awaitIdle(4)
	if stats := p.Stats(); killed == 0 || stats.StartFailures == 0 {
		t.Errorf("%d processes killed, and the pool says %+v", killed, stats)
	}
}

// whileKilling makes calls while one of the processes listed is killed every 50 ms,
// for so many times, and returns how many were.
func (s *storm) whileKilling(times int, list func() []int) (killed int) {
	ctx, cancel := context.WithCancel(s.p.t.Context())
	defer cancel()
	var killer sync.WaitGroup
	killer.Go(func() {
		defer cancel()
		for range rounds(times) {
			if pids := list(); len(pids) > 0 && syscall.Kill(pids[rand.N(len(pids))], syscall.SIGKILL) == nil {
				killed++
			}
			meanwhile(50 * time.Millisecond)
		}
	})
	s.until(ctx)
	killer.Wait()
	return killed
}

// LESSONS 26, 38
func TestPoolSurvivesTheDeathOfAllItsWorkersAtOnce(t *testing.T) {
	t.Parallel()
	const callers = 500
	p := newPool(t, client.PoolConfig{Min: 4, Max: 4, MaxQueue: callers})
	p.mustBeReady()
	s := &storm{p: p, callers: callers, request: shortWork}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var calling sync.WaitGroup
	calling.Go(func() { s.until(ctx) })
	for range rounds(5) {
		served := p.Stats().Calls + 100
		await(t, "four workers that serve, and a full queue", func() bool {
			stats := p.Stats()
			return len(p.pids()) == 4 && stats.Queued > callers/2 && stats.Calls > served
		})
		for _, pid := range p.pids() {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		ended := len(p.seen(client.WorkerEnded))
		await(t, "their end", func() bool { return len(p.seen(client.WorkerEnded)) > ended })
	}
	cancel()
	calling.Wait()
	s.check(3, diedWith)
	p.awaitIdle(4)
}

// LESSONS 26, 34
func TestPoolReplacesAWorkerThatExitsInTheMiddleOfCalls(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"exit 0", "exit 3", "kill", "stray panic"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			gate := filepath.Join(t.TempDir(), "gate")
			p := newPool(t, client.PoolConfig{Min: 1, Max: 1, CallsPerWorker: 3})
			s := &storm{p: p, request: func(id int) workRequest { return workRequest{ID: id, Gate: gate} }}
			var wg sync.WaitGroup
			for id := 1; id <= 2; id++ {
				s.next.Add(1)
				wg.Go(func() { s.call(limited(t), id) })
			}
			first := p.awaitRun(1)
			p.awaitRun(2)
			_, err := client.Call(limited(t), p, work, workRequest{ID: 3, End: how})
			if !errors.Is(err, client.ErrWorkerExited) || client.SafeToRetry(err) {
				t.Errorf("got %v", err)
			}
			await(t, "the second run of the call that is idempotent", func() bool { return len(p.runs()[2]) == 2 })
			must(os.WriteFile(gate, nil, 0o600))
			wg.Wait()
			s.check(3, func(o outcome) bool { return o.id == 1 && diedWith(o) })
			if runs := p.runs(); len(runs[1]) != 1 || runs[2][1] == first || len(runs[3]) != 1 {
				t.Errorf("got runs %v", runs)
			}
			p.awaitIdle(1)
		})
	}
}

// LESSONS 37
func TestPoolRunsACallThatKillsItsWorkersAsOftenAsItMayBe(t *testing.T) {
	t.Parallel()
	p := newPool(t, client.PoolConfig{Min: 2, Max: 2, MinBackoff: time.Millisecond})
	_, err := client.Call(limited(t), p, work, workRequest{ID: 1, End: "exit 3"}, client.Idempotent())
	retry, ok := errors.AsType[*client.RetryError](err)
	exit, _ := errors.AsType[*lifecycle.ExitError](err)
	if runs := p.runs()[1]; !ok || retry.Tries != 3 || len(runs) != 3 || exit == nil || exit.Pid != runs[2] || client.SafeToRetry(err) {
		t.Errorf("got %v, run by %v", err, p.runs())
	}
	p.mustWork(workRequest{})
	if stats := p.Stats(); stats.Retries != 2 || stats.Calls != 2 || stats.Failed != 1 {
		t.Errorf("got %+v, want 2 calls, one of them failed, and 2 retries", stats)
	}
}
