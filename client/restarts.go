package client

import (
	"errors"
	"fmt"
	"time"
)

// ErrRestartLimit reports a pool whose workers have failed to start, or died
// without answering anything, too many times in a row. Errors that wrap it also
// wrap the last failure. See [Pool.Revive].
var ErrRestartLimit = errors.New("the pool's workers fail again and again")

// restarts decides when a worker may be started after others have failed.
//
// A failure is a start that failed or a worker that died unasked. It counts only
// if that worker was started after the last failure that counted: however many
// die at once, it is one failure, and the number is that of failures in a row.
// Any answer to a call ends the row.
type restarts struct {
	minDelay, maxDelay time.Duration
	limit              int           // failures in a row, negative means any number
	window             time.Duration // within which they count

	row   int       // failures in a row
	last  time.Time // when the last one was
	next  time.Time // no start before
	err   error     // of the last failure, whether it counted or not
	spent bool      // the limit is reached
}

// failed notes a failure. startFailed tells whether it was a start, after which
// the next one always has to wait, or a worker that has run.
func (r *restarts) failed(now, began time.Time, err error, startFailed bool, random float64) {
	r.err = err
	if r.row > 0 && now.Sub(r.last) > r.window {
		r.row = 0
	}
	if r.row > 0 && began.Before(r.last) {
		return
	}
	r.row++
	r.last = now
	n := r.row
	if !startFailed {
		n-- // the first worker that dies is replaced at once
	}
	if n > 0 {
		r.next = now.Add(r.delay(n, random))
	}
	r.spent = r.limit >= 0 && r.row >= r.limit
}

// delay returns how long to wait after failure n, with up to half as much again,
// so that programs which failed together do not try again together.
func (r *restarts) delay(n int, random float64) time.Duration {
	d := r.maxDelay
	if n <= 30 && r.minDelay<<(n-1) < r.maxDelay {
		d = r.minDelay << (n - 1)
	}
	return d + time.Duration(random*float64(d)/2)
}

// started notes a start that succeeded: others need not wait any more.
func (r *restarts) started() { r.next = time.Time{} }

// answered notes an answer to a call, after which nothing is left of a row.
func (r *restarts) answered() {
	r.row = 0
	r.next = time.Time{}
}

// revive forgets all failures.
func (r *restarts) revive() {
	*r = restarts{minDelay: r.minDelay, maxDelay: r.maxDelay, limit: r.limit, window: r.window}
}

// may reports whether another worker may be started, besides those that start. In
// a row of failures it is one at a time, which the others wait for.
func (r *restarts) may(now time.Time, starting int) bool {
	return !r.spent && !now.Before(r.next) && (r.row < 2 || starting == 0)
}

// refusal returns the error for those who wait for a worker in vain.
func (r *restarts) refusal() error {
	return fmt.Errorf("%w, %d times in a row, the last time so: %w", ErrRestartLimit, r.row, r.err)
}
