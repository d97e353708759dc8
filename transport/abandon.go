package transport

import "github.com/hashicorp/yamux"

// ending tells the caller of a call with a stream of its own, if it gives the
// call up and asked for that, when the call has ended on the worker. Such a
// stream is read on until then. The zero value is for those who have not asked.
type ending struct {
	tell func(ended <-chan struct{})
	done chan struct{} // closed by whoever reads the stream; nil if tell is
}

func newEnding(tell func(ended <-chan struct{})) ending {
	if tell == nil {
		return ending{}
	}
	return ending{tell, make(chan struct{})}
}

func (e ending) wanted() bool { return e.tell != nil }

// abandoned says that the call was given up. It is called once at most.
func (e ending) abandoned() {
	if e.wanted() {
		e.tell(e.done)
	}
}

// over says that no handler runs for the call any more.
func (e ending) over() {
	if e.wanted() {
		close(e.done)
	}
}

// interrupt ends what waits on the stream of a call that is given up, but for
// who waits for the call's end.
func (e ending) interrupt(stream *yamux.Stream) {
	if e.wanted() {
		stream.SetWriteDeadline(past)
		return
	}
	stream.SetDeadline(past)
}

// abandon takes a call on the lane from those that wait for an answer. If its
// caller asked for that, its end is noticed all the same. mu is held.
func (c *Conn) abandon(id uint64, w *waiter) {
	delete(c.calls, id)
	if !w.watched {
		return
	}
	if c.abandoned == nil {
		c.abandoned = make(map[uint64]chan struct{})
	}
	c.abandoned[id] = make(chan struct{})
}

// endOf returns what is closed at the end of an abandoned call on the lane, nil
// if it has ended.
func (c *Conn) endOf(id uint64) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ended, ok := c.abandoned[id]; ok {
		return ended
	}
	return nil
}

// neverSent forgets an abandoned call of which the worker does not know.
func (c *Conn) neverSent(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.abandoned, id)
}

// endedLate notes that no handler runs any more for a call that nobody waits for;
// mu is held.
func (c *Conn) endedLate(id uint64) {
	if ended, ok := c.abandoned[id]; ok {
		delete(c.abandoned, id)
		close(ended)
	}
}
