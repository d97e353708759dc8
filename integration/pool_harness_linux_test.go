package integration

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/lifecycle"
)

// testPool is a pool whose events and processes are watched from its beginning
// to its end: there are never more processes than it may have, nothing starts once
// it is closing, and nothing is left.
type testPool struct {
	*client.Pool
	t     testing.TB
	root  string // of its workers, and of nobody else's
	log   string // the file in which its workers note the calls that they run
	limit int    // how many processes there may be
	ended chan struct{}

	mu     sync.Mutex // protects what follows
	events []client.PoolEvent
	ready  map[int]int // slots of the workers that are ready, by pid
}

// newPool makes a pool of test workers that is gone when the test ends. Workers
// may be replaced as planned only if the settings say something about that.
func newPool(t testing.TB, cfg client.PoolConfig) *testPool {
	t.Helper()
	root := newRoot(t)
	p := &testPool{
		t: t, root: root, log: filepath.Join(t.TempDir(), "calls"),
		limit: cfg.Max, ended: make(chan struct{}), ready: make(map[int]int),
	}
	if cfg.Surge > 0 || cfg.MaxCalls > 0 || cfg.MaxAge > 0 || cfg.MaxIdleRSS > 0 || cfg.MaxRSS > 0 {
		p.limit += max(0, cmp.Or(cfg.Surge, 1))
	}
	if cfg.Command == nil {
		cfg.Command = p.command()
	}
	if cfg.Dialer == nil {
		cfg.Dialer = quiet()
	}
	others := make(map[string]bool)
	processes, err := os.ReadDir("/proc")
	for _, entry := range processes {
		others[entry.Name()] = true
	}
	if err == nil {
		p.Pool, err = client.NewPool(cfg)
	}
	if err != nil {
		t.Fatal(err)
	}
	p.watch(others)
	return p
}

// command describes a worker of the pool.
func (p *testPool) command(args ...string) *lifecycle.Command {
	cmd := within(p.root, &lifecycle.Command{Path: executable()}, roleEnv+"=pooled", callsEnv+"="+p.log)
	cmd.Args = args
	return cmd
}

// watch follows the pool until it is closed, which it is when the test ends.
func (p *testPool) watch(others map[string]bool) {
	var wg sync.WaitGroup
	wg.Go(p.follow)
	wg.Go(func() { p.takeCensus(others) })
	p.t.Cleanup(func() {
		if err := p.Kill(); err != nil {
			p.t.Error(err)
		}
		wg.Wait()
		nothingLeft(p.t, p.root)
		if p.t.Failed() {
			p.t.Logf("events:\n%s\n%+v", p.story(), p.Stats())
		}
	})
}

// follow keeps the pool's events, and checks them.
func (p *testPool) follow() {
	defer close(p.ended)
	seats, last, closing := make(map[int]bool), uint64(0), false
	for e := range p.Events(context.Background()) {
		if last++; e.Seq != last {
			p.t.Errorf("event %d comes after %d", e.Seq, last-1)
			last = e.Seq
		}
		switch e.Kind {
		case client.WorkerStarting:
			if closing {
				p.t.Error("a worker starts though the pool is closing")
			}
			seats[e.Slot] = true
		case client.WorkerEnded, client.WorkerStartFailed:
			if e.Pid != 0 && alive(e.Pid) {
				p.t.Errorf("worker %d has ended, it is said, and lives", e.Pid)
			}
			delete(seats, e.Slot)
		case client.PoolClosing:
			closing = true
		}
		if len(seats) > p.limit {
			p.t.Errorf("%d workers, want at most %d", len(seats), p.limit)
		}
		p.keep(e)
	}
}

func (p *testPool) keep(e client.PoolEvent) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.events = append(p.events, e)
	switch e.Kind {
	case client.WorkerReady:
		p.ready[e.Pid] = e.Slot
	case client.WorkerEnded:
		delete(p.ready, e.Pid)
	}
}

// takeCensus counts the processes again and again. Those that were there before
// the pool are none of its own, and not looked at: that would keep the machine
// busy.
func (p *testPool) takeCensus(others map[string]bool) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-p.ended:
			return
		}
		if pids := belongingBut(p.root, others); len(pids) > p.limit {
			p.t.Errorf("%d processes, want at most %d: %v", len(pids), p.limit, pids)
		}
	}
}

// pids returns the workers that are ready and have not ended, as far as is known.
func (p *testPool) pids() []int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Sorted(maps.Keys(p.ready))
}

// seen returns the events of a kind that there were.
func (p *testPool) seen(kind client.PoolEventKind) (list []client.PoolEvent) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.events {
		if e.Kind == kind {
			list = append(list, e)
		}
	}
	return list
}

// story tells the last events.
func (p *testPool) story() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var b strings.Builder
	for _, e := range p.events[max(0, len(p.events)-60):] {
		fmt.Fprintf(&b, "%s %d %s slot %d pid %d %s %s %v\n", e.Time.Format("05.000"), e.Seq, e.Kind, e.Slot, e.Pid, e.Reason, e.Detail, firstLine(e.Err))
	}
	return b.String()
}

// mustBeReady waits until the pool is, and its workers are known.
func (p *testPool) mustBeReady() {
	p.t.Helper()
	if err := p.Ready(limited(p.t)); err != nil {
		p.t.Fatal(err)
	}
	await(p.t, "the events", func() bool { return len(p.seen(client.WorkerReady)) >= int(p.Stats().Starts) })
}

// awaitIdle waits until so many workers are idle, and there are no others, and the
// events that tell so are known.
func (p *testPool) awaitIdle(n int) {
	p.t.Helper()
	await(p.t, fmt.Sprintf("%d idle workers and no other", n), func() bool {
		stats := p.Stats()
		return stats.Idle == n && stats.Workers() == n && (p.ready == nil || len(p.pids()) == n)
	})
}

// mustWork makes a call that has to succeed, and returns who answered.
func (p *testPool) mustWork(req workRequest, opts ...client.CallOption) workReply {
	p.t.Helper()
	reply, err := client.Call(limited(p.t), p, work, req, opts...)
	if err != nil {
		p.t.Fatal(err)
	}
	return reply
}

// awaitRun waits until a worker runs the call, and returns the worker's pid.
func (p *testPool) awaitRun(id int) (pid int) {
	p.t.Helper()
	await(p.t, fmt.Sprintf("the run of call %d", id), func() bool {
		pids := p.runs()[id]
		if len(pids) > 0 {
			pid = pids[len(pids)-1]
		}
		return pid != 0
	})
	return pid
}

// runs returns the pids of the workers that have begun to run each call, by the
// call's number.
func (p *testPool) runs() map[int][]int {
	p.t.Helper()
	data, err := os.ReadFile(p.log)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		p.t.Fatal(err)
	}
	runs := make(map[int][]int)
	for line := range bytes.Lines(data) {
		id, pid, _ := strings.Cut(strings.TrimSpace(string(line)), " ")
		i, err := strconv.Atoi(id)
		j, err2 := strconv.Atoi(pid)
		if err := errors.Join(err, err2); err != nil {
			p.t.Fatal(err)
		}
		runs[i] = append(runs[i], j)
	}
	return runs
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(fmt.Sprint(err), "\n")
	return line
}
