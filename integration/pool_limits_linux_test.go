package integration

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/lifecycle"
	"github.com/detached-workers/unref/transport"
)

// swell takes so many bytes of memory.
const swell transport.Method[int, int] = "swell"

func handleSwell(_ context.Context, n int) (sum int, err error) {
	memory := make([]byte, n)
	for i := 0; i < n; i += 4096 {
		memory[i] = 1
		sum += int(memory[i])
	}
	return sum, nil
}

// poolWithin starts a pool of one worker with these limits.
func poolWithin(t *testing.T, limits lifecycle.Limits) *client.Pool {
	t.Helper()
	return startPool(t, client.PoolConfig{Min: 1, Max: 1, Command: selfWithin(limits)})
}

// awaitLimitedEnd waits for the event of a worker's end, which has to be for a
// limit, and then for the worker in its place.
func awaitLimitedEnd(t *testing.T, p *client.Pool, text string) {
	t.Helper()
	for e := range p.Events(limited(t)) {
		if e.Kind != client.WorkerEnded {
			continue
		}
		if e.Reason != client.ReasonLimit || e.Err == nil || !strings.Contains(e.Err.Error(), text) {
			t.Errorf("got %+v, want the reason %q and %q", e, client.ReasonLimit, text)
		}
		break
	}
	if _, err := client.Call(limited(t), p, echo, nil); err != nil {
		t.Error(err)
	}
	if n := p.Stats().Ends[client.ReasonLimit]; n != 1 {
		t.Errorf("%d workers have ended for a limit, want 1", n)
	}
}

// LESSONS 34
func TestPoolSaysForWhichLimitAWorkerHasEnded(t *testing.T) {
	t.Parallel()
	t.Run("processor time", func(t *testing.T) {
		t.Parallel()
		p := poolWithin(t, lifecycle.Limits{CPU: 1})
		if _, err := client.Call(limited(t), p, wait, waitRequest{Spin: true}); !errors.Is(err, client.ErrWorkerExited) {
			t.Errorf("got %v", err)
		}
		awaitLimitedEnd(t, p, "over its limit of 1s of CPU time")
	})
	t.Run("descriptors", func(t *testing.T) {
		t.Parallel()
		p := poolWithin(t, lifecycle.Limits{OpenFiles: 80})
		if _, err := client.Call(limited(t), p, hoard, ""); err != nil {
			t.Error(err)
		}
		awaitLimitedEnd(t, p, "over its limit of 80 open files")
	})
}

func TestPoolPreparesEachWorkerByTheNumberOfItsSlot(t *testing.T) {
	t.Parallel()
	base, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err != nil {
		t.Fatal(err)
	}
	nice := func(slot int) int { return min(20-base+3*slot, 19) }
	var mu sync.Mutex
	prepared := map[int]int{}
	p := startPool(t, client.PoolConfig{Min: 3, Max: 3, Prepare: func(slot int, cmd *lifecycle.Command) error {
		mu.Lock()
		defer mu.Unlock()
		prepared[slot]++
		cmd.Limits.Nice, cmd.Limits.GoMaxProcs = nice(slot), 1+slot
		return nil
	}})
	for _, a := range client.Broadcast(limited(t), p, echo, nil) {
		got, err := unix.Getpriority(unix.PRIO_PROCESS, a.Pid)
		if err != nil || nice(a.Slot) != 0 && 20-got != nice(a.Slot) || a.Err != nil {
			t.Errorf("the worker in slot %d has the nice value %d, %v, %v, want %d", a.Slot, 20-got, err, a.Err, nice(a.Slot))
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(prepared) != 3 || prepared[0] != 1 || prepared[1] != 1 || prepared[2] != 1 {
		t.Errorf("prepared %v, want each slot once", prepared)
	}
}
