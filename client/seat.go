package client

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/detached-workers/unref/lifecycle"
)

// seatState is where a worker of a pool stands in its life.
type seatState int

const (
	seatStarting seatState = iota
	seatServing            // takes calls
	seatLeaving            // takes no more, and has some to finish
	seatEnding             // is being ended, or is known to have ended
)

// seat is the place of one worker in a pool, from the decision to start it until
// its process is gone. The roster owns all fields but the last two, which are
// the pool's.
type seat struct {
	slot       int // the lowest number that was free
	state      seatState
	generation int       // of the command that it is started with
	began      time.Time // when the start was decided
	ready      time.Time // zero until it is

	places    int       // taken by calls and leases
	calls     int       // that it has been given
	suspects  int       // calls that were given up and that it has not ended yet
	idleSince time.Time // since then no place is taken, if none is

	softCalls int       // after so many calls it should be replaced; 0 means never
	maxAge    time.Time // from then on it should be replaced; zero means never
	due       Reason    // why it should be replaced; empty if it should not
	why       Reason    // why it leaves or is ended; empty if that is not our doing
	detail    string    // of why, for people
	leaveBy   time.Time // when what it has left to do is cut off; zero means never
	kill      bool      // it is to be killed, not asked to leave
	hung      bool      // it is killed because of a call that it did not end
	failed    bool      // its death has been counted
	mute      bool      // it did not say what its goroutines do when asked

	measured time.Time // when its memory was looked at last
	measure  time.Time // when that is next due; zero means not at all

	notified bool // it has been sent notifications, which may still run

	worker poolWorker // nil until it has started
	end    func()     // ends the start, or the worker
}

// takes reports whether the worker may be given calls at all.
func (s *seat) takes() bool { return s.state == seatServing }

// active reports whether the worker counts among those that there should be.
func (s *seat) active() bool { return s.state == seatStarting || s.state == seatServing }

// lost reports whether the worker is of no use any more and there should be
// another one, but its process is not known to be gone.
func (s *seat) lost() bool { return s.state == seatEnding && s.why == "" }

// isDue reports whether the worker serves and should be replaced.
func (s *seat) isDue() bool { return s.takes() && s.due != "" }

// idle reports whether the worker has nothing to do.
func (s *seat) idle() bool { return s.takes() && s.places == 0 }

// free reports whether the worker can be given a call now.
func (s *seat) free(places int) bool { return s.takes() && s.suspects == 0 && s.places < places }

// setDue marks a worker that should be replaced. The first reason counts.
func (s *seat) setDue(reason Reason) {
	if s.due == "" {
		s.due = reason
	}
}

// planned reports whether a worker leaves or ends because it is replaced.
func (s *seat) planned() bool {
	return !s.active() && !s.kill && s.why != "" && s.why != ReasonIdle && s.why != ReasonClosed
}

// capacity returns how many workers there may be now.
func (r *roster) capacity() int {
	for _, s := range r.seats {
		if s.isDue() || s.planned() {
			return r.cfg.Max + r.cfg.Surge
		}
	}
	return r.cfg.Max
}

// startMissing adds seats for the workers that are missing. For each one that is
// due there should be another one, if there may be more than Max. The successor of
// one that was lost takes its slot, and waits until that is free.
func (r *roster) startMissing(now time.Time, actions []action) []action {
	if r.closing {
		return actions
	}
	wanted := r.target
	if r.cfg.Surge > 0 {
		wanted += r.count((*seat).isDue)
	}
	for r.count((*seat).active)+r.count((*seat).lost) < wanted && len(r.seats) < r.capacity() && r.restarts.may(now, r.starting()) {
		actions = append(actions, action{actStart, r.sit(now)})
	}
	return actions
}

// sit adds a seat for a worker that is to be started.
func (r *roster) sit(now time.Time) *seat {
	slot := 0
	for slot < len(r.seats) && r.seats[slot].slot == slot {
		slot++
	}
	s := &seat{slot: slot, generation: r.generation, began: now}
	r.seats = slices.Insert(r.seats, slot, s)
	r.note(s, PoolEvent{Kind: WorkerStarting, Time: now})
	return s
}

// started notes that a worker is ready.
func (r *roster) started(s *seat, now time.Time) {
	s.ready, s.idleSince, s.measured = now, now, now
	r.stats.Starts++
	r.restarts.started()
	r.note(s, PoolEvent{Kind: WorkerReady, Time: now, Decision: s.worker.Decision()})
	if s.state != seatStarting { // it is not wanted any more
		return
	}
	s.state = seatServing
	s.softCalls = r.softCalls()
	if r.cfg.MaxAge > 0 {
		s.maxAge = now.Add(r.cfg.MaxAge - time.Duration(float64(r.cfg.MaxAge)*r.cfg.Jitter*r.random()))
	}
}

// softCalls returns after how many calls a worker should be replaced: so much
// before MaxCalls that another one can start meanwhile, and not after the same
// number for all.
func (r *roster) softCalls() int {
	n := r.cfg.MaxCalls
	early := int(float64(n) * r.cfg.Jitter * (1 + r.random()) / 2)
	return max(n-max(early, 1), min(n, 1))
}

// startFailed notes that a start has come to nothing. Those who wait are told, if
// there is nobody else for them.
func (r *roster) startFailed(s *seat, err error, now time.Time) {
	r.remove(s)
	if s.state != seatStarting { // it was we who ended it
		r.note(s, PoolEvent{Kind: WorkerEnded, Time: now, Reason: s.why, Detail: s.detail})
		return
	}
	r.stats.StartFailures++
	r.note(s, PoolEvent{Kind: WorkerStartFailed, Time: now, Err: err})
	r.restarts.startFailed(now, s.began, err, r.random())
	r.noteIfBroken(now)
	if r.starting() == 0 && !r.restarts.spent {
		r.refuseStranded(err)
	}
}

// gone notes that a worker's process has ended. reason and err are those of an
// end that was not our doing.
func (r *roster) gone(s *seat, reason Reason, err error, now time.Time) {
	r.remove(s)
	ours := s.state == seatEnding && s.why != ""
	if ours {
		reason = s.why
	}
	r.stats.Ends[reason]++
	r.note(s, PoolEvent{Kind: WorkerEnded, Time: now, Reason: reason, Detail: s.detail, Err: err})
	if ours {
		return
	}
	if !s.failed {
		r.died(s, err, now)
	}
	if r.cfg.Name != "" { // who shares it may have stopped it; another one is started when there is something to do
		r.target = max(r.cfg.Min, min(r.target, r.count((*seat).active)))
	}
}

// died notes that a worker has died unasked. One that has left in good order is no
// failure, unless it does so again and again.
func (r *roster) died(s *seat, err error, now time.Time) {
	if orderly(err) && now.Sub(s.ready) >= r.cfg.MinBackoff {
		return
	}
	r.restarts.died(now, s.began, err, r.random())
	r.noteIfBroken(now)
}

func orderly(err error) bool {
	exit, ok := errors.AsType[*lifecycle.ExitError](err)
	return ok && exit.Orderly() || errors.Is(err, ErrNotListening)
}

// noteIfBroken notes that failures were too many in a row, the first time.
func (r *roster) noteIfBroken(now time.Time) {
	if r.restarts.spent && !r.broken {
		r.note(nil, PoolEvent{Kind: PoolBroken, Time: now, Err: r.restarts.refusal()})
	}
	r.broken = r.restarts.spent
}

func (r *roster) remove(s *seat) {
	r.seats = slices.DeleteFunc(r.seats, func(other *seat) bool { return other == s })
}

// lost notes that a worker has died, before its process is known to be gone.
func (r *roster) lost(s *seat, err error, now time.Time) {
	if s.state == seatServing || s.state == seatLeaving && !s.kill {
		s.state, s.why, s.failed = seatEnding, "", true
		r.died(s, err, now)
	}
}

// condemn has a worker killed, and gives it no more calls. The first reason
// counts.
func (r *roster) condemn(s *seat, reason Reason, detail string, now time.Time) {
	if s.kill || s.state == seatEnding {
		return
	}
	s.state, s.why, s.detail, s.kill = seatLeaving, reason, detail, true
	r.note(s, PoolEvent{Kind: WorkerLeaving, Time: now, Reason: reason, Detail: detail})
}

// leave gives a worker no more calls, and ends it when it has finished those it
// has, at the latest by limit if that is not zero. The first reason counts.
func (r *roster) leave(s *seat, reason Reason, detail string, limit, now time.Time) {
	if !s.active() {
		return
	}
	s.state, s.why, s.detail, s.leaveBy = seatLeaving, reason, detail, limit
	r.note(s, PoolEvent{Kind: WorkerLeaving, Time: now, Reason: reason, Detail: detail})
}

// endLeaving returns the workers that are to end now.
func (r *roster) endLeaving(now time.Time, actions []action) []action {
	for _, s := range r.seats {
		if s.state != seatLeaving {
			continue
		}
		if s.places == 0 || s.kill || !s.leaveBy.IsZero() && !now.Before(s.leaveBy) {
			s.state = seatEnding
			actions = append(actions, action{actEnd, s})
		}
	}
	return actions
}

// discard lets a worker leave that is not to be used any more.
func (r *roster) discard(s *seat, now time.Time) {
	r.leave(s, ReasonDiscard, "", r.drainLimit(now), now)
}

// drainLimit returns until when a worker that leaves now may finish what it has,
// zero if for ever.
func (r *roster) drainLimit(now time.Time) time.Time {
	if r.cfg.DrainTimeout == 0 {
		return time.Time{}
	}
	return now.Add(r.cfg.DrainTimeout)
}

// callOff ends all starts.
func (r *roster) callOff(reason Reason, detail string, now time.Time) {
	for _, s := range r.seats {
		if s.state == seatStarting {
			r.leave(s, reason, detail, now, now)
		}
	}
}

// reload marks all workers as those of an older command. Those that start are
// not wanted any more.
func (r *roster) reload(now time.Time) {
	r.generation++
	r.restarts.revive()
	r.broken = false
	r.note(nil, PoolEvent{Kind: PoolReloaded, Time: now})
	r.callOff(ReasonReload, "superseded before it was ready", now)
	for _, s := range r.seats {
		if s.takes() {
			s.due = ReasonReload
		}
	}
}

// noteAges marks the workers that are too old.
func (r *roster) noteAges(now time.Time) {
	for _, s := range r.seats {
		if !s.maxAge.IsZero() && !now.Before(s.maxAge) {
			s.setDue(ReasonAge)
		}
	}
}

// retireDue lets workers that are due leave, as far as others have taken their
// places. Where none can be started beside them they leave first, one at a time.
func (r *roster) retireDue(now time.Time) {
	for s := r.mostDue(); s != nil; s = r.mostDue() {
		serving := r.count((*seat).takes)
		inTurn := r.cfg.Surge == 0 && serving == len(r.seats) && r.restarts.may(now, 0)
		if r.closing || serving <= r.target && !inTurn {
			return
		}
		limit := r.drainLimit(now)
		if s.due == ReasonCalls { // its last calls have the time that any has
			limit = time.Time{}
		}
		r.leave(s, s.due, "", limit, now)
	}
}

// mostDue returns the worker that is due and has served longest, nil if none is.
func (r *roster) mostDue() (oldest *seat) {
	for _, s := range r.seats {
		if s.isDue() && (oldest == nil || s.ready.Before(oldest.ready)) {
			oldest = s
		}
	}
	return oldest
}

// shrink lets workers go that have had nothing to do for long, and forgets those
// that nobody has asked for as long.
func (r *roster) shrink(now time.Time) {
	if r.cfg.ShrinkAfter == 0 || r.closing {
		return
	}
	for r.target > r.cfg.Min {
		s := r.mostIdle(now)
		if s == nil {
			break
		}
		r.target--
		r.leave(s, ReasonIdle, fmt.Sprintf("nothing to do for %v", now.Sub(s.idleSince).Round(time.Millisecond)), now, now)
	}
	if active := r.count((*seat).active); r.target > active && !now.Before(r.lastCall.Add(r.cfg.ShrinkAfter)) {
		r.target = max(r.cfg.Min, active)
	}
}

// mostIdle returns the worker that should leave first of those that have been
// idle for too long, nil if none has: one that is due anyway, or the one that was
// idle longest.
func (r *roster) mostIdle(now time.Time) (found *seat) {
	for _, s := range r.seats {
		if s.idle() && !now.Before(s.idleSince.Add(r.cfg.ShrinkAfter)) && (found == nil || s.moreIdle(found)) {
			found = s
		}
	}
	return found
}

func (s *seat) moreIdle(than *seat) bool {
	if (s.due != "") != (than.due != "") {
		return s.due != ""
	}
	return s.idleSince.Before(than.idleSince)
}

// measureEvery is how often the memory of a busy worker is looked at.
const measureEvery = 500 * time.Millisecond

// measureDue returns the workers whose memory is to be looked at.
func (r *roster) measureDue(now time.Time, actions []action) []action {
	for _, s := range r.seats {
		if s.measure.IsZero() || now.Before(s.measure) || s.state != seatServing && s.state != seatLeaving {
			continue
		}
		s.measured = now
		s.measure = time.Time{}
		if s.places > 0 && r.cfg.MaxRSS > 0 {
			s.measure = now.Add(measureEvery)
		}
		actions = append(actions, action{actMeasure, s})
	}
	return actions
}

// weighed takes a worker's resident memory, in bytes.
func (r *roster) weighed(s *seat, rss int64, now time.Time) {
	switch {
	case r.cfg.MaxRSS > 0 && rss > r.cfg.MaxRSS:
		r.condemn(s, ReasonMemory, fmt.Sprintf("its resident memory of %d bytes is more than MaxRSS of %d", rss, r.cfg.MaxRSS), now)
	case s.idle() && r.cfg.MaxIdleRSS > 0 && rss > r.cfg.MaxIdleRSS:
		s.setDue(ReasonIdleRSS)
	}
}
