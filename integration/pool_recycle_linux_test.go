package integration

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/detached-workers/unref/client"
)

// LESSONS 41
func TestPoolWithMaxCallsOfOneGivesEachCallAProcessOfItsOwn(t *testing.T) {
	t.Parallel()
	p := newPool(t, client.PoolConfig{Min: 2, Max: 2, MaxCalls: 1})
	var wg sync.WaitGroup
	for i := range rounds(15) {
		wg.Go(func() { p.mustWork(workRequest{ID: i}) })
	}
	wg.Wait()
	p.checkServed(func(pid, calls int) bool { return calls == 1 })
	p.checkEnds(client.ReasonCalls)
}

// checkServed checks how many calls each worker has run.
func (p *testPool) checkServed(right func(pid, calls int) bool) {
	p.t.Helper()
	served := make(map[int]int)
	for _, pids := range p.runs() {
		for _, pid := range pids {
			served[pid]++
		}
	}
	for pid, calls := range served {
		if !right(pid, calls) {
			p.t.Errorf("worker %d has run %d calls", pid, calls)
		}
	}
}

// checkEnds checks that workers have ended, and for this reason only.
func (p *testPool) checkEnds(want client.Reason) {
	p.t.Helper()
	await(p.t, fmt.Sprintf("the end of a worker for the reason %q", want), func() bool { return p.Stats().Ends[want] > 0 })
	for reason, n := range p.Stats().Ends {
		if reason != want {
			p.t.Errorf("%d workers have ended for the reason %q, want only %q", n, reason, want)
		}
	}
}

// checkNoGap checks that at each moment from the first n workers on n were ready.
func (p *testPool) checkNoGap(n int) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	ready, full := make(map[int]bool), false
	for _, e := range p.events {
		switch e.Kind {
		case client.WorkerReady:
			ready[e.Pid] = true
		case client.WorkerLeaving, client.WorkerEnded:
			delete(ready, e.Pid)
		case client.PoolClosing:
			return
		}
		full = full || len(ready) == n
		if full && len(ready) < n {
			p.t.Errorf("event %d: %d workers are ready, want %d", e.Seq, len(ready), n)
		}
	}
	if !full {
		p.t.Errorf("there were never %d workers", n)
	}
}

// LESSONS 41
func TestPoolReplacesWorkersBeforeTheyLeave(t *testing.T) {
	t.Parallel()
	for what, cfg := range map[string]client.PoolConfig{
		"after so many calls": {MaxCalls: 400, Jitter: 0.5},
		"after some time":     {MaxAge: 300 * time.Millisecond},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			cfg.Min, cfg.Max = 2, 2
			p := newPool(t, cfg)
			p.mustBeReady()
			s := &storm{p: p, callers: 3, request: shortWork}
			ctx, cancel := context.WithCancel(t.Context())
			var calling sync.WaitGroup
			calling.Go(func() { s.until(ctx) })
			await(t, "the end of three workers", func() bool { return len(p.seen(client.WorkerEnded)) >= 3 })
			cancel()
			calling.Wait()
			s.check(1, func(outcome) bool { return false })
			if cfg.MaxCalls > 0 {
				p.checkServed(func(_, calls int) bool { return calls <= cfg.MaxCalls })
				p.checkEnds(client.ReasonCalls)
			} else {
				p.checkEnds(client.ReasonAge)
				p.checkNoGap(2)
			}
		})
	}
}

func TestPoolReplacesAnIdleWorkerThatKeepsMemory(t *testing.T) {
	t.Parallel()
	p := newPool(t, client.PoolConfig{Min: 1, Max: 1, MaxIdleRSS: 150 << 20})
	p.mustBeReady()
	first := p.pids()[0]
	for range 3 {
		if reply := p.mustWork(workRequest{Keep: 1}); reply.Pid != first {
			t.Fatalf("worker %d was replaced by %d", first, reply.Pid)
		}
	}
	p.mustWork(workRequest{Keep: 200})
	await(t, "another worker", func() bool { return !slices.Contains(p.pids(), first) && len(p.pids()) == 1 })
	p.checkEnds(client.ReasonIdleRSS)
	p.checkNoGap(1)
}

func TestPoolKillsABusyWorkerThatTakesTooMuchMemory(t *testing.T) {
	t.Parallel()
	p := newPool(t, client.PoolConfig{Min: 1, Max: 1, MaxRSS: 150 << 20})
	_, err := client.Call(limited(t), p, work, workRequest{ID: 1, Keep: 200, For: time.Hour})
	checkExited(t, err, -1, 9, "")
	p.mustWork(workRequest{ID: 2, Keep: 1})
	p.checkEnds(client.ReasonMemory)
	if runs := p.runs(); len(runs[1]) != 1 || len(runs[2]) != 1 {
		t.Errorf("got runs %v", runs)
	}
}

// Calls go on all the while, and are answered by workers of the commands in turn.
func TestPoolReloadsTwentyTimesInASecondUnderLoad(t *testing.T) {
	t.Parallel()
	p := newPool(t, client.PoolConfig{Min: 2, Max: 2, Surge: 1})
	p.mustBeReady()
	s := &storm{p: p, callers: 4, request: shortWork}
	ctx, cancel := context.WithCancel(t.Context())
	var calling sync.WaitGroup
	calling.Go(func() { s.until(ctx) })
	const reloads = 20
	for i := range reloads {
		if err := p.Reload(p.command([]string{"even", "odd"}[i%2], fmt.Sprint(i+1))); err != nil {
			t.Error(err)
		}
		meanwhile(50 * time.Millisecond)
	}
	p.mustBeReady()
	cancel()
	calling.Wait()
	s.check(1, func(outcome) bool { return false })
	for range 10 {
		if reply := p.mustWork(workRequest{}); !slices.Equal(reply.Args, []string{"odd", fmt.Sprint(reloads)}) {
			t.Errorf("answered by %+v, which is not the last one", reply)
		}
	}
	p.awaitIdle(2)
	p.checkEnds(client.ReasonReload)
	p.checkNoGap(2)
	p.checkSuperseded()
}

// checkSuperseded checks that workers whose start was called off were given no
// call, and are no longer there.
func (p *testPool) checkSuperseded() {
	p.t.Helper()
	served := make(map[int]bool)
	for _, pids := range p.runs() {
		for _, pid := range pids {
			served[pid] = true
		}
	}
	superseded := 0
	for _, e := range p.seen(client.WorkerEnded) {
		if e.Detail != "superseded before it was ready" {
			continue
		}
		superseded++
		if served[e.Pid] {
			p.t.Errorf("worker %d was superseded, and has served", e.Pid)
		}
	}
	p.t.Logf("%d starts of %d were superseded", superseded, len(p.seen(client.WorkerStarting)))
	ready := make(map[int]bool)
	for _, e := range p.seen(client.WorkerReady) {
		ready[e.Pid] = true
	}
	for pid := range served {
		if !ready[pid] {
			p.t.Errorf("worker %d has served, and was never ready", pid)
		}
	}
}

func TestPoolReloadWithAProgramThatFailsLeavesTheOldWorkers(t *testing.T) {
	t.Parallel()
	p := newPool(t, client.PoolConfig{Min: 2, Max: 2, Surge: 1, MaxRestarts: 2, MinBackoff: time.Millisecond})
	p.mustBeReady()
	old := p.pids()
	if err := p.Reload(p.command("crash")); err != nil {
		t.Fatal(err)
	}
	if err := p.Ready(limited(t)); err == nil {
		t.Error("the pool is ready with a program that crashes")
	}
	for range 10 {
		if reply := p.mustWork(workRequest{}); !slices.Contains(old, reply.Pid) {
			t.Errorf("answered by %d, want one of %v", reply.Pid, old)
		}
	}
	if err := p.Reload(p.command("mended")); err != nil {
		t.Fatal(err)
	}
	p.mustBeReady()
	if reply := p.mustWork(workRequest{}); !slices.Equal(reply.Args, []string{"mended"}) {
		t.Errorf("answered by %+v", reply)
	}
	p.checkNoGap(2)
}
