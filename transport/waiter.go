package transport

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// waiter is what a call on the lane waits with.
type waiter struct {
	reply    chan reply // has room for the one that comes
	deadline time.Time  // zero means none
	watched  bool       // the caller wants to know when the call ends that it gives up
}

// waiters holds those that are not in use: their channels are empty.
var waiters = sync.Pool{New: func() any { return &waiter{reply: make(chan reply, 1)} }}

func (c *Conn) callOnLane(ctx context.Context, req *Request, frame *buffer) (reply, error) {
	w := waiters.Get().(*waiter)
	began := time.Now()
	w.deadline, w.watched = time.Time{}, req.Abandoned != nil
	if req.Timeout > 0 {
		w.deadline = began.Add(req.Timeout)
	}
	id, crowded, err := c.register(req.Method, w)
	if err != nil {
		waiters.Put(w)
		return reply{}, err
	}
	frame.stamp(id)
	if err := c.lane.send(id, frame, crowded); err != nil {
		c.forget(id, w)
		c.neverSent(id)
		return reply{}, fmt.Errorf("%w: %w: %w", ErrNotSent, ErrConnectionLost, err)
	}
	r, err := c.await(ctx, req, id, w)
	if err == nil && r.typ == frameLarge {
		ctx, cancel := req.within(ctx, began)
		defer cancel()
		return c.fetch(ctx, id)
	}
	return r, err
}

// await waits for the frame of a call on the lane.
func (c *Conn) await(ctx context.Context, req *Request, id uint64, w *waiter) (reply, error) {
	if c.wire.baton.move(nobody, reader) {
		c.readFor(ctx, w)
	}
	select {
	case r := <-w.reply:
		waiters.Put(w)
		switch r.typ {
		case frameLost:
			return reply{}, c.giveUp(req, id, c.Err(), 0)
		case frameExpired:
			return reply{}, c.giveUp(req, id, context.DeadlineExceeded, cancelDeadline)
		}
		return r, nil
	case <-ctx.Done():
		c.forget(id, w)
		return reply{}, c.giveUp(req, id, ctx.Err(), reason(ctx))
	}
}

// giveUp returns why a call has ended without an answer, and says whether it
// can have run. why is the reason to cancel it, 0 if nobody is there to tell.
func (c *Conn) giveUp(req *Request, id uint64, err error, why byte) error {
	if c.lane.takeBack(id) {
		c.neverSent(id)
		return fmt.Errorf("%w: %w", ErrNotSent, err)
	}
	if why == 0 {
		return err
	}
	if ended := c.endOf(id); ended != nil {
		defer req.Abandoned(ended)
	}
	c.cancel(id, why)
	return err
}

// within returns ctx with what is left of the request's Timeout, which began to
// run some time ago.
func (r *Request) within(ctx context.Context, began time.Time) (context.Context, context.CancelFunc) {
	if r.Timeout <= 0 {
		return ctx, func() {}
	}
	return context.WithDeadline(ctx, began.Add(r.Timeout))
}

// alarm is one timer for the time limits of all calls on the lane. A timer for
// each would wake a thread for each, as often as no other timer is due before.
type alarm struct {
	timer *time.Timer
	due   time.Time // zero while the timer is not set
}

// alarmPause is the least time between two rings, which each look at all
// calls.
const alarmPause = time.Millisecond

// set makes sure that the timer rings at t or before.
func (a *alarm) set(t time.Time, ring func()) {
	if !a.due.IsZero() && !t.Before(a.due) {
		return
	}
	a.due = t
	a.timer = rearm(a.timer, time.Until(t), ring)
}

// ring ends the calls whose time is over, and sets the alarm for the others.
func (c *Conn) ring() {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	var next time.Time
	for id, w := range c.calls {
		switch {
		case w.deadline.IsZero():
		case !now.Before(w.deadline):
			c.abandon(id, w)
			defer c.wire.kick()                                 // it may be reading
			w.reply <- reply{header: header{typ: frameExpired}} // has room: each call gets one
		case next.IsZero() || w.deadline.Before(next):
			next = w.deadline
		}
	}
	c.alarm.due = time.Time{}
	if next.IsZero() {
		return
	}
	if soonest := now.Add(alarmPause); next.Before(soonest) {
		next = soonest
	}
	c.alarm.set(next, c.ring)
}
