package transport

import (
	"context"
	"time"
)

// A caller that makes one call after the other is expected to go on like that
// after so many of them, each begun soon after the last.
const (
	loneCalls = 3
	soonAfter = 2 * batonTick
)

// lone recognises a connection with one call after the other. It belongs to
// whoever has the baton.
type lone struct {
	alone bool      // no other call was in flight when the last answer came
	row   int       // such answers in a row
	last  time.Time // when the last one came
}

// answered notes that an answer has come, and whether it was that of the only
// call.
func (c *Conn) answered(alone bool) {
	c.lone.alone = alone
	if !alone {
		c.lone.row = 0
		return
	}
	now := time.Now()
	if now.Sub(c.lone.last) > soonAfter {
		c.lone.row = 0
	}
	c.lone.row++
	c.lone.last = now
}

// lend leaves the baton to the next call, if one is expected.
func (c *Conn) lend(more bool) bool {
	return !more && c.lone.alone && c.lone.row >= loneCalls && c.wire.baton.lendable() && c.wire.baton.move(loop, nobody)
}

// readFor reads until the call that waits with w has its answer or another end.
func (c *Conn) readFor(ctx context.Context, w *waiter) {
	if ctx.Done() != nil {
		defer context.AfterFunc(ctx, c.wire.kick)()
	}
	if !c.wire.readUntil(func() bool { return len(w.reply) > 0 }) {
		return
	}
	if !c.lone.alone || c.wire.more() {
		c.wire.giveBack(nil)
		return
	}
	c.wire.baton.move(reader, nobody)
}

// attend makes sure that what comes next is read at once, because a stream is
// about to be used.
func (c *Conn) attend() {
	c.wire.baton.noteBulk()
	c.wire.baton.move(nobody, loop)
}
