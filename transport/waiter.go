package transport

import (
	"context"
	"sync"
	"time"
)

// waiter is what a call on the lane waits with.
type waiter struct {
	reply    chan reply // has room for the one that comes
	deadline time.Time  // zero means none
}

// waiters holds those that are not in use: their channels are empty.
var waiters = sync.Pool{New: func() any { return &waiter{reply: make(chan reply, 1)} }}

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
	if a.timer == nil {
		a.timer = time.AfterFunc(time.Until(t), ring)
	} else {
		a.timer.Reset(time.Until(t))
	}
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
			delete(c.calls, id)
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
