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
// A start that succeeds ends a row of starts that failed. A row of deaths ends when
// a worker that was started after the last one answers a call: that others do
// says nothing of those that die.
type restarts struct {
	minDelay, maxDelay time.Duration
	limit              int           // failures in a row, negative means any number
	window             time.Duration // within which they count

	starts row       // that failed
	deaths row       // of workers that had been ready
	next   time.Time // no start before
	err    error     // of the last failure, whether it counted or not
	spent  bool      // the limit is reached
}

// row is failures in a row.
type row struct {
	length int
	last   time.Time
}

// note takes the failure of a worker that was started at began, and reports
// whether it counts.
func (r *row) note(now, began time.Time, window time.Duration) bool {
	if now.Sub(r.last) > window {
		r.length = 0
	}
	if r.length > 0 && began.Before(r.last) {
		return false
	}
	r.length++
	r.last = now
	return true
}

// startFailed notes a start that failed. The next one has to wait.
func (r *restarts) startFailed(now, began time.Time, err error, random float64) {
	r.err = err
	if r.starts.note(now, began, r.window) {
		r.wait(now, r.starts.length, random)
	}
}

// died notes that a worker died. The first one is replaced at once.
func (r *restarts) died(now, began time.Time, err error, random float64) {
	r.err = err
	if r.deaths.note(now, began, r.window) {
		r.wait(now, r.deaths.length-1, random)
	}
}

// wait sets when the next start may be after n failures for which it has to wait.
func (r *restarts) wait(now time.Time, n int, random float64) {
	if n > 0 {
		r.next = now.Add(r.delay(n, random))
	}
	r.spent = r.spent || r.limit >= 0 && r.row() >= r.limit
}

// row returns how many failures there were in a row.
func (r *restarts) row() int { return max(r.starts.length, r.deaths.length) }

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
func (r *restarts) started() {
	r.starts = row{}
	r.next = time.Time{}
}

// answered notes an answer to a call of a worker that was started at began.
func (r *restarts) answered(began time.Time) {
	if r.deaths.length == 0 || began.Before(r.deaths.last) {
		return
	}
	r.deaths = row{}
	if r.starts.length == 0 {
		r.next = time.Time{}
	}
}

// revive forgets all failures.
func (r *restarts) revive() {
	*r = restarts{minDelay: r.minDelay, maxDelay: r.maxDelay, limit: r.limit, window: r.window}
}

// may reports whether another worker may be started, besides those that start. In
// a row of failures it is one at a time, which the others wait for.
func (r *restarts) may(now time.Time, starting int) bool {
	return !r.spent && !now.Before(r.next) && (r.row() < 2 || starting == 0)
}

// refusal returns the error for those who wait for a worker in vain.
func (r *restarts) refusal() error {
	return fmt.Errorf("%w, %d times in a row, the last time so: %w", ErrRestartLimit, r.row(), r.err)
}
