package client

import (
	"fmt"
	"time"
)

// roster decides what a pool does: which call goes to which worker, and when
// workers are started, replaced and stopped. It starts nothing itself, waits for
// nothing and reads no clock: it is told what has happened and when, and decide
// returns what is to be done about it. The pool calls it with its lock held.
//
// At any point in time there are at most Max workers, those that are being
// stopped included, and at most Surge more while one is replaced as planned.
type roster struct {
	cfg    PoolConfig     // with defaults
	random func() float64 // from 0 to 1

	seats      []*seat // in the order of their slots
	queue      queue
	target     int // how many workers there should be, from Min to Max
	restarts   restarts
	generation int       // of the command
	lastCall   time.Time // when the last one came
	closing    bool      // nothing new is taken, and nothing starts
	broken     bool      // there was an event that says so
	changes    uint64    // counts what others may wait for

	stats   PoolStats // what was, and of what is now Running and Leases
	journal journal

	candidates []Candidate // of the assignment that is being made
	serving    []*seat     // those that the candidates stand for
}

func newRoster(cfg PoolConfig, random func() float64) *roster {
	return &roster{
		cfg:    cfg,
		random: random,
		target: cfg.Min,
		restarts: restarts{
			minDelay: cfg.MinBackoff, maxDelay: cfg.MaxBackoff, limit: cfg.MaxRestarts, window: cfg.RestartWindow,
		},
		stats: PoolStats{Ends: make(map[Reason]uint64)},
	}
}

// actionKind is what is to be done about a seat.
type actionKind int

const (
	actStart   actionKind = iota
	actEnd                // end the start, or the worker, as seat.kill says
	actMeasure            // look at its memory
)

type action struct {
	kind actionKind
	seat *seat
}

// decide returns what is to be done now, and when to ask again if nothing happens
// before; zero means never.
func (r *roster) decide(now time.Time) (actions []action, next time.Time) {
	r.expireQueue(now)
	r.noteAges(now)
	r.assign(now)
	r.shrink(now)
	r.retireDue(now)
	r.endWaiting(now)
	actions = r.endLeaving(now, actions)
	actions = r.startMissing(now, actions)
	actions = r.measureDue(now, actions)
	return actions, r.wake(now)
}

// enqueue takes a ticket. It is settled in the next decide, or waits.
func (r *roster) enqueue(t *ticket, now time.Time) {
	r.lastCall = now
	if !t.again {
		t.queued = now
	}
	if r.cfg.QueueTimeout > 0 {
		t.expires = now.Add(r.cfg.QueueTimeout)
	}
	if r.closing && !t.again {
		t.settle(nil, errPoolClosed)
		return
	}
	r.queue.push(t)
}

// refuseIfFull refuses a ticket that waits, if too many do.
func (r *roster) refuseIfFull(t *ticket) {
	if t.again || r.queue.length <= r.cfg.MaxQueue || !r.queue.remove(t) {
		return
	}
	r.stats.Refused++
	t.settle(nil, fmt.Errorf("%w: %d wait already", ErrQueueFull, r.queue.length))
}

// giveUp takes out a ticket for which nobody waits any more. If it was given a
// place in that moment, the place is free again.
func (r *roster) giveUp(t *ticket, now time.Time) {
	if t.seat != nil {
		r.release(t, now)
		return
	}
	r.queue.remove(t)
}

// expireQueue ends the waiting of those whose time is over.
func (r *roster) expireQueue(now time.Time) {
	for t := r.queue.expired(now); t != nil; t = r.queue.expired(now) {
		r.stats.QueueTimeouts++
		t.settle(nil, r.queueTimeout(t, now))
	}
}

// queueTimeout says for how long a ticket has waited, and why if that is not
// just because all workers were busy.
func (r *roster) queueTimeout(t *ticket, now time.Time) error {
	waited := now.Sub(t.queued).Round(time.Millisecond)
	if r.count((*seat).takes) == 0 && r.restarts.err != nil {
		return fmt.Errorf("%w: no worker after %v; the last one failed so: %w", ErrQueueTimeout, waited, r.restarts.err)
	}
	return fmt.Errorf("%w: no worker was free for %v", ErrQueueTimeout, waited)
}

// refuseAll ends the waiting of all.
func (r *roster) refuseAll(err error) {
	for t := range r.queue.all() {
		r.queue.remove(t)
		t.settle(nil, err)
	}
}

// refuseStranded ends the waiting of those for whom none of the workers that are
// there would do, though all were free.
func (r *roster) refuseStranded(err error) {
	r.lookAround()
	for i := range r.candidates {
		r.candidates[i].Free = true
	}
	for t := range r.queue.all() {
		if r.pick(t, false) == PickNone {
			r.queue.remove(t)
			t.settle(nil, err)
		}
	}
}

// endWaiting ends the waiting where nobody will ever come to serve, and the
// starts for which nobody waits any more when the pool is closing.
func (r *roster) endWaiting(now time.Time) {
	switch {
	case r.closing && r.queue.length == 0:
		r.callOff(ReasonClosed, "", now)
	case r.queue.length == 0 || r.starting() > 0:
	case r.closing:
		r.refuseStranded(errPoolClosed)
	case r.restarts.spent:
		r.refuseStranded(r.restarts.refusal())
	}
}

// assign gives those who wait to the workers that are free, and finds out how
// many more workers are needed.
func (r *roster) assign(now time.Time) {
	if r.queue.length == 0 {
		return
	}
	free := r.lookAround()
	room := 0 // how many more could be served if the pool grew
	if !r.closing && (len(r.candidates) == 0 || r.restarts.may(now, 0)) {
		room = r.cfg.CallsPerWorker * max(0, r.cfg.Max-r.count((*seat).active)+r.starting())
	}
	needed := 0
	for t := range r.queue.all() {
		if free == 0 && needed >= room {
			break
		}
		switch choice := r.pick(t, room > 0); {
		case choice >= 0 && choice < len(r.candidates) && r.candidates[choice].Free:
			r.queue.remove(t)
			r.give(t, r.serving[choice], now)
			if r.refresh(choice); !r.candidates[choice].Free {
				free--
			}
		case choice == PickNone:
			needed++
		}
	}
	r.grow(needed)
}

func (r *roster) pick(t *ticket, canGrow bool) int {
	if len(r.candidates) == 0 {
		return PickNone
	}
	return r.cfg.Strategy.Pick(t.key, r.candidates, canGrow)
}

// lookAround fills in the candidates and returns how many of them are free.
func (r *roster) lookAround() (free int) {
	r.candidates, r.serving = r.candidates[:0], r.serving[:0]
	for _, s := range r.seats {
		if !s.takes() {
			continue
		}
		r.candidates = append(r.candidates, Candidate{})
		r.serving = append(r.serving, s)
		if r.refresh(len(r.serving) - 1); r.candidates[len(r.serving)-1].Free {
			free++
		}
	}
	return free
}

func (r *roster) refresh(i int) {
	s := r.serving[i]
	r.candidates[i] = Candidate{
		Slot: s.slot, Places: s.places, Calls: s.calls, Free: s.free(r.cfg.CallsPerWorker), Outdated: s.due != "",
	}
}

// give settles a ticket with a place at a worker.
func (r *roster) give(t *ticket, s *seat, now time.Time) {
	r.stats.Wait.add(now.Sub(t.queued))
	t.seat = s
	r.hold(t)
	s.calls++
	if s.softCalls > 0 && s.calls >= s.softCalls {
		s.setDue(ReasonCalls)
	}
	if r.cfg.MaxCalls > 0 && s.calls >= r.cfg.MaxCalls {
		r.leave(s, ReasonCalls, fmt.Sprintf("after %d calls", s.calls), time.Time{}, now)
	}
	t.settle(s, nil)
}

// grow raises the target so that n who wait get a worker, those included that
// start already.
func (r *roster) grow(n int) {
	n -= r.starting() * r.cfg.CallsPerWorker
	if n <= 0 || r.closing {
		return
	}
	more := (n + r.cfg.CallsPerWorker - 1) / r.cfg.CallsPerWorker
	r.target = max(r.target, min(r.cfg.Max, r.count((*seat).active)+more))
}

// hold takes a place at a ticket's worker.
func (r *roster) hold(t *ticket) {
	*r.running(t)++
	s := t.seat
	s.places++
	s.idleSince = time.Time{}
	if r.cfg.MaxRSS > 0 && s.measure.IsZero() {
		s.measure = s.measured.Add(measureEvery)
	}
}

// release frees the place of a ticket.
func (r *roster) release(t *ticket, now time.Time) {
	*r.running(t)--
	s := t.seat
	s.places--
	if s.places > 0 || s.state != seatServing {
		return
	}
	s.idleSince = now
	s.measure = time.Time{}
	if r.cfg.MaxIdleRSS > 0 || r.cfg.MaxRSS > 0 {
		s.measure = s.measured.Add(measureEvery)
	}
}

// running is the counter that a ticket with a place belongs to.
func (r *roster) running(t *ticket) *int {
	if t.lease {
		return &r.stats.Leases
	}
	return &r.stats.Running
}

// drained reports whether there is nothing left to do.
func (r *roster) drained() bool {
	return r.queue.length == 0 && r.count(func(s *seat) bool { return s.places > 0 }) == 0
}

// close takes nothing new from now on, and starts nothing.
func (r *roster) close(now time.Time) {
	if !r.closing {
		r.closing = true
		r.note(nil, PoolEvent{Kind: PoolClosing, Time: now})
	}
}

// dismiss ends all workers. Those that have something to do are killed, and with
// all set the others too.
func (r *roster) dismiss(all bool, now time.Time) {
	r.refuseAll(errPoolClosed)
	for _, s := range r.seats {
		if s.places > 0 || all {
			r.condemn(s, ReasonClosed, "the pool was closed, and the time to finish was up", now)
		} else {
			r.leave(s, ReasonClosed, "", time.Time{}, now)
		}
	}
}

// wake returns when something becomes due, zero if nothing will.
func (r *roster) wake(now time.Time) time.Time {
	next := r.queue.nextExpiry()
	shrinks := r.cfg.ShrinkAfter > 0 && r.target > r.cfg.Min && !r.closing
	for _, s := range r.seats {
		switch {
		case s.state == seatLeaving:
			next = earliest(next, earliest(s.leaveBy, s.measure))
		case s.takes():
			next = earliest(next, s.measure)
			if s.due == "" {
				next = earliest(next, s.maxAge)
			}
			if shrinks && s.places == 0 {
				next = earliest(next, s.idleSince.Add(r.cfg.ShrinkAfter))
			}
		}
	}
	if r.restarts.next.After(now) && !r.restarts.spent && !r.closing {
		next = earliest(next, r.restarts.next)
	}
	if shrinks && r.target > r.count((*seat).active) {
		next = earliest(next, r.lastCall.Add(r.cfg.ShrinkAfter))
	}
	return next
}

func (r *roster) count(f func(*seat) bool) (n int) {
	for _, s := range r.seats {
		if f(s) {
			n++
		}
	}
	return n
}

func (r *roster) starting() int {
	return r.count(func(s *seat) bool { return s.state == seatStarting })
}

// note keeps an event, of a worker if s is not nil.
func (r *roster) note(s *seat, e PoolEvent) {
	e.Slot = -1
	if s != nil {
		e.Slot = s.slot
		if s.worker != nil {
			e.Pid = s.worker.Pid()
		}
	}
	r.journal.note(e)
	r.changes++
}

// earliest returns the earlier of two times; zero stands for never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
