package main

import (
	"context"
	"sync"

	"github.com/detached-workers/unref/client"
)

// chronicle is what is known of the slots of a crew from the events of its pool. Two read these: one in the background,
// and who has to know what has happened until now. Each event counts once.
type chronicle struct {
	mu     sync.Mutex // protects what follows
	last   uint64     // the event that was noted last
	slots  map[int]*slot
	broken error // why the pool starts nothing any more; nil if it does
}

// slot is the place of one worker at a time.
type slot struct {
	arrivals []arrival               // of workers that nobody has asked for yet
	giveUp   context.CancelCauseFunc // ends the attempt to have something done here; nil if there is none
	ready    context.CancelFunc      // ends the telling of a start that takes long; nil if nothing starts
}

// follow notes events until ctx ends or the pool is closed, in any case those that there have been.
func (c *crew) follow(ctx context.Context) {
	for e := range c.pool.Events(ctx) {
		c.note(e)
	}
}

// catchUp notes the events that there have been.
func (c *crew) catchUp() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	c.follow(ctx)
}

// note takes an event, unless it is known.
func (c *crew) note(e client.PoolEvent) {
	c.log.mu.Lock()
	defer c.log.mu.Unlock()
	if e.Seq <= c.log.last {
		return
	}
	c.log.last = e.Seq
	switch e.Kind {
	case client.WorkerStarting:
		c.log.slot(e.Slot).ready = c.tellWaiting(e.Slot)
	case client.WorkerReady:
		s := c.log.slot(e.Slot)
		s.started()
		s.arrivals = append(s.arrivals, newArrival(e.Pid, c.group != "", e.Decision))
	case client.WorkerStartFailed:
		s := c.log.slot(e.Slot)
		s.started()
		s.fail(e.Err)
	case client.WorkerEnded:
		c.log.slot(e.Slot).started()
	case client.PoolBroken:
		c.log.fail(e.Err)
	case client.PoolRevived:
		c.log.broken = nil
	}
}

// slot returns the slot of a number; mu is held.
func (l *chronicle) slot(number int) *slot {
	s := l.slots[number]
	if s == nil {
		if l.slots == nil {
			l.slots = make(map[int]*slot)
		}
		s = new(slot)
		l.slots[number] = s
	}
	return s
}

// fail ends all attempts, those to come included; mu is held.
func (l *chronicle) fail(err error) {
	l.broken = err
	for _, s := range l.slots {
		s.fail(err)
	}
}

// started notes that a start has come to an end, if there is one.
func (s *slot) started() {
	if s.ready != nil {
		s.ready()
		s.ready = nil
	}
}

// fail ends the attempt, if there is one.
func (s *slot) fail(err error) {
	if s.giveUp != nil {
		s.giveUp(err)
	}
}

// begin notes that an attempt begins. It is given up when no worker comes into the slot because the start failed: the pool
// tells those who wait only if there is no other worker, and goes on trying.
func (c *crew) begin(slot int, giveUp context.CancelCauseFunc) {
	c.catchUp()
	c.log.mu.Lock()
	defer c.log.mu.Unlock()
	s := c.log.slot(slot)
	s.giveUp = giveUp
	if c.log.broken != nil {
		s.fail(c.log.broken)
	}
}

// end notes that an attempt has ended.
func (c *crew) end(slot int) {
	c.log.mu.Lock()
	defer c.log.mu.Unlock()
	c.log.slot(slot).giveUp = nil
}

// arrived returns the workers that have come into a slot since it was asked the last time.
func (c *crew) arrived(slot int) []arrival {
	c.catchUp()
	c.log.mu.Lock()
	defer c.log.mu.Unlock()
	s := c.log.slot(slot)
	list := s.arrivals
	s.arrivals = nil
	return list
}
