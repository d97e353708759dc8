package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/detached-workers/unref/lifecycle"
	"github.com/detached-workers/unref/transport"
)

// ErrBystander reports that a worker was killed because of another call, which it
// did not end when that was given up. Errors that wrap it also wrap
// [ErrWorkerExited].
var ErrBystander = errors.New("the worker was killed because of another call")

// RetryError reports a call that was lost with its worker and given to another
// one, see [Idempotent], and has failed in the end.
type RetryError struct {
	Tries int   // how often it was run, or may have been
	Err   error // of the last try
}

// Error returns Err's text and the number of tries.
func (e *RetryError) Error() string {
	if e.Tries == 1 {
		return fmt.Sprintf("%v (after 1 try)", e.Err)
	}
	return fmt.Sprintf("%v (after %d tries)", e.Err, e.Tries)
}

// Unwrap returns Err.
func (e *RetryError) Unwrap() error { return e.Err }

// poolCall is a call on a pool.
type poolCall struct {
	pool    *Pool
	req     Request // with the pool's hooks
	ticket  ticket
	lease   *Lease // that it is made on; nil if none
	held    bool   // it has a worker from the start, and gets no other
	runs    int    // how often a handler may have seen it
	reruns  int    // how often it was to be run again though a handler may have seen it
	counted int    // of these, those that were
	last    error  // of the last run
	began   time.Time

	progress bool // the worker has sent a message

	abandoned <-chan struct{} // closed when the worker has ended a call that was given up; nil if it was not
}

func (p *Pool) newCall(req *Request) *poolCall {
	c := &poolCall{pool: p, req: *req, ticket: ticket{key: req.Key, priority: req.Priority}}
	c.req.abandoned = c.abandon
	return c
}

// Invoke makes a unary call on one of the workers; [Call] is its typed form. Its
// errors are those of [Worker.Invoke] and, wrapped so that [SafeToRetry] is true,
// [ErrQueueFull], [ErrQueueTimeout], [ErrRestartLimit], [ErrClosed], and the error
// of a start if no worker can be started.
func (p *Pool) Invoke(ctx context.Context, req *Request, reply any) error {
	return p.newCall(req).invoke(ctx, reply)
}

func (c *poolCall) invoke(ctx context.Context, reply any) error {
	err := c.run(ctx, func(w poolWorker) error { return w.Invoke(ctx, &c.req, reply) })
	return c.end(ctx, err)
}

// Open starts a call with messages on one of the workers; [Stream] and the
// function [Open] are its typed forms. The call has its place in the worker until
// it ends. It is made again only if no handler has seen it.
func (p *Pool) Open(ctx context.Context, req *Request) (*Messages, error) {
	return p.newCall(req).open(ctx)
}

func (c *poolCall) open(ctx context.Context) (m *Messages, err error) {
	c.req.Idempotent = false // its messages can't be taken back
	c.req.finished = func(err error, progress bool) error {
		c.progress = progress
		return c.finished(ctx, err)
	}
	err = c.run(ctx, func(w poolWorker) (err error) {
		m, err = w.Open(ctx, &c.req)
		return err
	})
	if err != nil {
		return nil, c.end(ctx, err)
	}
	return m, nil
}

// finished takes the outcome of a call with messages.
func (c *poolCall) finished(ctx context.Context, err error) error {
	outcome := err
	if err == io.EOF {
		outcome = nil
	}
	outcome = c.end(ctx, c.leave(ctx, outcome))
	if outcome == nil {
		return err
	}
	return outcome
}

// run has a worker run the call, and others after it as often as that is right.
// A call with messages that has begun has its place still.
func (c *poolCall) run(ctx context.Context, f func(poolWorker) error) error {
	for {
		if err := c.enter(ctx); err != nil {
			return c.refused(ctx, err)
		}
		c.runs++
		if c.reruns > c.counted {
			c.counted = c.reruns
			c.pool.mu.Lock()
			c.pool.roster.stats.Retries++
			c.pool.mu.Unlock()
		}
		err := c.explain(f(c.ticket.seat.worker))
		if err == nil && c.req.finished != nil {
			return nil
		}
		c.last = c.leave(ctx, err)
		if !c.again(ctx) {
			return c.last
		}
	}
}

// explain says why the call's worker has ended if the call came after that, when
// the pool had closed it. Its caller has closed nothing.
func (c *poolCall) explain(err error) error {
	if !errors.Is(err, ErrClosed) || !SafeToRetry(err) {
		return err
	}
	if why := c.ticket.seat.worker.Err(); why != nil {
		return fmt.Errorf("call %s: %w", c.req.Method, notSent(why))
	}
	return err
}

// enter waits for a place at a worker.
func (c *poolCall) enter(ctx context.Context) error {
	var err error
	switch {
	case c.lease != nil:
		err = c.lease.enter(ctx, c)
	case c.held:
		err = c.pool.awaitSound(ctx, c.ticket.seat)
		if err != nil {
			c.pool.update(func(r *roster, now time.Time) { r.release(&c.ticket, now) })
		}
	default:
		err = c.pool.take(ctx, &c.ticket)
	}
	c.began = time.Now()
	return err
}

// awaitSound waits until a worker has ended the calls that were given up. It is
// an error if it is killed because it does not.
func (p *Pool) awaitSound(ctx context.Context, s *seat) error {
	killed := false
	err := p.await(ctx, func() bool {
		killed = s.hung
		return s.suspects == 0 || killed || s.state == seatEnding
	})
	if err == nil && killed {
		err = fmt.Errorf("%w: %w", ErrBystander, ErrWorkerExited)
	}
	return err
}

// take waits until a ticket is settled.
func (p *Pool) take(ctx context.Context, t *ticket) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	asked := false
	defer func() {
		if !asked { // the strategy has panicked
			p.mu.Lock()
			defer p.mu.Unlock()
			p.roster.giveUp(t, time.Now())
		}
	}()
	p.update(func(r *roster, now time.Time) { r.enqueue(t, now) })
	asked = true
	p.mu.Lock()
	if !t.settled() {
		p.roster.refuseIfFull(t)
	}
	if !t.settled() {
		t.ready = make(chan struct{})
	}
	p.mu.Unlock()
	if t.ready == nil {
		return t.err
	}
	select {
	case <-t.ready:
		return t.err
	case <-ctx.Done():
		p.update(func(r *roster, now time.Time) { r.giveUp(t, now) })
		return ctx.Err()
	}
}

// refused says why a call got no worker.
func (c *poolCall) refused(ctx context.Context, err error) error {
	if c.last != nil {
		return fmt.Errorf("%w; no other worker took it: %w", c.last, err)
	}
	e := &transport.Error{Method: c.req.Method, NotRun: true}
	switch {
	case ctx.Err() == nil || !errors.Is(err, ctx.Err()):
		return fmt.Errorf("call %s: %w", c.req.Method, notSent(err))
	case errors.Is(err, context.DeadlineExceeded):
		e.Code = transport.CodeDeadline
		e.Message = "the caller's time was over before there was a worker for the call"
	default:
		e.Code = transport.CodeCanceled
		e.Message = "given up by the caller before there was a worker for the call"
	}
	return e
}

// abandon notes that the call was given up while a worker has it, which gets no
// other calls until it has ended this one.
func (c *poolCall) abandon(ended <-chan struct{}) {
	c.abandoned = ended
	if c.pool.cfg.CancelGrace < 0 {
		return
	}
	c.pool.update(func(*roster, time.Time) { c.ticket.seat.suspects++ })
}

// leave gives up the call's place and returns what has become of the call: err,
// with what is known of it besides. If the call was given up that takes until the
// worker has ended it; the caller waits for that if it was a time limit that the
// worker should have kept, and not if it has no time itself.
func (c *poolCall) leave(ctx context.Context, err error) error {
	switch {
	case c.abandoned == nil:
		c.pool.update(func(r *roster, now time.Time) { c.vacate(r, err, now) })
		return c.blame(err)
	case c.pool.cfg.CancelGrace < 0:
		c.pool.update(func(r *roster, now time.Time) { c.vacate(r, err, now) })
		return err
	case ctx.Err() == nil && err != nil:
		return c.settle(err)
	case !c.pool.background(func() { _ = c.settle(err) }): // nobody waits for what it says
		c.pool.update(func(r *roster, now time.Time) { c.cleared(r, err, now) })
	}
	return err
}

// vacate frees the call's place, and draws the conclusions from its error.
func (c *poolCall) vacate(r *roster, err error, now time.Time) {
	r.stats.Run.add(now.Sub(c.began))
	if c.req.Notify {
		c.ticket.seat.notified = true
	}
	if answered(err) || c.progress {
		r.restarts.answered(c.ticket.seat.began)
	}
	if ofNoUse(err) {
		r.lost(c.ticket.seat, err, now)
	}
	if c.lease != nil {
		c.lease.vacate(r, now)
		return
	}
	r.release(&c.ticket, now)
}

// answered reports whether err, of a call, is what the worker has answered.
func answered(err error) bool {
	e, ok := errors.AsType[*transport.Error](err)
	return err == nil || ok && !e.NotRun && e.Code != transport.CodeDeadline && e.Code != transport.CodeCanceled
}

// ofNoUse reports whether err, of a call, says that the worker takes no more.
func ofNoUse(err error) bool {
	return errors.Is(err, ErrWorkerExited) || errors.Is(err, ErrClosed) || errors.Is(err, ErrNotListening) ||
		errors.Is(err, transport.CodeUnavailable) && SafeToRetry(err)
}

// blame tells a call whose worker was killed because of another one.
func (c *poolCall) blame(err error) error {
	if !errors.Is(err, ErrWorkerExited) {
		return err
	}
	c.pool.mu.Lock()
	defer c.pool.mu.Unlock()
	if c.ticket.seat.hung && c.abandoned == nil {
		return fmt.Errorf("%w: %w", ErrBystander, err)
	}
	return err
}

// How long a worker has to say what its goroutines do, and to die, for the sake
// of the error.
const (
	stacksTimeout = time.Second
	deathTimeout  = 3 * time.Second
)

// settle waits until the worker has ended the call, which was given up with err.
// If that takes longer than the grace the worker is killed, and the error that is
// returned says where it was stuck.
func (c *poolCall) settle(err error) error {
	s := c.ticket.seat
	timer := time.NewTimer(c.pool.cfg.CancelGrace)
	defer timer.Stop()
	hung := false
	select {
	case <-c.abandoned:
	case <-s.worker.Done():
	case <-timer.C:
		hung = true
	}
	if hung {
		err = c.kill(err)
	}
	c.pool.update(func(r *roster, now time.Time) { c.cleared(r, err, now) })
	return err
}

// cleared ends what abandon has begun.
func (c *poolCall) cleared(r *roster, err error, now time.Time) {
	c.ticket.seat.suspects--
	r.changes++
	c.vacate(r, err, now)
}

// kill has the call's worker killed.
func (c *poolCall) kill(err error) error {
	s := c.ticket.seat
	ctx, cancel := context.WithTimeout(context.Background(), stacksTimeout)
	defer cancel()
	stacks, mute := s.worker.Stacks(ctx)
	detail := fmt.Sprintf("killed because a call of %s did not end within %v of being given up", c.req.Method, c.pool.cfg.CancelGrace)
	c.pool.update(func(r *roster, now time.Time) {
		s.mute = mute != nil
		s.hung = true
		r.condemn(s, ReasonHung, detail, now)
	})
	if mute != nil {
		stacks = lastWords(s.worker)
	}
	e, ok := errors.AsType[*transport.Error](err)
	if !ok {
		return err
	}
	explained := *e
	explained.Message += fmt.Sprintf("; it did not end within %v of that, and worker %s (pid %d) was killed",
		c.pool.cfg.CancelGrace, s.worker.Name(), s.worker.Pid())
	explained.Stack = stacks
	return &explained
}

// lastWords returns what a worker that is being killed has printed at last.
func lastWords(w poolWorker) string {
	select {
	case <-w.Done():
	case <-time.After(deathTimeout):
		return ""
	}
	if exit, ok := errors.AsType[*lifecycle.ExitError](w.Err()); ok {
		return string(exit.Output)
	}
	return ""
}

// again reports whether the call should be given to another worker, and makes it
// ready for that.
func (c *poolCall) again(ctx context.Context) bool {
	lost := ofNoUse(c.last) || errors.Is(c.last, ErrConnectionLost)
	switch {
	case !lost || ctx.Err() != nil || c.held || c.lease != nil:
		return false
	case SafeToRetry(c.last):
		c.runs--
	case c.req.Idempotent && c.runs < c.pool.cfg.MaxTries:
		c.reruns++
	default:
		return false
	}
	c.ticket = c.ticket.renewed()
	return true
}

// end counts the call and returns the error that its caller gets.
func (c *poolCall) end(ctx context.Context, err error) error {
	c.pool.mu.Lock()
	stats := &c.pool.roster.stats
	stats.Calls++
	if err != nil {
		stats.Failed++
	}
	switch {
	case errors.Is(err, transport.CodeDeadline) && c.runs > 0:
		stats.Timeouts++
	case err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()):
		stats.Canceled++
	}
	c.pool.mu.Unlock()
	if err != nil && c.reruns > 0 {
		return &RetryError{Tries: c.runs, Err: err}
	}
	return err
}

// background runs f in a goroutine that closing the pool waits for, if it does not
// wait yet, and reports whether it does.
func (p *Pool) background(f func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.final {
		p.tasks.Go(f)
	}
	return !p.final
}
