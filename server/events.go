package server

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/detached-workers/unref/transport"
)

// What may wait for one subscriber that is slow, beside what is on its way. One
// event may wait however large it is.
const (
	maxQueuedEvents = 1024
	maxQueuedBytes  = 4 << 20
)

// lastEvents is how long a subscriber may take, when the worker leaves, for the
// events that wait for it.
const lastEvents = 100 * time.Millisecond

// Emit tells all who have subscribed to an event, with client.Subscribe, what
// has happened. Each gets the events of all that it has subscribed to in the
// order in which they were emitted. Emit never waits for a subscriber: of one
// that is too slow the oldest events that wait for it are dropped, and it learns
// how many. Without subscribers, and in a process that does not serve, Emit does
// nothing. It is an error if the value has no encoding or is over the limit for
// messages, which is only known if there are subscribers.
//
// When the worker is asked to leave the subscriptions end, with what was emitted
// before.
func Emit[T any](mux *Mux, event transport.Event[T], value T) error {
	if !mux.events.wanted(string(event)) {
		return nil
	}
	msg, err := transport.Codec{}.Encode(emission[T]{string(event), value})
	if err == nil {
		err = mux.events.emit(string(event), msg)
	}
	if err != nil {
		return fmt.Errorf("emit %s: %w", event, err)
	}
	return nil
}

// emission is a [transport.EventMessage] that is to be encoded.
type emission[T any] struct {
	Name string `cbor:"name"`
	Body T      `cbor:"body"`
}

// hub hands events to subscribers. The zero hub is ready.
type hub struct {
	mu          sync.Mutex // protects what follows and the subscribers' queues
	max         int        // bytes of a message; set before there are subscribers
	subscribers []*subscriber
}

// subscriber is somebody who wants to know of events.
type subscriber struct {
	names  []string
	wake   chan struct{} // capacity 1, sent to when the queue was filled
	queue  [][]byte      // encoded messages, which others may have as well; oldest first
	size   int           // of all of them, in bytes
	missed int           // events that were dropped before the oldest
}

// limit sets the limit for messages, as [Server].MaxMessage has it.
func (h *hub) limit(configured int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case configured == 0:
		h.max = transport.DefaultMaxMessage
	case configured < 0:
		h.max = math.MaxInt32
	default:
		h.max = configured
	}
}

// wanted reports whether anybody has subscribed to an event.
func (h *hub) wanted(name string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.ContainsFunc(h.subscribers, func(s *subscriber) bool { return s.wants(name) })
}

func (s *subscriber) wants(name string) bool { return slices.Contains(s.names, name) }

// emit hands an encoded message to all who want it.
func (h *hub) emit(name string, msg []byte) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(msg) > h.max {
		return &transport.Error{Code: transport.CodeTooLarge, Message: fmt.Sprintf("message of %d bytes, limit %d", len(msg), h.max)}
	}
	for _, s := range h.subscribers {
		if s.wants(name) {
			s.put(msg)
		}
	}
	return nil
}

// put queues a message, in the place of the oldest if there is no room; the
// hub's mu is held.
func (s *subscriber) put(msg []byte) {
	for len(s.queue) > 0 && (len(s.queue) == maxQueuedEvents || s.size+len(msg) > maxQueuedBytes) {
		s.pop()
		s.missed++
	}
	s.queue = append(s.queue, msg)
	s.size += len(msg)
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// pop removes the oldest message; the hub's mu is held.
func (s *subscriber) pop() []byte {
	msg := s.queue[0]
	s.queue[0] = nil
	s.queue = s.queue[1:]
	s.size -= len(msg)
	return msg
}

func (h *hub) subscribe(names []string) *subscriber {
	s := &subscriber{names: names, wake: make(chan struct{}, 1)}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.subscribers = append(h.subscribers, s)
	return s
}

func (h *hub) unsubscribe(s *subscriber) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.subscribers = slices.DeleteFunc(h.subscribers, func(other *subscriber) bool { return other == s })
}

// take returns the oldest message that waits for a subscriber, and how many were
// dropped before it.
func (h *hub) take(s *subscriber) (msg []byte, missed int, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(s.queue) == 0 {
		return nil, 0, false
	}
	missed, s.missed = s.missed, 0
	return s.pop(), missed, true
}

// next waits for a message. It returns none when ctx has ended, or when the
// server stops and none is left.
func (s *Server) next(ctx context.Context, sub *subscriber) (msg []byte, missed int, ok bool) {
	for {
		if msg, missed, ok = s.Mux.events.take(sub); ok {
			return msg, missed, true
		}
		select {
		case <-sub.wake:
		case <-s.open.Done():
			return s.Mux.events.take(sub)
		case <-ctx.Done():
			return nil, 0, false
		}
	}
}

// serveEvents is the handler of a subscription. A subscriber that does not read
// may hold it in a send, for which Shutdown does not wait any longer than it
// takes the others to read.
func (s *Server) serveEvents(ctx context.Context, req transport.EventsRequest, send func(transport.EventMessage) error) error {
	call := transport.CallOf(ctx)
	sub := s.Mux.events.subscribe(req.Names)
	defer s.Mux.events.unsubscribe(sub)
	defer context.AfterFunc(s.open, func() { time.AfterFunc(lastEvents, call.Unawaited) })()
	if err := send(transport.EventMessage{}); err != nil {
		return err
	}
	for {
		msg, missed, ok := s.next(ctx, sub)
		if !ok {
			return context.Cause(ctx)
		}
		if err := sendEvent(call, msg, missed, send); err != nil {
			return err
		}
	}
}

// sendEvent sends a message and what was missed before. One that is over the
// caller's limit counts as missed too.
func sendEvent(call *transport.Call, msg []byte, missed int, send func(transport.EventMessage) error) error {
	if missed > 0 {
		if err := send(transport.EventMessage{Missed: missed}); err != nil {
			return err
		}
	}
	err := call.Send(msg)
	if errors.Is(err, transport.CodeTooLarge) {
		return send(transport.EventMessage{Missed: 1})
	}
	return err
}
