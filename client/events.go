package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/detached-workers/unref/transport"
)

// Subscriber is what has events to subscribe to: a [*Worker] or a [*Pool].
type Subscriber interface {
	// subscribe returns when the subscription has begun. It ends with ctx.
	subscribe(ctx context.Context, names []string) (eventSource, error)
}

// eventSource is a subscription. Its methods are for one goroutine.
type eventSource interface {
	// next waits for an event. After an error, which is that of the context if
	// that has ended, there are no more.
	next() (rawEvent, error)

	// stop ends the subscription, which must be done once.
	stop()
}

// rawEvent is an event that is not decoded.
type rawEvent struct {
	worker *Worker
	body   []byte
	missed int
}

// Emitted is an event, and where it comes from.
type Emitted[T any] struct {
	Value  T
	Worker string // name
	Pid    int

	// Missed is how many events of this worker were lost before this one,
	// because this program took them too slowly. After the connection was broken
	// it is at least 1, which stands for an unknown number: what was emitted
	// before there was another one.
	Missed int
}

// Subscribe subscribes to an event and returns when that is done: from then on
// nothing is missed that Emitted.Missed does not count. The loop over what it
// returns, which may be made once, yields each event in the order in which its
// worker has emitted them. Leaving the loop ends the subscription, as does ctx's
// end, which ends the loop without an error; one of the two has to happen.
//
// A loop that is slow delays no call and no worker: the worker drops what it can't
// get rid of, the oldest first.
//
// A subscription on a [*Worker] outlives a broken connection. When the worker
// has exited, or can't be used any more, the loop yields [Worker.Err] as its
// last error. A subscription on a [*Pool] is one on each of its workers, those
// included that start later, of which it has all events from the first call on;
// when the pool is closed the last error is [ErrClosed]. An event that T does not
// fit ends the loop too.
func Subscribe[T any](ctx context.Context, s Subscriber, event transport.Event[T]) (iter.Seq2[Emitted[T], error], error) {
	source, err := s.subscribe(ctx, []string{string(event)})
	if err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", event, err)
	}
	return func(yield func(Emitted[T], error) bool) {
		defer source.stop()
		for {
			raw, err := source.next()
			if ctx.Err() != nil {
				return
			}
			var e Emitted[T]
			if err == nil {
				e, err = emitted[T](raw)
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}, nil
}

func emitted[T any](raw rawEvent) (Emitted[T], error) {
	e := Emitted[T]{Worker: raw.worker.Name(), Pid: raw.worker.Pid(), Missed: raw.missed}
	return e, raw.worker.decode(raw.body, &e.Value)
}

// subscription is a worker's eventSource.
type subscription struct {
	w      *Worker
	ctx    context.Context // of the subscription, which the calls of its methods are part of
	end    context.CancelFunc
	names  []string
	link   *link
	stream *transport.Stream
	cut    func() bool // ends the watch over ctx for stream
	missed int         // events before the next one
}

func (w *Worker) subscribe(ctx context.Context, names []string) (eventSource, error) {
	if _, err := w.usable(); err != nil {
		return nil, err
	}
	s := &subscription{w: w, names: names}
	s.ctx, s.end = context.WithCancel(ctx)
	if err := s.begin(); err != nil {
		s.end()
		return nil, err
	}
	return s, nil
}

func (s *subscription) stop() {
	s.end()
	s.stream.Cancel(false)
}

func (s *subscription) next() (rawEvent, error) {
	for {
		msg, err := s.recv()
		if err != nil {
			if err = s.again(err); err != nil {
				return rawEvent{}, err
			}
			s.missed++
			continue
		}
		s.missed += msg.Missed
		if msg.Name != "" {
			raw := rawEvent{s.w, msg.Body, s.missed}
			s.missed = 0
			return raw, nil
		}
	}
}

// again begins anew on the next connection if it was only that which has ended,
// with err.
func (s *subscription) again(err error) error {
	s.cut()
	if err = s.verdict(err); err != nil {
		return err
	}
	return s.begin()
}

// begin subscribes on the present connection or the next one.
func (s *subscription) begin() error {
	for {
		s.link = s.w.current()
		if err := s.link.wait(s.ctx); err != nil {
			return err
		}
		err := s.open()
		if err == nil {
			return nil
		}
		if err = s.verdict(err); err != nil {
			return err
		}
	}
}

// open makes the call and waits until the worker has taken it.
func (s *subscription) open() (err error) {
	s.stream, err = s.link.conn.Open(s.ctx, transport.Request{
		Method:  string(transport.MethodEvents),
		Value:   transport.EventsRequest{Names: s.names},
		Timeout: -1, // there may be nothing to tell for any time
	}, true)
	if err != nil {
		return err
	}
	stream := s.stream
	s.cut = context.AfterFunc(s.ctx, func() { stream.Cancel(false) }) // when nobody may be in a method
	_, err = s.recv()
	return err
}

func (s *subscription) recv() (msg transport.EventMessage, err error) {
	data, err := s.stream.Recv(s.ctx)
	if err == nil {
		err = transport.Codec{}.Decode(data, &msg)
	}
	return msg, err
}

// verdict returns why there can't be another connection, or nil if there may be
// one. A worker that leaves ends a subscription, or refuses it, before it ends
// the connection.
func (s *subscription) verdict(err error) error {
	_, answered := errors.AsType[*transport.Error](err)
	leaving := errors.Is(err, io.EOF) || errors.Is(err, transport.CodeUnavailable)
	switch {
	case s.ctx.Err() != nil:
		return s.ctx.Err()
	case answered && !leaving:
		return err
	}
	if why := s.link.verdict(s.ctx); !errors.Is(why, ErrConnectionLost) {
		return why
	}
	return nil
}
