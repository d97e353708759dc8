package main

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/detached-workers/unref/bench/harness"
	"github.com/detached-workers/unref/bench/report"
)

const (
	// kills is how many owners are killed in all runs together, of idle and of
	// busy workers each.
	kills = 200

	// missedAfter is when a worker that has lost its owner counts as missed.
	missedAfter = 5 * time.Second

	// enoughMissed is after how many missed workers a system is given up if no
	// other worker has left.
	enoughMissed = 3
)

// exits measures how long workers outlive an owner that is killed.
func exits(ctx context.Context, b *bench, p *program, m *report.Measurement) (harness.Metrics, error) {
	m.Note("orphans", p.desc.Orphan)
	metrics, err := b.exitsOf(ctx, p, m, "idle")
	if err != nil {
		return nil, err
	}
	busy, err := b.exitsOf(ctx, p, m, "busy", harness.Spin)
	maps.Copy(metrics, busy)
	return metrics, err
}

// exitsOf kills this run's share of owners, and keeps how long their workers
// stayed as samples. It gives up on a system whose workers never leave.
func (b *bench) exitsOf(ctx context.Context, p *program, m *report.Measurement, state string, args ...string) (harness.Metrics, error) {
	missed, tries := 0, 0
	for tries < b.full((kills+b.runs-1)/b.runs, 3) && !hopeless(m, state, missed) {
		took, gone, err := b.exit(ctx, p, args)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", state, err)
		}
		tries++
		if gone {
			m.Sample(state, float64(took))
		} else {
			missed++
		}
	}
	return harness.Metrics{state + ".missed": float64(missed), state + ".kills": float64(tries)}, nil
}

// hopeless is whether some workers were missed, in this run and those before,
// and no worker has ever left.
func hopeless(m *report.Measurement, state string, missed int) bool {
	for _, run := range m.Runs {
		missed += int(run[state+".missed"])
	}
	return missed >= enoughMissed && len(m.Samples[state]) == 0
}

// exit kills one owner and returns how long its worker stayed.
func (b *bench) exit(ctx context.Context, p *program, args []string) (time.Duration, bool, error) {
	h, err := b.hold(ctx, p, 1, args...)
	if err != nil {
		return 0, false, err
	}
	defer h.close()
	worker, err := openPid(h.Workers[0].Pid)
	if err != nil {
		return 0, false, err
	}
	defer worker.close()
	began := time.Now()
	h.kill()
	gone := worker.await(ctx, missedAfter)
	took := time.Since(began)
	if !gone {
		worker.kill()
	}
	return took, gone, nil
}
