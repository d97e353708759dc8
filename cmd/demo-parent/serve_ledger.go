package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/detached-workers/unref/client"
)

// maxRecent is how many events a ledger keeps.
const maxRecent = 20

// ledger knows what has happened to a pool lately, and tells of what should not have.
type ledger struct {
	display *display
	verbose bool // all events are told

	mu     sync.Mutex         // protects recent
	recent []client.PoolEvent // the oldest first
}

func newLedger(d *display, verbose bool) *ledger {
	return &ledger{display: d, verbose: verbose}
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
}

// look returns the events, the newest first.
func (l *ledger) look() []client.PoolEvent {
	l.mu.Lock()
	defer l.mu.Unlock()
	events := slices.Clone(l.recent)
	slices.Reverse(events)
	return events
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
