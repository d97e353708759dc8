package integration

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/lifecycle"
	"github.com/detached-workers/unref/transport"
)

func TestPoolPrewarmsMinAndGrowsToMaxOnly(t *testing.T) {
	t.Parallel()
	p := newPool(t, client.PoolConfig{Min: 2, Max: 3})
	p.mustBeReady()
	if stats := p.Stats(); stats.Idle != 2 || stats.Workers() != 2 || stats.Starts != 2 {
		t.Errorf("got %+v, want two workers, idle", stats)
	}
	var wg sync.WaitGroup
	for i := range 30 {
		wg.Go(func() { p.mustWork(workRequest{ID: i, For: 5 * time.Millisecond}) })
	}
	wg.Wait()
	p.awaitIdle(3)
	if starts := p.seen(client.WorkerStarting); len(starts) != 3 {
		t.Errorf("%d workers were started, want 3", len(starts))
	}
}

// LESSONS 38, 39
func TestPoolReplacesWorkersThatAreKilled(t *testing.T) {
	t.Parallel()
	p := newPool(t, client.PoolConfig{Min: 3, Max: 3})
	p.mustBeReady()
	for n := 1; n <= 3; n++ {
		await(t, "three workers", func() bool { return len(p.pids()) == 3 })
		victims := p.pids()[:n]
		for _, pid := range victims {
			kill(t, pid)
		}
		await(t, "others in their place", func() bool {
			pids := p.pids()
			return len(pids) == 3 && !slices.ContainsFunc(victims, func(v int) bool { return slices.Contains(pids, v) })
		})
		for range 3 {
			p.mustWork(workRequest{})
		}
	}
	p.awaitIdle(3)
	if stats := p.Stats(); stats.Restarts() != 6 || stats.Ends[client.ReasonCrashed] != 6 || stats.Starts != 9 {
		t.Errorf("got %+v, want 6 workers that have crashed and 9 starts", stats)
	}
}

// Whoever calls after a worker has died is served by the one that is started in
// its place; nobody starts another one.
func TestPoolStartsOneWorkerForFiftyCallersWhoNeedOne(t *testing.T) {
	t.Parallel()
	p := newPool(t, client.PoolConfig{Min: 1, Max: 1})
	p.mustBeReady()
	kill(t, p.pids()[0])
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() { p.mustWork(workRequest{ID: i}, client.Idempotent()) })
	}
	wg.Wait()
	p.awaitIdle(1)
	if starts := p.seen(client.WorkerStarting); len(starts) != 2 {
		t.Errorf("%d workers were started, want 2", len(starts))
	}
}

// badStart is a program that does not become a worker, and how callers learn of
// that.
type badStart struct {
	script string // what it does; empty if there is no program
	err    error
	output string
}

// writeProgram writes a script that runs the test binary.
func writeProgram(t testing.TB, path, command string) {
	t.Helper()
	executableFile(t, path, []byte("#!/bin/sh\n"+strings.ReplaceAll(command, "SELF", executable())+"\n"))
}

// LESSONS 2, 36
func TestPoolTellsItsCallersWhyNoWorkerStarts(t *testing.T) {
	t.Parallel()
	for what, bad := range map[string]badStart{
		"there is no program": {err: fs.ErrNotExist},
		"it exits at once":    {"exec SELF crash", client.ErrWorkerExited, "cannot read the configuration"},
		"it hangs":            {"exec SELF hang", client.ErrNotListening, "waiting for the license server"},
		"it is another one":   {"exec env " + roleEnv + "='fake other' SELF", transport.ErrName, ""},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			bad.test(t)
		})
	}
}

func (bad badStart) test(t *testing.T) {
	path := filepath.Join(t.TempDir(), "program")
	if bad.script != "" {
		writeProgram(t, path, bad.script)
	}
	p := newPool(t, client.PoolConfig{Max: 2, Prepare: func(_ int, cmd *lifecycle.Command) error {
		cmd.Path, cmd.StartTimeout = path, time.Second
		return nil
	}})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 2 {
				_, err := client.Call(limited(t), p, work, workRequest{})
				bad.check(t, err)
			}
		})
	}
	wg.Wait()
	writeProgram(t, path, "exec SELF")
	failures := 0
	await(t, "a worker", func() bool {
		_, err := client.Call(limited(t), p, work, workRequest{})
		if err != nil {
			failures++
		}
		return err == nil
	})
	if failures > 2 { // those of starts that had begun before
		t.Errorf("%d calls have failed since the program is right", failures)
	}
	p.checkPauses(250 * time.Millisecond)
}

// check checks what a caller was told.
func (bad badStart) check(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, bad.err) || !client.SafeToRetry(err) {
		t.Errorf("got %v (safe to retry: %v), want %v, which is", err, client.SafeToRetry(err), bad.err)
	}
	start, ok := errors.AsType[*client.StartError](err)
	if bad.script != "" && (!ok || !strings.Contains(string(start.Output), bad.output)) {
		t.Errorf("got %v, want a StartError with the output", err)
	}
}

// checkPauses checks that nothing was started too soon after starts that have
// failed, and that some have.
func (p *testPool) checkPauses(least time.Duration) {
	p.t.Helper()
	failures := p.seen(client.WorkerStartFailed)
	if len(failures) == 0 {
		p.t.Error("no start has failed")
	}
	started := p.seen(client.WorkerStarting)[0].Time
	for _, next := range p.seen(client.WorkerStarting) {
		i := slices.IndexFunc(failures, func(e client.PoolEvent) bool { return e.Time.After(started) })
		if i >= 0 && next.Time.After(failures[i].Time) && next.Time.Sub(failures[i].Time) < least {
			p.t.Errorf("event %d: a start %v after one that has failed, want %v at least", next.Seq, next.Time.Sub(failures[i].Time), least)
		}
		started = next.Time
	}
}

// LESSONS 37
func TestPoolWhoseWorkersAlwaysCrashFailsFastUntilItIsRevived(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "program")
	writeProgram(t, path, "exec SELF crash")
	p := newPool(t, client.PoolConfig{
		Min: 1, Max: 2, MaxRestarts: 3, MinBackoff: 10 * time.Millisecond,
		Prepare: func(_ int, cmd *lifecycle.Command) error {
			cmd.Path = path
			return nil
		},
	})
	await(t, "the end of the pool's patience", func() bool { return len(p.seen(client.PoolBroken)) > 0 })
	for range 10 {
		_, err := client.Call(limited(t), p, work, workRequest{})
		if !errors.Is(err, client.ErrRestartLimit) || !client.SafeToRetry(err) || !strings.Contains(err.Error(), "cannot read the configuration") {
			t.Errorf("got %v, want ErrRestartLimit with the last output", err)
		}
	}
	if err := p.Ready(limited(t)); !errors.Is(err, client.ErrRestartLimit) {
		t.Errorf("Ready returned %v, want ErrRestartLimit", err)
	}
	if starts := p.seen(client.WorkerStarting); len(starts) != 3 {
		t.Errorf("%d starts, want 3", len(starts))
	}
	writeProgram(t, path, "exec SELF")
	p.Revive()
	p.mustBeReady()
	p.mustWork(workRequest{})
	if len(p.seen(client.PoolRevived)) != 1 {
		t.Error("the revival is no event")
	}
}
