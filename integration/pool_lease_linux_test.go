package integration

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/detached-workers/unref/client"
)

func TestPoolLeaseHasOneWorkerToItself(t *testing.T) {
	t.Parallel()
	p := newPool(t, client.PoolConfig{Min: 2, Max: 2})
	p.mustBeReady()
	lease, err := p.Acquire(limited(t))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if reply := p.mustWork(workRequest{ID: i}); reply.Pid == lease.Pid() {
				t.Errorf("the worker %d that is lent has run another's call", reply.Pid)
			}
		})
		wg.Go(func() {
			reply, err := client.Call(limited(t), lease, work, workRequest{ID: 100 + i})
			if err != nil || reply.Pid != lease.Pid() {
				t.Errorf("a call on the lease of worker %d: %+v, %v", lease.Pid(), reply, err)
			}
		})
	}
	wg.Wait()
	lease.Release()
	lease.Release()
	if _, err := client.Call(limited(t), lease, work, workRequest{}); !errors.Is(err, client.ErrReleased) || !client.SafeToRetry(err) {
		t.Errorf("a call after the release: %v", err)
	}
	p.awaitIdle(2)
	if len(p.pids()) != 2 || !slices.Contains(p.pids(), lease.Pid()) {
		t.Errorf("workers %v, want the one that was lent, %d, and the other one", p.pids(), lease.Pid())
	}
}

func TestPoolLeaseThatIsDiscardedOrPanicsTakesItsWorkerAlong(t *testing.T) {
	t.Parallel()
	p := newPool(t, client.PoolConfig{Min: 1, Max: 1, Surge: 1})
	lease, err := p.Acquire(limited(t))
	if err != nil {
		t.Fatal(err)
	}
	lease.Discard()
	first := lease.Pid()
	await(t, "the end of the worker that was discarded", func() bool { return !alive(first) })
	second := 0
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_ = p.With(limited(t), func(l *client.Lease) error {
			second = l.Pid()
			panic("on the lease")
		})
	}()
	await(t, "the end of the worker of the panic", func() bool { return !alive(second) })
	want := errors.New("of the function")
	third := 0
	err = p.With(limited(t), func(l *client.Lease) error {
		third = l.Pid()
		return want
	})
	if err != want || first == second || second == third {
		t.Errorf("got %v, workers %d, %d and %d", err, first, second, third)
	}
	if reply := p.mustWork(workRequest{}); reply.Pid != third {
		t.Errorf("worker %d of a function that has returned an error was replaced by %d", third, reply.Pid)
	}
	p.checkEnds(client.ReasonDiscard)
}

func TestPoolLeaseWhoseWorkerDiesIsGivenNoOther(t *testing.T) {
	t.Parallel()
	p := newPool(t, client.PoolConfig{Min: 1, Max: 1})
	lease, err := p.Acquire(limited(t))
	if err != nil {
		t.Fatal(err)
	}
	result := make(chan error, 1)
	go func() {
		_, err := client.Call(limited(t), lease, work, workRequest{ID: 1, For: time.Hour}, client.Idempotent())
		result <- err
	}()
	p.awaitRun(1)
	kill(t, lease.Pid())
	if err := <-result; !errors.Is(err, client.ErrWorkerExited) || client.SafeToRetry(err) {
		t.Errorf("the call in flight: %v", err)
	}
	if _, err := client.Call(limited(t), lease, work, workRequest{ID: 2}); !errors.Is(err, client.ErrWorkerExited) || !client.SafeToRetry(err) {
		t.Errorf("the next call: %v", err)
	}
	if reply := p.mustWork(workRequest{ID: 3}); reply.Pid == lease.Pid() {
		t.Error("a dead worker has answered")
	}
	lease.Release()
	p.awaitIdle(1)
}

func TestPoolLendsNoWorkerThatFailsTheCheck(t *testing.T) {
	t.Parallel()
	var refused atomic.Int64
	p := newPool(t, client.PoolConfig{Min: 1, Max: 1, Surge: 1, Check: func(ctx context.Context, w *client.Worker) error {
		if refused.CompareAndSwap(0, int64(w.Pid())) {
			return errors.New("worn out")
		}
		_, err := client.Call(ctx, w, echo, nil)
		return err
	}})
	err := p.With(limited(t), func(l *client.Lease) error {
		if refused.Load() == 0 || int64(l.Pid()) == refused.Load() {
			t.Errorf("worker %d was lent, and the check has refused %d", l.Pid(), refused.Load())
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	await(t, "the end of the worker that was refused", func() bool { return !alive(int(refused.Load())) })
}

func TestPoolDrainNamesALeaseThatIsNotReleased(t *testing.T) {
	t.Parallel()
	p := newPool(t, client.PoolConfig{Min: 1, Max: 1})
	lease, err := p.Acquire(limited(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err = p.Drain(ctx)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "pool_lease_linux_test.go:") ||
		!strings.Contains(err.Error(), fmt.Sprintf("(pid %d)", lease.Pid())) {
		t.Errorf("got %v, want the worker and the place", err)
	}
	lease.Release()
	if err := p.Drain(limited(t)); err != nil {
		t.Error(err)
	}
}

func TestBroadcastReachesEveryWorkerOnceAndSaysWhoIsDead(t *testing.T) {
	t.Parallel()
	p := newPool(t, client.PoolConfig{Min: 3, Max: 3, MaxRestarts: -1})
	p.mustBeReady()
	result := make(chan error, 1)
	go func() {
		_, err := client.Call(limited(t), p, work, workRequest{ID: 1, For: 100 * time.Millisecond})
		result <- err
	}()
	p.awaitRun(1)
	answers := client.Broadcast(limited(t), p.Pool, work, workRequest{ID: 2})
	var pids []int
	for i, a := range answers {
		if a.Err != nil || a.Slot != i || a.Reply.Pid != a.Pid {
			t.Errorf("got %+v", a)
		}
		pids = append(pids, a.Pid)
	}
	slices.Sort(pids)
	if !slices.Equal(pids, p.pids()) {
		t.Errorf("answers of %v, want of %v", pids, p.pids())
	}
	if err := <-result; err != nil {
		t.Error(err)
	}
	if err := syscall.Kill(pids[0], syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	for _, a := range client.Broadcast(limited(t), p.Pool, work, workRequest{ID: 3}, client.Idempotent()) {
		if a.Err != nil && (a.Pid != pids[0] || !errors.Is(a.Err, client.ErrWorkerExited)) {
			t.Errorf("got %+v", a)
		}
	}
	p.awaitIdle(3)
	for id, pids := range p.runs() {
		if slices.Sort(pids); len(slices.Compact(pids)) != len(p.runs()[id]) {
			t.Errorf("call %d was run twice by a worker: %v", id, p.runs()[id])
		}
	}
}
