package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/detached-workers/unref/client"
)

// maxRecent is how many events a ledger keeps.
const maxRecent = 20

// ledger knows from the events of a pool which workers there are and what has happened lately, and tells of what
// should not have.
type ledger struct {
	display *display
	verbose bool // all events are told

	mu      sync.Mutex         // protects what follows
	workers map[int]process    // by slot
	recent  []client.PoolEvent // the oldest first
}

// process is a worker as the ledger knows it.
type process struct {
	Slot  int       `json:"slot"`
	Pid   int       `json:"pid,omitempty"` // not known while it starts
	State string    `json:"state"`
	Since time.Time `json:"since"` // of the state
	RSS   int64     `json:"rss_bytes,omitempty"`
}

func newLedger(d *display, verbose bool) *ledger {
	return &ledger{display: d, verbose: verbose, workers: make(map[int]process)}
}

// follow takes the events of a pool until that is closed.
func (l *ledger) follow(pool *client.Pool) {
	for e := range pool.Events(context.Background()) {
		l.note(e)
		if l.verbose || unexpected(e) {
			l.display.Printf("%s", describe(e))
		}
	}
}

// note keeps an event.
func (l *ledger) note(e client.PoolEvent) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.recent) == maxRecent {
		l.recent = slices.Delete(l.recent, 0, 1)
	}
	l.recent = append(l.recent, e)
	switch e.Kind {
	case client.WorkerStarting, client.WorkerReady, client.WorkerLeaving:
		l.workers[e.Slot] = process{Slot: e.Slot, Pid: e.Pid, State: string(e.Kind), Since: e.Time}
	case client.WorkerStartFailed, client.WorkerEnded:
		delete(l.workers, e.Slot)
	}
}

// look returns the workers by slot, and the events, the newest first.
func (l *ledger) look() ([]process, []client.PoolEvent) {
	l.mu.Lock()
	defer l.mu.Unlock()
	workers := slices.SortedFunc(maps.Values(l.workers), func(a, b process) int { return cmp.Compare(a.Slot, b.Slot) })
	events := slices.Clone(l.recent)
	slices.Reverse(events)
	return workers, events
}

// unexpected reports whether an event is one that nobody has planned.
func unexpected(e client.PoolEvent) bool {
	switch e.Kind {
	case client.WorkerStartFailed, client.PoolBroken:
		return true
	case client.WorkerEnded:
		switch e.Reason {
		case client.ReasonCrashed, client.ReasonExited, client.ReasonLimit, client.ReasonHung, client.ReasonMemory:
			return true
		}
	}
	return false
}

// describe returns an event in one line.
func describe(e client.PoolEvent) string {
	var b strings.Builder
	switch {
	case e.Slot < 0:
		fmt.Fprintf(&b, "pool: %s", e.Kind)
	case e.Pid == 0:
		fmt.Fprintf(&b, "worker in slot %d: %s", e.Slot, e.Kind)
	default:
		fmt.Fprintf(&b, "worker %d in slot %d: %s", e.Pid, e.Slot, e.Kind)
	}
	if e.Reason != "" {
		fmt.Fprintf(&b, " (%s)", e.Reason)
	}
	if detail := cmp.Or(e.Detail, firstLine(e.Err)); detail != "" {
		fmt.Fprintf(&b, ": %s", detail)
	}
	return b.String()
}

// firstLine returns an error without the lines that a worker has printed last, empty if it is nil.
func firstLine(err error) string {
	if err == nil {
		return ""
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	return strings.TrimSuffix(line, "; last output:")
}
