package transport

import (
	"context"
	"slices"
)

// inflight is a call that the worker has not answered completely: its handler
// runs, or its result waits to be fetched, or is being sent on a stream.
type inflight struct {
	ender  ender   // of the handler, or of the sending of its result
	result *buffer // waits to be fetched
	gone   bool    // the caller has given up
	raw    bool    // a raw connection, or another call for which nobody waits
	notify bool    // a notification, which outlives the connection
}

// ender ends something early. It must not block.
type ender interface{ end(cause error) }

// interrupt is an ender that does not ask for the cause.
type interrupt func()

func (f interrupt) end(error) { f() }

// maxEarly bounds how many cancel frames that overtook their request, on
// another stream, are remembered.
const maxEarly = 256

// begin enters a call, which runs within ctx, or returns why it is refused.
func (c *ServerConn) begin(ctx context.Context, call *Call) *Error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.draining:
		return notRun(CodeUnavailable, call.Method, "the worker is leaving")
	case c.maxCall >= 0 && len(c.calls) >= c.maxCall:
		return notRun(CodeExhausted, call.Method, "%d calls in flight on this connection, which is its limit", c.maxCall)
	case c.calls[call.id] != nil:
		return notRun(CodeInvalid, call.Method, "call id %d is in use", call.id)
	}
	call.context.parent, call.context.call = ctx, call
	f := &call.flight
	f.ender = &call.context
	c.calls[call.id] = f
	if call.Notify {
		c.beginNotified(call)
		return nil
	}
	if call.stream == nil {
		c.weigh(call)
	}
	if i := slices.Index(c.early, call.id); i >= 0 {
		c.early = slices.Delete(c.early, i, i+1)
		f.gone = true
		f.ender.end(context.Canceled)
	}
	return nil
}

// answering forgets a call on the lane before its answer goes out, because who
// has the answer may make the next call at once. It reports whether others are
// in flight. answered must follow.
func (c *ServerConn) answering(call *Call) (crowded bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.noteTime(call)
	c.calls[call.id].ender.end(nil)
	c.unsent++
	c.remove(call.id)
	return len(c.calls) > 0
}

// answered says that the answer is in the lane's hands.
func (c *ServerConn) answered() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unsent--
	c.checkDrained()
}

// end forgets a call on a stream; its context ends.
func (c *ServerConn) end(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.calls[id]; f != nil {
		f.ender.end(nil)
		c.remove(id)
	}
}

// remove takes a call out of flight; mu is held.
func (c *ServerConn) remove(id uint64) {
	if c.calls[id].raw {
		c.raws--
	}
	if c.calls[id].notify {
		c.notified--
	}
	delete(c.calls, id)
	c.checkDrained()
}

// checkDrained wakes Drain when nothing is left in flight that it waits for; mu
// is held.
func (c *ServerConn) checkDrained() {
	left := c.unsent + len(c.calls) - c.raws
	if c.lost { // nobody is there any more for answers
		left = c.notified
	}
	if !c.draining || left > 0 {
		return
	}
	select {
	case <-c.drained:
	default:
		close(c.drained)
	}
}

// Unawaited takes the call out of those that [ServerConn.Drain] waits for. Its
// handler goes on until the connection ends.
func (c *Call) Unawaited() { c.conn.unawaited(c.id) }

// unawaited takes a call out of those that Drain waits for. A raw connection
// has no end that the transport could know of.
func (c *ServerConn) unawaited(id uint64) {
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
		f.ender.end(cause)
	}
}

// park ends a call but keeps its result until it is fetched, unless nobody wants
// it any more: then it returns false, and the call is to be answered.
func (c *ServerConn) park(call *Call, frame *buffer) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.calls[call.id]
	f.ender.end(nil)
	if f.gone {
		return false
	}
	f.result = frame
	if f.notify { // its handler has returned, and a result does not outlive the connection
		f.notify = false
		c.notified--
	}
	return true
}

// unpark takes a parked result, to be sent. sending is ended if the caller gives
// up meanwhile.
func (c *ServerConn) unpark(id uint64, sending ender) (frame *buffer, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.calls[id]
	if f == nil || f.result == nil {
		return nil, false
	}
	c.calls[id] = &inflight{ender: sending}
	return f.result, true
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
