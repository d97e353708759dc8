package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/lifecycle"
)

// closings are the ways in which a pool is closed.
var closings = map[string]func(*testPool) error{
	"Close": func(p *testPool) error { return p.Close() },
	"Stop": func(p *testPool) error {
		ctx, cancel := context.WithTimeout(context.Background(), rand.N(20*time.Millisecond))
		defer cancel()
		return p.Stop(ctx)
	},
	"Kill": func(p *testPool) error { return p.Kill() },
	"all at once": func(p *testPool) error {
		var wg sync.WaitGroup
		wg.Go(func() { p.Close() })
		wg.Go(func() { p.Stop(context.Background()) })
		wg.Go(func() { p.Kill() })
		wg.Wait()
		return p.Kill()
	},
}

// LESSONS 26, 40
func TestPoolThatIsClosedAtAnyMomentSettlesEveryCallAndLeavesNothing(t *testing.T) {
	t.Parallel()
	for how, end := range closings {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			for range rounds(10) {
				closeUnderLoad(t, how, end)
			}
		})
	}
}

func closeUnderLoad(t *testing.T, how string, end func(*testPool) error) {
	p := newPool(t, client.PoolConfig{Min: 2, Max: 3, MaxCalls: 50, CloseTimeout: 20 * time.Millisecond})
	s := &storm{p: p, callers: 8, request: func(id int) workRequest {
		return workRequest{ID: id, For: time.Duration(id%40) * time.Millisecond}
	}}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var calling sync.WaitGroup
	calling.Go(func() { s.until(ctx) })
	meanwhile(rand.N(100 * time.Millisecond))
	err := end(p)
	if left := belonging(p.root); len(left) > 0 {
		t.Errorf("%s has returned, and processes %v are left", how, left)
	}
	if err != nil && !errors.Is(err, client.ErrForced) && !strings.Contains(err.Error(), "cut off: left are ") {
		t.Errorf("%s: %v", how, err)
	}
	cancel()
	calling.Wait()
	s.check(3, func(o outcome) bool {
		return errors.Is(o.err, client.ErrWorkerExited) || errors.Is(o.err, client.ErrClosed)
	})
	if _, err := client.Call(t.Context(), p, work, workRequest{}); !errors.Is(err, client.ErrClosed) || !client.SafeToRetry(err) {
		t.Errorf("a call after %s: %v", how, err)
	}
	if err := p.Reload(p.command()); !errors.Is(err, client.ErrClosed) {
		t.Errorf("Reload after %s: %v", how, err)
	}
	if err := p.Ready(t.Context()); !errors.Is(err, client.ErrClosed) {
		t.Errorf("Ready after %s: %v", how, err)
	}
}

func TestPoolCloseLetsCallsFinish(t *testing.T) {
	t.Parallel()
	p := newPool(t, client.PoolConfig{Min: 2, Max: 2})
	s := &storm{p: p, callers: 10, request: func(id int) workRequest { return workRequest{ID: id, For: 20 * time.Millisecond} }}
	ctx, cancel := context.WithCancel(t.Context())
	var calling sync.WaitGroup
	calling.Go(func() { s.until(ctx) })
	p.awaitRun(5)
	cancel()
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	calling.Wait()
	s.check(3, func(o outcome) bool { return errors.Is(o.err, client.ErrClosed) })
}

// A handler that spins does not hear SIGTERM, and what a worker has started goes
// with it.
// LESSONS 12
func TestPoolCloseForcesWhatDoesNotEndAndNamesIt(t *testing.T) {
	t.Parallel()
	p := newPool(t, client.PoolConfig{Min: 2, Max: 10, CloseTimeout: 100 * time.Millisecond}) // enough for the children
	p.mustBeReady()
	pids := p.pids()
	results := make(chan error, 2)
	go func() {
		_, err := client.Call(limited(t), p, wait, waitRequest{Spin: true})
		results <- err
	}()
	await(t, "the spinning handler", func() bool { return p.Stats().Busy == 1 })
	offspring, err := client.Call(limited(t), p, offspr, struct{}{})
	if err != nil {
		t.Fatal(err)
	}
	err = p.Close()
	if !errors.Is(err, client.ErrForced) || !strings.Contains(fmt.Sprint(err), "1 calls in flight") {
		t.Errorf("got %v, want ErrForced", err)
	}
	named := 0
	for _, pid := range pids {
		if strings.Contains(fmt.Sprint(err), fmt.Sprintf("(pid %d) was killed", pid)) {
			named++
		}
	}
	if named != 1 {
		t.Errorf("of the workers %v %d are named: %v", pids, named, err)
	}
	for _, pid := range append(pids, offspring...) {
		if alive(pid) {
			t.Errorf("process %d is left", pid)
		}
	}
	if err := <-results; !errors.Is(err, client.ErrWorkerExited) || client.SafeToRetry(err) {
		t.Errorf("the call that was cut off: %v", err)
	}
}

func TestPoolCloseForcesAnIdleWorkerThatWasStopped(t *testing.T) {
	t.Parallel()
	p := newPool(t, client.PoolConfig{Min: 1, Max: 1, Prepare: func(_ int, cmd *lifecycle.Command) error {
		cmd.Grace = 100 * time.Millisecond
		return nil
	}})
	p.mustBeReady()
	pid := p.pids()[0]
	suspend(t, pid)
	err := p.Close()
	if !errors.Is(err, client.ErrForced) || !strings.Contains(err.Error(), fmt.Sprintf("(pid %d)", pid)) || alive(pid) {
		t.Errorf("got %v, want ErrForced and the worker's name", err)
	}
}

// keep has another program keep a pool.
func keep(t testing.TB, k keeping) *program {
	t.Helper()
	keeper := run(t, playing(t, k.Root, "keep"))
	text, err := json.Marshal(k)
	must(err)
	keeper.say(string(text))
	return keeper
}

// do has the keeper of a pool do something.
func (p *program) do(t testing.TB, what string) (r keepResult) {
	t.Helper()
	p.say(what)
	if err := json.Unmarshal([]byte(p.line(t)), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// LESSONS 8
func TestPoolWhoseParentIsKilledAtAnyMomentLeavesNoWorker(t *testing.T) {
	t.Parallel()
	for moment, words := range map[string]string{"as it starts": "", "when it is ready": "ready", "as it recycles": "load"} {
		t.Run(moment, func(t *testing.T) {
			t.Parallel()
			for range rounds(5) {
				root := newRoot(t)
				keeper := keep(t, keeping{Root: root, Log: filepath.Join(t.TempDir(), "calls"), Size: 3, MaxCalls: 20})
				if words != "" {
					keeper.do(t, words)
				}
				meanwhile(rand.N(100 * time.Millisecond))
				keeper.signal(syscall.SIGKILL)
				keeper.cmd.Wait()
				await(t, "the end of all workers", func() bool { return len(belonging(root)) == 0 })
				sweep(t, root)
			}
		})
	}
}

func TestPoolWhoseParentReturnsFromMainLeavesNoWorker(t *testing.T) {
	t.Parallel()
	root := newRoot(t)
	keeper := keep(t, keeping{Root: root, Log: filepath.Join(t.TempDir(), "calls"), Size: 3})
	r := keeper.do(t, "ready")
	if len(r.Pids) != 3 || r.Err != "" {
		t.Errorf("got %+v", r)
	}
	keeper.in.Close()
	keeper.cmd.Wait()
	nothingLeft(t, root)
}
