package main

import (
	"context"
	"fmt"

	"github.com/detached-workers/unref/bench/harness"
	"github.com/detached-workers/unref/bench/report"
)

// memoryOfOne is a generous estimate for a worker and its part of the parent.
const memoryOfOne = 16 << 20

// idleMemory measures what workers need that have nothing to do.
func idleMemory(ctx context.Context, b *bench, p *program, _ *report.Measurement) (harness.Metrics, error) {
	h, err := b.hold(ctx, p, b.full(20, 5))
	if err != nil {
		return nil, err
	}
	defer h.close()
	if err := pause(ctx, settle/4); err != nil {
		return nil, err
	}
	var rss, pss float64
	for _, w := range h.Workers {
		sizes, err := harness.ReadProc(fmt.Sprintf("/proc/%d/smaps_rollup", w.Pid))
		if err != nil {
			return nil, err
		}
		rss, pss = rss+float64(sizes.Bytes("Rss")), pss+float64(sizes.Bytes("Pss"))
	}
	n := float64(len(h.Workers))
	metrics := harness.Metrics{
		"worker.rss":    rss / n,
		"worker.pss":    pss / n,
		"parent.memory": float64(h.All.Memory-h.One.Memory) / (n - 1),
	}
	if h.All.Goroutines > 0 {
		metrics["parent.goroutines"] = float64(h.All.Goroutines-h.One.Goroutines) / (n - 1)
	}
	return metrics, nil
}

// available returns how much memory the machine has left, in bytes.
func available() int {
	info, _ := harness.ReadProc("/proc/meminfo")
	return info.Bytes("MemAvailable")
}
