package transport

import "time"

// maxIdleHandlers is how many goroutines of handlers wait for further calls,
// per connection: a new goroutine would have to grow its stack again.
const maxIdleHandlers = 64

// A method is quick when it has more than so many calls to its credit. Each that
// takes quickTime at most is one more, up to maxCredit, and each other one
// halves the credit: what is slow once because the machine is busy may stay
// quick, what is slow as a rule never is.
const (
	quickCredit = 8
	maxCredit   = 32
	quickTime   = 100 * time.Microsecond

	maxQuick = 256 // methods that are watched, because a caller can name any
)

// job is a call for a goroutine that runs handlers. With the baton comes the
// duty to read on after the call.
type job struct {
	call  *Call
	baton bool
}

// schedule decides how a call on the lane is run: by a goroutine for it, or, if
// it is alone and its method quick, together with the baton.
func (c *ServerConn) schedule(call *Call) error {
	if c.pending != nil {
		other := c.pending
		c.pending = nil
		if err := c.dispatch(job{call: other}); err != nil {
			return err
		}
		return c.dispatch(job{call: call})
	}
	if call.quick {
		c.pending = call
		return nil
	}
	return c.dispatch(job{call: call})
}

// dispatch gives a job to a goroutine.
func (c *ServerConn) dispatch(j job) error {
	select {
	case c.handlers <- j:
		return nil
	default:
	}
	if !c.tasks.start(func() { c.handle(j) }) {
		return ErrClosed
	}
	return nil
}

// lend runs the pending call, with the baton if nothing follows at once.
func (c *ServerConn) lend(more bool) bool {
	call := c.pending
	if call == nil {
		return false
	}
	c.pending = nil
	baton := !more && c.wire.baton.lendable() && c.wire.baton.move(loop, handler)
	if c.dispatch(job{call, baton}) != nil && baton {
		c.wire.baton.move(handler, loop)
	}
	return baton
}

// handle runs the handler of one call on the lane after the other.
func (c *ServerConn) handle(j job) {
	defer func() { // also if a handler ends the goroutine
		if j.baton {
			c.wire.baton.move(handler, loop)
		}
	}()
	for j.call != nil {
		j.call.began = time.Now()
		c.run(j.call, c.answerOnLane)
		if j.baton && c.wire.baton.move(handler, reader) {
			j = c.read()
			if j.call != nil {
				continue
			}
		}
		j = c.await()
	}
}

// await returns the next job, none if the goroutine is to end.
func (c *ServerConn) await() (j job) {
	if c.idle.Add(1) <= maxIdleHandlers {
		select {
		case j = <-c.handlers:
		case <-c.session.CloseChan():
		}
	}
	c.idle.Add(-1)
	return j
}

// read reads until there is a call to run or something that is yamux's. In the
// first case it may keep the baton, in the other the receive loop has it back.
func (c *ServerConn) read() job {
	if !c.wire.readUntil(func() bool { return c.pending != nil }) {
		return job{}
	}
	call := c.pending
	c.pending = nil
	if c.wire.more() {
		c.wire.giveBack(nil)
		return job{call: call}
	}
	c.wire.baton.move(reader, handler)
	return job{call, true}
}

// noteTime notes how long a call on the lane took; mu is held.
func (c *ServerConn) noteTime(call *Call) {
	n, known := c.quick[call.Method]
	switch {
	case time.Since(call.began) > quickTime:
		n /= 2
	case n < maxCredit:
		n++
	default:
		return
	}
	if known || len(c.quick) < maxQuick {
		c.quick[call.Method] = n
	}
}
