package harness

import (
	"context"
	"os"
	"time"
)

// minBulk is how often a bulk transfer is made at least.
const minBulk = 3

// transfer moves size bytes to the worker, and perhaps back.
type transfer struct {
	name  string
	size  int
	first func(ctx context.Context, c Caller, payload []byte) error // looks at what came of it
	again func(ctx context.Context, c Caller, payload []byte) error
}

// transfers are in the order in which they are made: a system that breaks under
// one may break for those after it.
var transfers = []transfer{
	{"push1m", 1 << 20, push, push},
	{"echo1m", 1 << 20, checked, echo},
	{"push64m", 64 << 20, push, push},
	{"echo64m", 64 << 20, checked, echo},
}

func push(ctx context.Context, c Caller, payload []byte) error { return c.Push(ctx, len(payload)) }

func echo(ctx context.Context, c Caller, payload []byte) error {
	_, err := c.Echo(ctx, payload)
	return err
}

// bulk measures the bytes per second that go one way, and the greatest memory
// of both processes.
func bulk(ctx context.Context, s System, o options) (Metrics, error) {
	w, c, err := started(ctx, s)
	if err != nil {
		return nil, err
	}
	defer letGo(w)
	m := make(Metrics)
	for _, t := range transfers {
		rate, err := t.rate(ctx, c, o.duration())
		if err != nil {
			note(t.name, err)
			continue
		}
		m[t.name] = rate
	}
	for name, pid := range map[string]int{"parent.peak": os.Getpid(), "worker.peak": w.Pid()} {
		if peak := memory(pid, "VmHWM"); peak > 0 {
			m[name] = float64(peak)
		}
	}
	return m, nil
}

// rate repeats the transfer for at least d, after a first one that warms up.
func (t transfer) rate(ctx context.Context, c Caller, d time.Duration) (float64, error) {
	data := payload(t.size)
	if err := t.first(ctx, c, data); err != nil {
		return 0, err
	}
	n := 0
	began := time.Now()
	for n < minBulk || time.Since(began) < d {
		if err := t.again(ctx, c, data); err != nil {
			return 0, err
		}
		n++
	}
	return float64(n*t.size) / time.Since(began).Seconds(), nil
}
