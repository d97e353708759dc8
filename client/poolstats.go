package client

import (
	"cmp"
	"context"
	"iter"
	"maps"
	"slices"
	"time"
)

// PoolStats are the figures of a pool at one moment. Those of calls include
// leases only where it is said.
type PoolStats struct {
	// What there is now.
	Queued   int // calls, and who wants a lease, that wait for a worker
	Running  int // calls that a worker has, those that were given up included until it has ended them
	Leases   int
	Starting int // workers
	Busy     int // workers that serve and have calls or leases
	Idle     int // workers that serve and have none
	Leaving  int // workers that take no more calls and have some to finish
	Stopping int // workers whose process is being ended
	Wanted   int // how many workers there should be

	// What there was since the pool was made.
	Calls         uint64 // that have ended, in whatever way
	Failed        uint64 // of these, those with an error, the worker's own answers included
	Refused       uint64 // because the queue was full
	QueueTimeouts uint64 // calls and leases whose time in the queue was over
	Timeouts      uint64 // calls whose time on the worker was over
	Canceled      uint64 // calls that their caller gave up, or whose context ended in the queue
	Retries       uint64 // runs of idempotent calls after the first one
	Starts        uint64 // workers that were ready
	StartFailures uint64

	// Ends are the workers that have ended by why they did, and Restarts those of
	// them in whose place another was to be started.
	Ends map[Reason]uint64

	// Wait is how long calls and leases were queued, those included that were
	// not; Run how long workers had the calls.
	Wait Histogram
	Run  Histogram
}

// Workers returns how many workers there are, in whatever state.
func (s PoolStats) Workers() int {
	return s.Starting + s.Busy + s.Idle + s.Leaving + s.Stopping
}

// Restarts returns how many workers have ended for which another one was to be
// started.
func (s PoolStats) Restarts() uint64 {
	var n uint64
	for reason, ends := range s.Ends {
		if reason != ReasonIdle && reason != ReasonClosed {
			n += ends
		}
	}
	return n
}

// Reason is why a worker of a pool ended.
type Reason string

// The reasons.
const (
	ReasonCrashed Reason = "crashed"        // it died of a signal, a panic, or with a status that is not 0
	ReasonExited  Reason = "exited"         // it left of its own accord, or is shared and takes no more clients
	ReasonLimit   Reason = "resource limit" // it was over one of its [lifecycle.Limits]
	ReasonHung    Reason = "hung"           // it did not end a call that was given up, and was killed
	ReasonMemory  Reason = "memory"         // over MaxRSS, killed
	ReasonIdleRSS Reason = "idle memory"    // over MaxIdleRSS
	ReasonCalls   Reason = "calls"          // MaxCalls
	ReasonAge     Reason = "age"            // MaxAge
	ReasonReload  Reason = "reload"         // the command has changed
	ReasonDiscard Reason = "discarded"      // by its lease, or it has failed the check
	ReasonIdle    Reason = "idle"           // there were more than needed
	ReasonClosed  Reason = "closed"         // the pool was
)

// PoolEvent is one event in the life of a pool.
type PoolEvent struct {
	Seq  uint64 // counts from 1; a gap means that events were lost to a slow reader
	Time time.Time
	Kind PoolEventKind
	Slot int // of the worker, -1 if the event is not about one
	Pid  int // 0 if it is not known

	Reason Reason // of WorkerLeaving and WorkerEnded
	Detail string // of the reason, may be empty
	Err    error  // of WorkerStartFailed, WorkerEnded and PoolBroken

	// Decision is that of WorkerReady, if the workers are shared.
	Decision Decision
}

// PoolEventKind is what has happened.
type PoolEventKind string

// The kinds of events.
const (
	WorkerStarting    PoolEventKind = "starting"
	WorkerReady       PoolEventKind = "ready"
	WorkerStartFailed PoolEventKind = "start failed"
	WorkerLeaving     PoolEventKind = "leaving" // it takes no more calls
	WorkerEnded       PoolEventKind = "ended"   // its process is gone
	PoolReloaded      PoolEventKind = "reloaded"
	PoolBroken        PoolEventKind = "broken"  // see [ErrRestartLimit]
	PoolRevived       PoolEventKind = "revived" // see [Pool.Revive]
	PoolClosing       PoolEventKind = "closing"
	PoolClosed        PoolEventKind = "closed"
)

// PoolSlot is the place of one worker in a pool at one moment.
type PoolSlot struct {
	Slot   int // its number
	State  SlotState
	Pid    int       // 0 until the worker is ready
	Places int       // taken by calls and leases
	Calls  int       // that the worker has been given, leases included
	Began  time.Time // when its start was decided
	Ready  time.Time // when it was ready; zero before
	Reason Reason    // why the worker is to be replaced, or leaves; empty if neither
}

// SlotState is where a worker stands in its life.
type SlotState string

// The states.
const (
	SlotStarting SlotState = "starting"
	SlotIdle     SlotState = "idle"
	SlotBusy     SlotState = "busy"
	SlotLeaving  SlotState = "leaving"  // it takes no more calls and has some to finish
	SlotStopping SlotState = "stopping" // its process is being ended
)

func (s *seat) slotState() SlotState {
	switch {
	case s.state == seatStarting:
		return SlotStarting
	case s.state == seatEnding:
		return SlotStopping
	case s.state == seatLeaving:
		return SlotLeaving
	case s.places > 0:
		return SlotBusy
	}
	return SlotIdle
}

// Slots returns the workers that there are, in the order of their slots.
func (p *Pool) Slots() []PoolSlot {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := make([]PoolSlot, 0, len(p.roster.seats))
	for _, s := range p.roster.seats {
		slot := PoolSlot{
			Slot: s.slot, State: s.slotState(), Places: s.places, Calls: s.calls, Began: s.began, Ready: s.ready,
			Reason: cmp.Or(s.why, s.due),
		}
		if !s.ready.IsZero() {
			slot.Pid = s.worker.Pid()
		}
		list = append(list, slot)
	}
	return list
}

// Stats returns the pool's figures.
func (p *Pool) Stats() PoolStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	stats := p.roster.stats
	stats.Ends = maps.Clone(stats.Ends)
	stats.Queued = p.roster.queue.length
	stats.Wanted = p.roster.target
	counts := map[SlotState]*int{
		SlotStarting: &stats.Starting, SlotIdle: &stats.Idle, SlotBusy: &stats.Busy, SlotLeaving: &stats.Leaving, SlotStopping: &stats.Stopping,
	}
	for _, s := range p.roster.seats {
		*counts[s.slotState()]++
	}
	return stats
}

// maxEvents is how many events a pool keeps.
const maxEvents = 512

// journal keeps the last events of a pool.
type journal struct {
	events []PoolEvent // those that are kept, in order
	last   uint64      // number of the last one
}

func (j *journal) note(e PoolEvent) {
	j.last++
	e.Seq = j.last
	if len(j.events) == maxEvents {
		j.events = slices.Delete(j.events, 0, maxEvents/4)
	}
	j.events = append(j.events, e)
}

// after returns those events that are kept with a number above seq.
func (j *journal) after(seq uint64) []PoolEvent {
	i, _ := slices.BinarySearchFunc(j.events, seq+1, func(e PoolEvent, seq uint64) int { return int(int64(e.Seq - seq)) })
	return slices.Clone(j.events[i:])
}

// Events yields what happens to the pool: at first what is kept of the past, at
// least the last 384 events or all, and then each event as it happens, until ctx
// ends or the pool is closed. With a ctx that has ended the loop has what there
// was. Each loop has all events.
func (p *Pool) Events(ctx context.Context) iter.Seq[PoolEvent] {
	return func(yield func(PoolEvent) bool) {
		for seq := uint64(0); ; {
			p.mu.Lock()
			events, changed, closed := p.roster.journal.after(seq), p.changes(), p.isClosed()
			p.mu.Unlock()
			for _, e := range events {
				if !yield(e) {
					return
				}
				seq = e.Seq
			}
			if closed && len(events) == 0 {
				return
			}
			select {
			case <-changed:
			case <-p.closed:
			case <-ctx.Done():
				return
			}
		}
	}
}
