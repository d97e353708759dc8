package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/detached-workers/unref/bench/harness"
	"github.com/detached-workers/unref/bench/report"
)

// settle is how long workers are left alone before they count as idle.
const settle = 2 * time.Second

// pause waits.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// idle measures the processor time of parents and workers that have nothing to
// do, all at the same time. It is told for a minute, however long it took.
func idle(ctx context.Context, b *bench, programs []*program) error {
	window := time.Duration(b.full(60, 5)) * time.Second
	watches := make(map[*program]*watch)
	for _, p := range programs {
		h, err := b.hold(ctx, p, 1)
		if err != nil {
			b.results.Measurement(report.Idle, p.name).Note("", err.Error())
			continue
		}
		defer h.close()
		watches[p] = &watch{pids: [...]int{h.cmd.Process.Pid, h.Workers[0].Pid}}
	}
	if err := pause(ctx, settle); err != nil {
		return err
	}
	for _, w := range watches {
		w.begin()
	}
	if err := pause(ctx, window); err != nil {
		return err
	}
	for _, p := range programs {
		if w := watches[p]; w != nil {
			m := b.results.Measurement(report.Idle, p.name)
			m.Runs = append(m.Runs, w.end(time.Minute.Seconds()/window.Seconds()))
		}
	}
	return nil
}

// watched are the processes of a [watch].
var watched = [...]string{"parent", "worker"}

// watch is a parent and a worker, and what they had used at the beginning.
type watch struct {
	pids   [len(watched)]int
	before [len(watched)]activity
}

func (w *watch) begin() {
	for i, pid := range w.pids {
		w.before[i] = activityOf(pid)
	}
}

// end returns what they have used since, times a factor.
func (w *watch) end(factor float64) harness.Metrics {
	metrics := make(harness.Metrics)
	for i, who := range watched {
		after := activityOf(w.pids[i])
		metrics[who+".ticks"] = float64(after.ticks-w.before[i].ticks) * factor
		metrics[who+".switches"] = float64(after.switches-w.before[i].switches) * factor
	}
	return metrics
}

// activity is what all threads of a process have used so far.
type activity struct {
	ticks    int // of the processor's time, 100 a second
	switches int // how often a thread began to run, or was interrupted
}

func activityOf(pid int) activity {
	var a activity
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	for _, thread := range threads {
		status, _ := harness.ReadProc(filepath.Join(thread, "status"))
		a.switches += status.Number("voluntary_ctxt_switches") + status.Number("nonvoluntary_ctxt_switches")
	}
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	// The second field is the name, which may have spaces. utime and stime are
	// the 14th and the 15th.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	for _, field := range fields[min(11, len(fields)):min(13, len(fields))] {
		ticks, _ := strconv.Atoi(field)
		a.ticks += ticks
	}
	return a
}
