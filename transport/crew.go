package transport

import "time"

// maxIdleHandlers is how many goroutines of handlers wait for further calls,
// per connection: a new goroutine would have to grow its stack again.
const maxIdleHandlers = 64

// Who reads runs calls of quick methods itself if nobody else waits for it, and
// those of tiny methods always: they take about as long as it takes to hand a
// call to another goroutine.
const (
	quickTime = 100 * time.Microsecond
	tinyTime  = 5 * time.Microsecond

	maxPaces = 256 // methods that are watched, because a caller can name any
)

// lateCredit is that of a method which has held up others: it takes as many calls
// that keep within the time until it is trusted again, so that one that waits
// every now and then costs the others little.
const lateCredit credit = -1000

// pace is what is known of how long a method's calls take.
type pace struct{ quick, tiny credit }

// credit is how much a method is trusted to keep within a time. Each call that
// does is one more, up to maxCredit, and each other one halves it: what is slow
// once because the machine is busy may stay trusted, what is slow as a rule
// never is.
type credit int

const (
	enoughCredit credit = 9
	maxCredit    credit = 32
)

func (c credit) enough() bool { return c >= enoughCredit }

func (c *credit) note(kept bool) {
	switch {
	case kept:
		*c = min(*c+1, maxCredit)
	case *c > 0:
		*c /= 2
	}
}

// job is a call for a goroutine that runs handlers. With the baton comes the
// duty to read on after the call.
type job struct {
	call  *Call
	baton bool
}

// schedule decides how a call on the lane is run: by who reads, or by a
// goroutine for it.
func (c *ServerConn) schedule(call *Call) error {
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

// lend runs the pending call, with the baton unless something follows that
// should not wait for it.
func (c *ServerConn) lend(more bool) bool {
	call := c.pending
	if call == nil {
		return false
	}
	c.pending = nil
	c.carried.Store(call.pace)
	baton := (call.tiny || !more) && c.wire.baton.lendable() && c.wire.baton.move(loop, handler)
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
			c.lane.flushQueued()
		}
	}()
	for handedOver := true; j.call != nil; {
		if handedOver { // which took its time
			j.call.began = time.Now()
		}
		j.call.batched = j.baton
		c.run(j.call, c.answerOnLane)
		if j.baton {
			j = c.readOn()
		} else {
			j.call = nil
		}
		if handedOver = j.call == nil; handedOver {
			j = c.await()
		}
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

// readOn reads, after a call that was run with the baton, until there is another
// call to run or something that is yamux's. In the first case it may keep the
// baton, in the other the receive loop has it back.
func (c *ServerConn) readOn() job {
	if !c.wire.baton.move(handler, reader) { // the call has taken too long
		c.lane.flushQueued()
		return job{}
	}
	if !c.wire.readUntil(func() bool { return c.pending != nil }) {
		return job{}
	}
	call := c.pending
	c.pending = nil
	if !call.tiny && c.wire.more() {
		c.wire.giveBack(nil)
		return job{call: call}
	}
	c.carried.Store(call.pace)
	c.wire.baton.move(reader, handler)
	return job{call, true}
}

// late runs when the baton is taken from a handler: its method is trusted no
// more, or calls of it that follow would each hold up the others for as long.
// That handler may still find the baton with a later one, and take it from
// there, which is as good: one of them reads.
func (c *ServerConn) late() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.carried.Load(); p != nil {
		*p = pace{tiny: lateCredit}
	}
}

// weigh decides whether a call on the lane, which is in flight, may be run by who
// reads; mu is held.
func (c *ServerConn) weigh(call *Call) {
	p := c.paceOf(call.Method)
	if p == nil {
		return
	}
	call.pace = p
	call.tiny = p.tiny.enough()
	call.quick = call.tiny || len(c.calls) == 1 && p.quick.enough()
}

// paceOf returns what is known of a method, nil if it is not watched; mu is
// held.
func (c *ServerConn) paceOf(method string) *pace {
	p := c.paces[method]
	if p == nil && len(c.paces) < maxPaces {
		p = new(pace)
		c.paces[method] = p
	}
	return p
}

// noteTime notes how long a call on the lane took; mu is held.
func (c *ServerConn) noteTime(call *Call) {
	if call.pace == nil {
		return
	}
	took := time.Since(call.began)
	call.pace.quick.note(took <= quickTime)
	call.pace.tiny.note(took <= tinyTime)
}
