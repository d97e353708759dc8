package transport

import (
	"context"
	"slices"
)

// inflight is a call that the worker has not answered completely: its handler
// runs, or its result waits to be fetched, or is being sent on a stream.
type inflight struct {
	cancel context.CancelCauseFunc // ends the handler's context, or interrupts the sending; must not block
	result *reply                  // waits to be fetched
	gone   bool                    // the caller has given up
	raw    bool                    // a raw connection, for which nobody waits
}

// maxEarly bounds how many cancel frames that overtook their request, on
// another stream, are remembered.
const maxEarly = 256

// begin enters a call and returns the context that its handler gets, or why
// the call is refused.
func (c *ServerConn) begin(ctx context.Context, call *Call) (context.Context, *Error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.draining:
		return nil, notRun(CodeUnavailable, call.Method, "the worker is leaving")
	case c.maxCall >= 0 && len(c.calls) >= c.maxCall:
		return nil, notRun(CodeExhausted, call.Method, "%d calls in flight on this connection, which is its limit", c.maxCall)
	case c.calls[call.id] != nil:
		return nil, notRun(CodeInvalid, call.Method, "call id %d is in use", call.id)
	}
	callCtx, cancel := call.context(ctx)
	f := &inflight{cancel: cancel}
	c.calls[call.id] = f
	if i := slices.Index(c.early, call.id); i >= 0 {
		c.early = slices.Delete(c.early, i, i+1)
		f.gone = true
		cancel(context.Canceled)
	}
	return callCtx, nil
}

// end forgets a call; its context ends.
func (c *ServerConn) end(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.calls[id]; f != nil {
		f.cancel(nil)
		c.remove(id)
	}
}

// remove takes a call out of flight; mu is held.
func (c *ServerConn) remove(id uint64) {
	if c.calls[id].raw {
		c.raws--
	}
	delete(c.calls, id)
	c.checkDrained()
}

// checkDrained wakes Drain when nothing is left in flight; mu is held.
func (c *ServerConn) checkDrained() {
	if !c.draining || len(c.calls) > c.raws {
		return
	}
	select {
	case <-c.drained:
	default:
		close(c.drained)
	}
}

// hijacked takes a call out of those that Drain waits for: a raw connection
// has no end that the transport could know of.
func (c *ServerConn) hijacked(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.calls[id]; f != nil && !f.raw {
		f.raw = true
		c.raws++
		c.checkDrained()
	}
}

// cancel ends the context of a call, interrupts the sending of its result, or
// drops the result that it left.
func (c *ServerConn) cancel(id uint64, payload []byte) {
	cause := context.Canceled
	if len(payload) == 1 && payload[0] == cancelDeadline {
		cause = context.DeadlineExceeded
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch f := c.calls[id]; {
	case f == nil:
		if len(c.early) == maxEarly {
			c.early = slices.Delete(c.early, 0, 1)
		}
		c.early = append(c.early, id)
	case f.result != nil:
		c.remove(id)
	default:
		f.gone = true
		f.cancel(cause)
	}
}

// park ends a call but keeps its result until it is fetched, and reports
// whether anybody still wants it.
func (c *ServerConn) park(call *Call, r reply) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.calls[call.id]
	f.cancel(nil)
	if f.gone {
		c.remove(call.id)
		return false
	}
	f.result = &r
	return true
}

// unpark takes a parked result, to be sent. interrupt is called, and must not
// block, if the caller gives up meanwhile.
func (c *ServerConn) unpark(id uint64, interrupt func()) (r reply, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.calls[id]
	if f == nil || f.result == nil {
		return reply{}, false
	}
	c.calls[id] = &inflight{cancel: func(error) { interrupt() }}
	return *f.result, true
}

// sent forgets a call whose result was unparked, and reports whether its
// sending was interrupted.
func (c *ServerConn) sent(id uint64) (interrupted bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	interrupted = c.calls[id].gone
	c.remove(id)
	return interrupted
}
