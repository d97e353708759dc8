package transport

import (
	"sync"
	"sync/atomic"
	"time"
)

// Whoever has the baton reads the connection. By default that is yamux's
// receive loop, which then has to wake somebody for each frame of the lane. It
// lends the baton to somebody for whom the next frame probably is: on the
// caller's side to a call that is alone in flight, which then reads its own
// reply, on the worker's side to the goroutine of a handler that has always
// been quick, which reads the next request when it has answered. So a lone call
// wakes nobody but those whom the kernel wakes.
//
// At any point in time one goroutine reads, or none for an instant that is
// bounded by baton's timer.
type baton struct {
	mu      sync.Mutex // protects what follows
	holder  holder
	turns   int // counts how often somebody took it or began to run a handler
	looked  int // turns when the timer fired last
	ticking bool
	timer   *time.Timer

	late func()        // is told, with mu held, that a handler has had the baton for too long
	back chan struct{} // capacity 1; wakes the receive loop, which has the baton again
	bulk atomic.Int64  // when yamux was last seen to have data, in ns since start
}

// holder tells who has the baton.
type holder int

const (
	loop    holder = iota // yamux's receive loop, which reads
	reader                // somebody else, who reads
	handler               // a handler's goroutine that runs its handler, and then reads
	nobody                // the next call takes it
)

const (
	// batonTick is how often the timer looks. Nobody reads for two ticks at
	// most: while the baton is free, or its holder runs a handler.
	batonTick = time.Millisecond

	// bulkPause is for how long after yamux had data the receive loop keeps
	// the baton.
	bulkPause = 100 * time.Millisecond
)

// start is what bulk is measured from.
var start = time.Now()

// noteBulk keeps the baton with the receive loop for a while.
func (b *baton) noteBulk() { b.bulk.Store(int64(time.Since(start)) + 1) }

// lendable reports whether nothing speaks against lending.
func (b *baton) lendable() bool {
	last := b.bulk.Load()
	return last == 0 || int64(time.Since(start))-last > int64(bulkPause)
}

// move hands the baton on if it is with one holder, to another, and reports
// whether it was. While it is free or with a busy handler the timer runs.
func (b *baton) move(from, to holder) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.holder != from {
		return false
	}
	b.holder = to
	if to == loop {
		b.back <- struct{}{} // has room: the loop waits for it, or is about to
		return true
	}
	b.turns++
	if to != reader {
		b.tick()
	}
	return true
}

// tick sees to it that the timer runs; mu is held.
func (b *baton) tick() {
	if b.ticking {
		return
	}
	b.timer = rearm(b.timer, batonTick, b.look)
	b.ticking, b.looked = true, b.turns
}

// rearm sets a timer, which is made when it is set for the first time.
func rearm(t *time.Timer, d time.Duration, f func()) *time.Timer {
	if t == nil {
		return time.AfterFunc(d, f)
	}
	t.Reset(d)
	return t
}

// look returns the baton to the receive loop if nothing has happened for a
// tick, and looks again if something has.
func (b *baton) look() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ticking = false
	switch {
	case b.holder == loop || b.holder == reader:
	case b.turns != b.looked:
		b.tick()
	default:
		if b.holder == handler {
			b.late()
		}
		b.holder = loop
		b.back <- struct{}{} // has room, as in move
	}
}
