package transport

import (
	"context"
	"sync"
	"time"
)

// callContext is a handler's context. Most handlers answer without a look at
// it, so what a context needs to end by itself is made when somebody looks.
type callContext struct {
	parent   context.Context // the connection's, which the call can't outlive
	deadline time.Time       // of the call; zero means none
	call     *Call

	mu     sync.Mutex              // protects what follows
	made   context.Context         // the context proper; nil until somebody looks
	cancel context.CancelCauseFunc // of made
	ended  bool                    // end was called
	cause  error                   // that end was called with
}

type callKey struct{}

// CallOf returns the call that ctx, a handler's context or one made from it,
// belongs to, or nil.
func CallOf(ctx context.Context) *Call {
	if ctx == nil {
		return nil
	}
	call, _ := ctx.Value(callKey{}).(*Call)
	return call
}

// look returns the context proper.
func (c *callContext) look() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.made != nil {
		return c.made
	}
	ctx, cancel := context.WithCancelCause(c.parent)
	c.made, c.cancel = ctx, cancel
	if !c.deadline.IsZero() {
		timed, stop := context.WithDeadline(ctx, c.deadline)
		c.made, c.cancel = timed, func(cause error) { cancel(cause); stop() }
	}
	if c.ended {
		c.cancel(c.cause)
	}
	return c.made
}

// end ends the context with a cause, nil meaning [context.Canceled]. The first
// end counts.
func (c *callContext) end(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return
	}
	c.ended, c.cause = true, cause
	if c.made != nil {
		c.cancel(cause)
	}
}

func (c *callContext) Deadline() (time.Time, bool) {
	deadline, ok := c.parent.Deadline()
	if c.deadline.IsZero() || ok && deadline.Before(c.deadline) {
		return deadline, ok
	}
	return c.deadline, true
}

func (c *callContext) Done() <-chan struct{} { return c.look().Done() }
func (c *callContext) Err() error            { return c.look().Err() }

func (c *callContext) Value(key any) any {
	if key == (callKey{}) {
		return c.call
	}
	return c.look().Value(key)
}
