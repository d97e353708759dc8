package integration

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/transport"
)

// shortGrace is the CancelGrace of tests in which it is over.
const shortGrace = 100 * time.Millisecond

// LESSONS 28, 33
func TestPoolKillsAWorkerThatDoesNotEndACallThatTimedOut(t *testing.T) {
	t.Parallel()
	for how, req := range map[string]waitRequest{"blocks": {Stubborn: true}, "spins": {Spin: true}} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			p, first, settle := newBusyPool(t)
			_, err := client.Call(limited(t), p, wait, req, client.Timeout(50*time.Millisecond))
			checkHung(t, err, first, "handleWait")
			settle()
		})
	}
}

// LESSONS 28, 33
func TestPoolKillsAWorkerThatWasStopped(t *testing.T) {
	t.Parallel()
	p, first, settle := newBusyPool(t)
	result := make(chan error, 1)
	go func() {
		_, err := client.Call(limited(t), p, wait, waitRequest{}, client.Timeout(300*time.Millisecond))
		result <- err
	}()
	await(t, "three calls", func() bool { return p.Stats().Running == 3 })
	suspend(t, first)
	checkHung(t, <-result, first, "handleWork")
	settle()
}

// newBusyPool returns a pool of one worker, which runs two calls that do not end
// by themselves, and what is to be called when that has been killed because of a
// third one: it checks how these have settled.
func newBusyPool(t *testing.T) (p *testPool, first int, settle func()) {
	p = newPool(t, client.PoolConfig{Min: 1, Max: 1, CallsPerWorker: 3, CancelGrace: shortGrace})
	gate := filepath.Join(t.TempDir(), "gate")
	s := &storm{p: p, request: func(id int) workRequest { return workRequest{ID: id, Gate: gate} }}
	var calling sync.WaitGroup
	for id := 1; id <= 2; id++ {
		s.next.Add(1)
		calling.Go(func() { s.call(limited(t), id) })
	}
	first = p.awaitRun(1)
	p.awaitRun(2)
	return p, first, func() {
		t.Helper()
		await(t, "the end of the worker", func() bool { return !alive(first) })
		must(os.WriteFile(gate, nil, 0o600))
		calling.Wait()
		s.check(3, func(o outcome) bool { return o.id == 1 && errors.Is(o.err, client.ErrBystander) && diedWith(o) })
		if runs := p.runs(); len(runs[1]) != 1 || len(runs[2]) != 2 || runs[2][1] == first {
			t.Errorf("got runs %v, want another one of the call that is idempotent", runs)
		}
		p.checkEnds(client.ReasonHung)
		p.awaitIdle(1)
		if stats := p.Stats(); stats.Timeouts != 1 || stats.Running != 0 {
			t.Errorf("got %+v, want one timeout, and nothing that runs", stats)
		}
	}
}

// checkHung checks the error of a call that its worker did not end.
func checkHung(t *testing.T, err error, pid int, function string) {
	t.Helper()
	e, ok := errors.AsType[*transport.Error](err)
	switch {
	case !ok || e.Code != transport.CodeDeadline || client.SafeToRetry(err):
		t.Errorf("got %v, want a timeout", err)
	case !strings.Contains(e.Stack, function):
		t.Errorf("the stacks do not show %s: %s", function, e.Stack)
	case !strings.Contains(e.Message, fmt.Sprintf("(pid %d) was killed", pid)):
		t.Errorf("the error does not say that worker %d was killed: %v", pid, err)
	}
}

// LESSONS 33
func TestPoolLeavesAWorkerAloneThatEndsACallThatTimedOut(t *testing.T) {
	t.Parallel()
	p := newPool(t, client.PoolConfig{Min: 1, Max: 1})
	for range 5 {
		_, err := client.Call(limited(t), p, work, workRequest{For: time.Hour}, client.Timeout(20*time.Millisecond), client.Idempotent())
		if !errors.Is(err, transport.CodeDeadline) || client.SafeToRetry(err) {
			t.Errorf("got %v", err)
		}
	}
	p.mustWork(workRequest{ID: 1})
	p.awaitIdle(1)
	if stats := p.Stats(); stats.Timeouts != 5 || stats.Starts != 1 || len(p.runs()[0]) != 5 {
		t.Errorf("got %+v and runs %v, want five timeouts, one worker and no retry", stats, p.runs())
	}
}

// The worker has the grace to end the call, and the caller does not wait for that.
// LESSONS 33
func TestPoolCallThatIsCancelledReturnsAtOnceAndItsWorkerIsSeenTo(t *testing.T) {
	t.Parallel()
	for what, ignore := range map[string]bool{"heeds its context": false, "ignores it": true} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			p := newPool(t, client.PoolConfig{Min: 1, Max: 1, CancelGrace: time.Second})
			ctx, cancel := context.WithCancel(t.Context())
			result := make(chan error, 1)
			go func() {
				_, err := client.Call(ctx, p, work, workRequest{ID: 1, For: time.Hour, Ignore: ignore})
				result <- err
			}()
			first := p.awaitRun(1)
			cancel()
			if err := <-result; !errors.Is(err, context.Canceled) || client.SafeToRetry(err) || !alive(first) {
				t.Errorf("got %v with worker %d alive: %v", err, first, alive(first))
			}
			reply := p.mustWork(workRequest{ID: 2})
			if (reply.Pid != first) != ignore {
				t.Errorf("answered by %d after %d has run the call that was cancelled", reply.Pid, first)
			}
			if ignore {
				p.checkEnds(client.ReasonHung)
			}
			p.awaitIdle(1)
			if stats := p.Stats(); stats.Canceled != 1 || stats.Running != 0 {
				t.Errorf("got %+v, want one call that was cancelled", stats)
			}
		})
	}
}
