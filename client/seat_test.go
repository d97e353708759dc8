package client

import (
	"testing"
	"time"

	"github.com/detached-workers/unref/lifecycle"
)

// A call may learn of its worker's death before the pool does. Slots have meaning
// to strategies, and to those who share workers.
func TestTheSuccessorOfAWorkerThatDiedTakesItsSlot(t *testing.T) {
	cfg := PoolConfig{Command: &lifecycle.Command{}, Max: 3, Jitter: -1}
	r := newRoster(cfg.withDefaults(), func() float64 { return 0 })
	now := time.Now()
	call := new(ticket)
	r.enqueue(call, now)
	first := starts(t, r, now)[0]
	first.worker = new(fakeWorker)
	r.started(first, now)
	if starts(t, r, now); call.seat != first {
		t.Fatalf("the call was given to %v", call.seat)
	}
	r.lost(first, ErrWorkerExited, now)
	r.release(call, now)
	again := call.renewed()
	r.enqueue(&again, now)
	if early := starts(t, r, now); len(early) > 0 {
		t.Errorf("a worker was started in slot %d while the dead one had slot %d", early[0].slot, first.slot)
	}
	r.gone(first, ReasonCrashed, nil, now)
	if next := starts(t, r, now); len(next) != 1 || next[0].slot != first.slot {
		t.Errorf("afterwards the starts are %v, want one in slot %d", next, first.slot)
	}
}

func TestASharedWorkerThatEndsIsReplacedWhenThereIsSomethingToDo(t *testing.T) {
	cfg := PoolConfig{Command: &lifecycle.Command{}, Name: "name", Max: 2, Jitter: -1}
	r := newRoster(cfg.withDefaults(), func() float64 { return 0 })
	now := time.Now()
	call := new(ticket)
	r.enqueue(call, now)
	first := starts(t, r, now)[0]
	first.worker = new(fakeWorker)
	r.started(first, now)
	starts(t, r, now)
	r.release(call, now)
	r.gone(first, ReasonExited, nil, now)
	if early := starts(t, r, now); len(early) > 0 {
		t.Errorf("%d workers were started for nobody", len(early))
	}
	again := call.renewed()
	r.enqueue(&again, now)
	if next := starts(t, r, now); len(next) != 1 || next[0].slot != first.slot {
		t.Errorf("for a call the starts are %v, want one in slot %d", next, first.slot)
	}
}

// starts has the roster decide and returns the seats that are to get workers.
func starts(t *testing.T, r *roster, now time.Time) (list []*seat) {
	t.Helper()
	actions, _ := r.decide(now)
	for _, a := range actions {
		if a.kind == actStart {
			list = append(list, a.seat)
		}
	}
	return list
}
