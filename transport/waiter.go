package transport

import (
	"context"
	"sync"
	"time"
)

// waiter is what a call on the lane waits with.
type waiter struct {
	reply chan reply // has room for the one that comes
	timer *time.Timer
	timed bool // timer runs
}

// waiters holds those that are not in use: their channels are empty, and their
// timers stand.
var waiters = sync.Pool{New: func() any { return &waiter{reply: make(chan reply, 1)} }}

// limit starts the call's time, zero and negative meaning no limit, and returns
// when that was.
func (w *waiter) limit(d time.Duration) time.Time {
	if d <= 0 {
		return time.Time{}
	}
	w.timed = true
	if w.timer == nil {
		w.timer = time.NewTimer(d)
	} else {
		w.timer.Reset(d)
	}
	return time.Now()
}

// expired returns a channel that tells the end of the time.
func (w *waiter) expired() <-chan time.Time {
	if !w.timed {
		return nil
	}
	return w.timer.C
}

// release gives the waiter back. No reply may be on its way to it.
func (w *waiter) release() {
	if w.timed {
		w.timer.Stop()
		w.timed = false
	}
	waiters.Put(w)
}

// within returns ctx with what is left of the request's Timeout, which began to
// run some time ago.
func (r *Request) within(ctx context.Context, began time.Time) (context.Context, context.CancelFunc) {
	if r.Timeout <= 0 {
		return ctx, func() {}
	}
	return context.WithDeadline(ctx, began.Add(r.Timeout))
}
