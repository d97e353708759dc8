package client

import (
	"cmp"
	"container/list"
	"iter"
	"slices"
	"time"
)

// ticket is a call, or who wants a lease, on the way to a worker and with it.
type ticket struct {
	key      string
	priority int
	queued   time.Time // when it came
	expires  time.Time // when its time in the queue is over; zero means never
	lease    bool      // it is for a lease
	again    bool      // it had a worker before, and takes its old place in the queue

	place *list.Element // in the queue; nil if it is not queued

	// How it ended: with a seat or an error. ready, if not nil, is then closed.
	seat  *seat
	err   error
	ready chan struct{}
}

func (t *ticket) settled() bool { return t.seat != nil || t.err != nil }

// renewed returns the ticket as it comes to the queue again.
func (t *ticket) renewed() ticket {
	return ticket{key: t.key, priority: t.priority, lease: t.lease, queued: t.queued, again: true}
}

// settle ends the waiting.
func (t *ticket) settle(s *seat, err error) {
	t.seat, t.err = s, err
	if t.ready != nil {
		close(t.ready)
	}
}

// queue holds those who wait, those of the highest priority first and among them
// who came first.
type queue struct {
	levels []*level // the highest priority first; none is empty
	length int
}

type level struct {
	priority int
	tickets  list.List // of *ticket
}

// push adds a ticket.
func (q *queue) push(t *ticket) {
	l := q.level(t.priority)
	q.length++
	e := l.tickets.Back()
	for e != nil && e.Value.(*ticket).queued.After(t.queued) { // only for one that comes again
		e = e.Prev()
	}
	if e == nil {
		t.place = l.tickets.PushFront(t)
	} else {
		t.place = l.tickets.InsertAfter(t, e)
	}
}

// level returns the level of a priority, a new one if there is none.
func (q *queue) level(priority int) *level {
	i, found := slices.BinarySearchFunc(q.levels, priority, func(l *level, p int) int { return cmp.Compare(p, l.priority) })
	if !found {
		q.levels = slices.Insert(q.levels, i, &level{priority: priority})
	}
	return q.levels[i]
}

// remove takes a ticket out, if it is queued, and reports whether it was.
func (q *queue) remove(t *ticket) bool {
	if t.place == nil {
		return false
	}
	l := q.level(t.priority)
	l.tickets.Remove(t.place)
	t.place = nil
	q.length--
	if l.tickets.Len() == 0 {
		q.levels = slices.DeleteFunc(q.levels, func(other *level) bool { return other == l })
	}
	return true
}

// all yields the tickets in order. The one that was yielded last may be removed.
func (q *queue) all() iter.Seq[*ticket] {
	return func(yield func(*ticket) bool) {
		for _, l := range slices.Clone(q.levels) {
			for e := l.tickets.Front(); e != nil; {
				next := e.Next()
				if !yield(e.Value.(*ticket)) {
					return
				}
				e = next
			}
		}
	}
}

// expired removes and returns a ticket whose time is over, nil if there is none.
func (q *queue) expired(now time.Time) *ticket {
	for t := range q.oldest() {
		if !t.expires.IsZero() && !now.Before(t.expires) {
			q.remove(t)
			return t
		}
	}
	return nil
}

// nextExpiry returns when the time of somebody is over next, zero if of nobody.
func (q *queue) nextExpiry() (next time.Time) {
	for t := range q.oldest() {
		next = earliest(next, t.expires)
	}
	return next
}

// oldest yields the tickets before whose time is over nobody else's is: of each
// level the first one, and before it those that have come again.
func (q *queue) oldest() iter.Seq[*ticket] {
	return func(yield func(*ticket) bool) {
		for _, l := range q.levels {
			for e := l.tickets.Front(); e != nil; e = e.Next() {
				t := e.Value.(*ticket)
				if !yield(t) {
					return
				}
				if !t.again {
					break
				}
			}
		}
	}
}
