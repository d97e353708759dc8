package integration

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/detached-workers/unref/client"
)

// sharing describes a pool of shared workers.
func sharing(t testing.TB, size int) keeping {
	t.Helper()
	return keeping{Root: newSharedRoot(t), Name: "shared pool", Log: filepath.Join(t.TempDir(), "calls"), Size: size}
}

// pool returns a pool of shared workers in this process, which has gone when the
// test ends.
func (k *keeping) pool(t testing.TB) *testPool {
	t.Helper()
	pool, err := client.NewPool(client.PoolConfig{
		Command: k.command(), Dialer: quiet(), Name: k.Name, Min: k.Size, Max: k.Size, CancelGrace: shortGrace,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pool.Kill() })
	return &testPool{Pool: pool, t: t, log: k.Log}
}

// mustKeep is do for what has to succeed.
func (p *program) mustKeep(t testing.TB, what string) []int {
	t.Helper()
	r := p.do(t, what)
	if r.Err != "" {
		t.Errorf("%s: %s", what, r.Err)
	}
	return r.Pids
}

func TestPoolsOfOneNameHaveTheSameWorkers(t *testing.T) {
	t.Parallel()
	k := sharing(t, 3)
	a, b := keep(t, k), keep(t, k)
	pids := a.mustKeep(t, "ready")
	if got := b.mustKeep(t, "ready"); len(got) != 3 || !slices.Equal(got, pids) {
		t.Errorf("workers %v and %v, want the same three", pids, got)
	}
	if r := a.do(t, "close"); r.Err != "" || len(r.Pids) != 0 {
		t.Errorf("Close: %+v", r)
	}
	if got := b.mustKeep(t, "ready"); !slices.Equal(got, pids) {
		t.Errorf("workers %v, and after the other pool was closed %v", pids, got)
	}
	b.signal(syscall.SIGKILL)
	b.cmd.Wait()
	if got := keep(t, k).mustKeep(t, "ready"); !slices.Equal(got, pids) {
		t.Errorf("workers %v, and after a pool was killed %v", pids, got)
	}
}

func TestPoolOfSharedWorkersReplacesThemWhenReloaded(t *testing.T) {
	t.Parallel()
	k := sharing(t, 2)
	a := keep(t, k)
	old := a.mustKeep(t, "ready")
	pids := a.mustKeep(t, "reload changed")
	if len(pids) != 2 || slices.ContainsFunc(pids, func(pid int) bool { return slices.Contains(old, pid) }) {
		t.Errorf("workers %v became %v", old, pids)
	}
	for _, pid := range old {
		await(t, "the end of the old workers", func() bool { return !alive(pid) })
	}
	k.Args = []string{"changed"}
	if got := keep(t, k).mustKeep(t, "ready"); !slices.Equal(got, pids) {
		t.Errorf("workers %v, want %v, whose configuration is the same", got, pids)
	}
}

// LESSONS 26, 38
func TestPoolReplacesASharedWorkerThatIsKilledInTheMiddleOfACall(t *testing.T) {
	t.Parallel()
	k := sharing(t, 2)
	p := k.pool(t)
	other := keep(t, k)
	before := other.mustKeep(t, "ready")
	once, again := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := client.Call(limited(t), p, work, workRequest{ID: 1, For: time.Hour})
		once <- err
	}()
	first := p.awaitRun(1)
	kill(t, first)
	if err := <-once; !errors.Is(err, client.ErrWorkerExited) || client.SafeToRetry(err) {
		t.Errorf("got %v", err)
	}
	go func() {
		_, err := client.Call(limited(t), p, work, workRequest{ID: 2, For: 200 * time.Millisecond}, client.Idempotent())
		again <- err
	}()
	kill(t, p.awaitRun(2))
	if err := <-again; err != nil || len(p.runs()[2]) != 2 {
		t.Errorf("got %v, run by %v", err, p.runs()[2])
	}
	if err := p.Ready(limited(t)); err != nil {
		t.Error(err)
	}
	p.awaitIdle(2)
	var after, own []int
	await(t, "two workers that both pools have", func() bool {
		after, own = other.do(t, "ready").Pids, nil
		for _, a := range client.Broadcast(limited(t), p.Pool, work, workRequest{}) {
			own = append(own, a.Reply.Pid)
		}
		return len(own) == 2 && slices.Equal(after, own)
	})
	if slices.Contains(after, first) {
		t.Errorf("workers %v became %v, and %d was killed", before, after, first)
	}
}

// LESSONS 16, 26
func TestPoolsOfOneNameSettleEveryCallOnceWhileTheirWorkersAreKilled(t *testing.T) {
	t.Parallel()
	k := sharing(t, 3)
	var storms []*storm
	for i := range 2 {
		storms = append(storms, &storm{p: k.pool(t), callers: 8, request: shortWork, before: i * 1_000_000})
	}
	var calling sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	calling.Go(func() { storms[1].until(ctx) })
	storms[0].whileKilling(20, func() []int { return belonging(k.Root) })
	cancel()
	calling.Wait()
	for _, s := range storms {
		s.check(3, func(o outcome) bool {
			return errors.Is(o.err, client.ErrWorkerExited) || errors.Is(o.err, client.ErrConnectionLost)
		})
		s.p.awaitIdle(3)
	}
}

// A worker that is shared is nobody's to be killed when one pool is closed, whatever
// it does.
func TestPoolOfSharedWorkersIsKilledWithoutThem(t *testing.T) {
	t.Parallel()
	k := sharing(t, 1)
	p := k.pool(t)
	result := make(chan error, 1)
	go func() {
		_, err := client.Call(limited(t), p, work, workRequest{ID: 1, For: time.Hour})
		result <- err
	}()
	pid := p.awaitRun(1)
	if err := p.Kill(); err != nil {
		t.Error(err)
	}
	if err := <-result; !errors.Is(err, client.ErrClosed) || client.SafeToRetry(err) || !alive(pid) {
		t.Errorf("got %v with worker %d alive: %v", err, pid, alive(pid))
	}
	if got := keep(t, k).mustKeep(t, "ready"); !slices.Equal(got, []int{pid}) {
		t.Errorf("the next pool has workers %v, want %d", got, pid)
	}
}

// LESSONS 28, 33
func TestPoolKillsASharedWorkerThatDoesNotEndACall(t *testing.T) {
	t.Parallel()
	k := sharing(t, 1)
	p := k.pool(t)
	if err := p.Ready(limited(t)); err != nil {
		t.Fatal(err)
	}
	first := p.mustWork(workRequest{}).Pid
	_, err := client.Call(limited(t), p, work, workRequest{ID: 1, For: time.Hour, Ignore: true}, client.Timeout(50*time.Millisecond))
	checkHung(t, err, first, "handleWork")
	if reply := p.mustWork(workRequest{ID: 2}); reply.Pid == first {
		t.Errorf("answered by %d, which was stuck", reply.Pid)
	}
	p.checkEnds(client.ReasonHung)
}
