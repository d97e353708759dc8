package transport

import "slices"

// checkNotify refuses a notification that is none, or that the worker would not
// understand.
func (c *Conn) checkNotify(req *Request, flags uint8) error {
	switch {
	case !req.Notify:
		return nil
	case flags&flagNotify == 0:
		return notRun(CodeInvalid, req.Method, "a notification is a unary call")
	case !slices.Contains(c.welcome.Features, FeatureNotify):
		unsupported := notRun(CodeInvalid, req.Method, "the worker takes no notifications, rebuild it with this version of unref")
		unsupported.Kind = "errors.ErrUnsupported"
		return unsupported
	}
	return nil
}

// beginNotified enters a call as a notification, which nothing that its caller
// does can end; mu is held.
func (c *ServerConn) beginNotified(call *Call) {
	call.context.parent = c.base
	call.flight.notify = true
	call.flight.ender = interrupt(func() {})
	c.notified++
}

// Received answers a notification: its caller learns that it has arrived, and
// nothing more. The handler calls it when it has seen that it can do what it is
// asked to, and goes on. What it returns, or panics with, goes to
// [AcceptConfig].Failed. For other calls, and a second time, it does nothing.
func (c *Call) Received() {
	if !c.Notify || c.told {
		return
	}
	c.told = true
	frame := newFrame(header{typ: frameResult, id: c.id})
	if c.stream == nil {
		_ = c.conn.lane.send(c.id, frame, false) // fails only when the connection has ended
		return
	}
	frame.end()
	_ = c.conn.writeTo(c.stream, frame)
	c.stream.Close() // the caller may wait for that, and not for the handler
}

// answerNotified answers a notification on a stream that Received has not
// answered. The stream is not used again.
func (c *ServerConn) answerNotified(call *Call, frame *buffer) {
	frame.end()
	_ = c.writeTo(call.stream, frame)
	c.end(call.id)
}

// settle ends a notification that was answered before.
func (c *ServerConn) settle(call *Call, err error) {
	if err != nil && c.failed != nil {
		e := ErrorOf(err)
		if e.Method == "" {
			e.Method = call.Method
		}
		c.failed(call, e)
	}
	call.returned()
	c.end(call.id)
}

// lose says that the connection has ended.
func (c *ServerConn) lose() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lost = true
	c.checkDrained()
}
