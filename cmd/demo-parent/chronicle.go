package main

import (
	"context"
	"sync"

	"github.com/detached-workers/unref/client"
)

// chronicle is what is known of the slots of a crew from the events of its pool. Two read these: one in the background,
// and who has to know what has happened until now. Each event counts once.
type chronicle struct {
	mu    sync.Mutex // protects what follows
	last  uint64     // the event that was noted last
	slots map[int]*slot
}

// slot is the place of one worker at a time.
type slot struct {
	arrivals []arrival          // of workers that nobody has asked for yet
	ready    context.CancelFunc // ends the telling of a start that takes long; nil if nothing starts
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
	case client.WorkerStartFailed, client.WorkerEnded:
		c.log.slot(e.Slot).started()
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

// started notes that a start has come to an end, if there is one.
func (s *slot) started() {
	if s.ready != nil {
		s.ready()
		s.ready = nil
	}
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
