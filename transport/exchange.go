package transport

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/hashicorp/yamux"
)

func (c *Conn) callOnStream(ctx context.Context, req *Request, frame *buffer) (reply, error) {
	id, err := c.newID(req.Method)
	if err != nil {
		return reply{}, err
	}
	frame.stamp(id)
	ctx, cancel := req.within(ctx, time.Now())
	defer cancel()
	return c.exchange(ctx, id, frame, exchangeWaiting, newEnding(req.Abandoned))
}

// fetch gets the result of a call that was too large for the lane. Its handler
// has returned, so that giving it up abandons nothing.
func (c *Conn) fetch(ctx context.Context, id uint64) (reply, error) {
	return c.exchange(ctx, id, newFrame(header{typ: frameFetch, id: id}), exchangeBegun, ending{})
}

// Progress of an exchange, for the one question that counts afterwards: can
// the worker have seen it?
const (
	exchangeWaiting   = iota // nothing was written
	exchangeBegun            // the frame, or the call that it belongs to, may be on its way
	exchangeAbandoned        // it was given up before that
)

// outcome is how an exchange ended.
type outcome struct {
	reply
	err error
}

// exchange sends a frame on a stream of its own and returns the frame that
// answers it. The stream is used in a goroutine, because yamux may hold a
// writer for as long as the worker does not read.
func (c *Conn) exchange(ctx context.Context, id uint64, frame *buffer, begun int32, end ending) (reply, error) {
	result := make(chan outcome, 1)
	var progress atomic.Int32
	progress.Store(begun)
	err := ErrClosed
	if c.tasks.start(func() { c.roundTrip(ctx, id, frame, &progress, end, result) }) {
		select {
		case out := <-result:
			if out.err == nil {
				return out.reply, nil
			}
			err = out.err
		case <-ctx.Done():
		}
	}
	unsent := progress.CompareAndSwap(exchangeWaiting, exchangeAbandoned)
	return reply{}, c.exchangeError(ctx, id, err, unsent, end)
}

// exchangeError names the cause: ctx's end, the connection's, or a frame over
// the limit.
func (c *Conn) exchangeError(ctx context.Context, id uint64, err error, unsent bool, end ending) error {
	_, limit := errors.AsType[*Error](err)
	over := expired(ctx)
	if over != nil {
		err = over
	} else if !limit {
		err = c.broken(err)
	}
	if unsent {
		return fmt.Errorf("%w: %w", ErrNotSent, err)
	}
	c.cancel(id, reason(ctx))
	if over != nil && !limit { // what is over the limit is an answer
		end.abandoned()
	}
	return err
}

// broken ends the connection, on which a stream has failed: the worker leaves
// none without an answer while it is sound.
func (c *Conn) broken(err error) error {
	c.mu.Lock()
	if c.fault == nil {
		c.fault = err
	}
	c.mu.Unlock()
	c.session.Close()
	<-c.done
	return c.err
}

// roundTrip keeps the stream for further calls if this one ended cleanly. It
// hands over the result before it closes a stream, which may take as long as
// the worker does not read. Where the end of the call is wanted, the wait for the
// answer outlives ctx: the worker answers, or closes the stream, when the handler
// has returned. A request that was not written to its end is not run.
func (c *Conn) roundTrip(ctx context.Context, id uint64, frame *buffer, progress *atomic.Int32, end ending, result chan<- outcome) {
	stream, err := c.stream()
	if err != nil {
		result <- outcome{err: err}
		return
	}
	stop := context.AfterFunc(ctx, func() { end.interrupt(stream) })
	r, err := c.transact(stream, id, frame, progress)
	kept := stop() && err == nil && r.flags&flagEnd == 0 && expired(ctx) == nil && c.release(stream)
	result <- outcome{r, err}
	if errors.Is(err, ErrProtocol) { // maybe nobody takes the result
		_ = c.broken(err)
	}
	end.over()
	if !kept {
		stream.Close()
	}
}

func (c *Conn) transact(stream *yamux.Stream, id uint64, frame *buffer, progress *atomic.Int32) (reply, error) {
	if !progress.CompareAndSwap(exchangeWaiting, exchangeBegun) && progress.Load() != exchangeBegun {
		return reply{}, ErrNotSent
	}
	_, unwritten := stream.Write(frame.frame())
	switch {
	case unwritten == nil:
		frame.free()
	case !errors.Is(unwritten, yamux.ErrSessionShutdown): // which also comes after a write that was answered
		return reply{}, unwritten
	}
	r, err := c.readFrame(stream, id)
	if err != nil && unwritten != nil {
		err = unwritten
	}
	if err == nil && r.typ != frameResult && r.typ != frameFail {
		err = fmt.Errorf("%w: frame of type %d as an answer", ErrProtocol, r.typ)
	}
	return r, err
}

// readFrame reads a frame of call id from the worker. Of one over the size limit
// it returns the header, and leaves the payload.
func (c *Conn) readFrame(stream *yamux.Stream, id uint64) (reply, error) {
	h, err := readHeaderOf(stream, id)
	if err != nil {
		return reply{}, err
	}
	limit := c.max
	if h.typ == frameFail {
		limit = max(limit, maxFail)
	}
	if int64(h.length) > int64(limit) {
		return reply{header: h}, errMessageSize(int(h.length), limit)
	}
	payload, err := readPayload(stream, h)
	return reply{h, payload}, err
}

// readHeaderOf reads the header of a frame of call id.
func readHeaderOf(stream *yamux.Stream, id uint64) (header, error) {
	h, err := readHeader(stream)
	if err == nil && h.id != id {
		err = fmt.Errorf("%w: frame of call %d on the stream of call %d", ErrProtocol, h.id, id)
	}
	return h, err
}

// stream returns an idle stream or opens one.
func (c *Conn) stream() (*yamux.Stream, error) {
	c.attend()
	c.mu.Lock()
	if n := len(c.idle); n > 0 {
		s := c.idle[n-1]
		c.idle = c.idle[:n-1]
		c.mu.Unlock()
		return s, nil
	}
	c.mu.Unlock()
	return c.session.OpenStream()
}

// release keeps a stream on which a call has ended cleanly for the next one,
// and reports whether there was room.
func (c *Conn) release(s *yamux.Stream) bool {
	c.shrinker.note(s)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.idle) == maxIdleStreams {
		return false
	}
	c.idle = append(c.idle, s)
	return true
}
