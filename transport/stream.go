package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/yamux"
)

// Stream is a call in which messages follow the request, as its caller sees
// it. Send and Recv may be called from two goroutines at once, each from one
// at a time. A stream must be read to its end or cancelled.
type Stream struct {
	c       *Conn
	id      uint64
	stream  *yamux.Stream
	frames  chan reply    // unbuffered: what is not wanted yet stays in yamux's window
	quit    chan struct{} // closed by Cancel, or by an Open that gave up
	cause   error         // of the cancel, set before quit is closed
	ended   chan struct{} // closed by the reader when it has ended
	final   error         // the stream's outcome, set before ended is closed
	sending atomic.Bool   // the caller may still send
	cancel  sync.Once     // done when the call is given up or at its end, whichever comes first
	ending  ending

	last     *buffer   // the message that Recv returned last
	deadline time.Time // of the whole call; may be zero
	reusable bool      // the worker takes another call on the yamux stream
	owed     bool      // the worker has the request, and its terminal frame has not come
	left     header    // of a message over the limit, whose payload was not read
}

// Open starts a call with messages. With end set the caller sends none after
// the request. ctx bounds the opening; its deadline, if it has one and the
// request has no Timeout, is the whole call's on the worker. The errors are those of [Conn.Call].
func (c *Conn) Open(ctx context.Context, req Request, end bool) (*Stream, error) {
	flags := flagStream
	if end {
		flags |= flagEnd
	}
	frame, err := c.request(ctx, &req, flags)
	if err != nil {
		return nil, err
	}
	id, err := c.newID(req.Method)
	if err != nil {
		return nil, err
	}
	frame.stamp(id)
	s := &Stream{c: c, id: id, frames: make(chan reply), quit: make(chan struct{}), ended: make(chan struct{})}
	s.ending = newEnding(req.Abandoned)
	s.sending.Store(!end)
	if limit := req.limit(ctx); limit > 0 {
		s.deadline = time.Now().Add(limit)
	}
	if err := s.open(ctx, frame); err != nil {
		return nil, err
	}
	return s, nil
}

// open gets a stream, sends the request on it and leaves a reader behind.
func (s *Stream) open(ctx context.Context, frame *buffer) error {
	opened := make(chan error) // unbuffered: either open takes it, or run sees that open has left
	var progress atomic.Int32
	err := ErrClosed
	if s.c.tasks.start(func() { s.run(ctx, frame, &progress, opened) }) {
		select {
		case err = <-opened:
			if err == nil {
				return nil
			}
		case <-ctx.Done():
		}
	}
	unsent := progress.CompareAndSwap(exchangeWaiting, exchangeAbandoned)
	close(s.quit)
	return s.c.exchangeError(ctx, s.id, err, unsent, s.ending)
}

// run opens the stream and is then its reader.
func (s *Stream) run(ctx context.Context, frame *buffer, progress *atomic.Int32, opened chan<- error) {
	stream, err := s.c.stream()
	if err == nil {
		s.stream = stream
		err = s.request(ctx, frame, progress)
	}
	select {
	case opened <- err:
	case <-s.quit:
		err = context.Canceled
	}
	if err == nil {
		s.final = s.read()
		select {
		case <-s.quit: // whatever the worker still said
			s.final = s.cause
		default:
		}
	}
	s.settle()
}

func (s *Stream) request(ctx context.Context, frame *buffer, progress *atomic.Int32) error {
	if !progress.CompareAndSwap(exchangeWaiting, exchangeBegun) {
		return ErrNotSent
	}
	stop := context.AfterFunc(ctx, func() { s.stream.SetWriteDeadline(past) })
	_, err := s.stream.Write(frame.frame())
	s.owed = err == nil // what came in part is not run
	if !stop() {
		return ctx.Err()
	}
	if err == nil {
		frame.free()
	}
	return err
}

// settle keeps the yamux stream for further calls, unless Cancel has a hand on
// it or something may be left on it, and publishes the outcome. Closing comes
// last, because it may take as long as the worker does not read.
func (s *Stream) settle() {
	kept := false
	s.cancel.Do(func() {
		kept = s.reusable && !s.sending.Load() && !s.expired() && s.c.release(s.stream)
	})
	close(s.ended)
	if s.ending.wanted() {
		s.drain()
		s.ending.over()
	}
	if !kept && s.stream != nil {
		s.stream.Close()
	}
}

// drain discards what still comes until the call has ended on the worker: its
// terminal frame, or the end of the stream, which the worker closes when the
// handler has returned.
func (s *Stream) drain() {
	for h := s.left; s.owed; {
		_, err := io.CopyN(io.Discard, s.stream, int64(h.length))
		if err == nil {
			h, err = readHeaderOf(s.stream, s.id)
		}
		if errors.Is(err, ErrProtocol) {
			_ = s.c.broken(err)
		}
		s.owed = err == nil && h.typ == frameMessage
	}
}

// expired reports whether the call's time is over for the worker.
func (s *Stream) expired() bool { return !s.deadline.IsZero() && !time.Now().Before(s.deadline) }

// read hands on messages until the terminal frame, and returns io.EOF if the
// call succeeded.
func (s *Stream) read() error {
	for {
		r, err := s.c.readFrame(s.stream, s.id)
		if err != nil {
			return s.unreadable(r.header, err)
		}
		s.owed = r.typ == frameMessage
		switch r.typ {
		case frameMessage:
			select {
			case s.frames <- r:
			case <-s.quit:
				return s.cause
			case <-s.c.closing:
				return s.broken(ErrClosed)
			}
		case frameResult:
			s.reusable = r.flags&flagEnd == 0
			return io.EOF
		case frameFail:
			return decodeFail(r.buf.bytes())
		default:
			return s.broken(fmt.Errorf("%w: frame of type %d on a stream", ErrProtocol, r.typ))
		}
	}
}

// unreadable says why a frame is not taken. One over the limit ends its call.
func (s *Stream) unreadable(h header, err error) error {
	_, limit := errors.AsType[*Error](err)
	if s.owed = limit && h.typ == frameMessage; !limit {
		return s.broken(err)
	}
	s.left = h
	s.cancel.Do(func() { s.giveUp(cancelCaller) })
	return err
}

// broken says why no frame can be read. At the end of the call's time, and
// only then, the worker cuts a stream without a terminal frame.
func (s *Stream) broken(err error) error {
	select {
	case <-s.quit:
		if errors.Is(err, ErrProtocol) {
			_ = s.c.broken(err)
		}
		return s.cause
	default:
	}
	if s.expired() && !errors.Is(err, ErrProtocol) && s.c.Err() == nil {
		return context.DeadlineExceeded
	}
	return s.c.broken(err)
}

// Recv returns the next message. At the end it returns io.EOF if the call
// succeeded, else its error; after Cancel the context error that stands for
// the reason. When ctx ends first the stream stays usable. The message is
// valid until the next Recv.
func (s *Stream) Recv(ctx context.Context) ([]byte, error) {
	select {
	case r := <-s.frames:
		s.last.free()
		s.last = r.buf
		return r.buf.bytes(), nil
	case <-s.ended:
		return nil, s.final
	case <-s.quit:
		return nil, s.cause
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Send sends a message. If ctx ends first part of the message may be on its
// way: the stream is then cancelled. After the end of the call it returns
// io.EOF, and Recv says why it ended; after Cancel, what Recv returns.
func (s *Stream) Send(ctx context.Context, msg []byte) error {
	return s.sendMessage(ctx, newFrame(header{typ: frameMessage, id: s.id}, msg))
}

// SendValue is Send for a value that is to be encoded.
func (s *Stream) SendValue(ctx context.Context, v any) error {
	frame, err := newMessage(s.id, v)
	if err != nil {
		return err
	}
	return s.sendMessage(ctx, frame)
}

func (s *Stream) sendMessage(ctx context.Context, frame *buffer) error {
	if !s.sending.Load() {
		return fmt.Errorf("send after the end of sending: %w", ErrClosed)
	}
	if err := frame.sealWithin(min(s.c.max, s.c.peerMax)); err != nil {
		return err
	}
	return s.send(ctx, frame)
}

// CloseSend says that no further message will be sent. Sending afterwards is
// an error. After the end of the call there is nothing to say, and no error.
func (s *Stream) CloseSend(ctx context.Context) error {
	if !s.sending.Swap(false) { // the answer may come before the write has returned
		return nil
	}
	err := s.send(ctx, newFrame(header{typ: frameEnd, id: s.id}))
	if err == io.EOF {
		return nil
	}
	return err
}

func (s *Stream) send(ctx context.Context, frame *buffer) error {
	select {
	case <-s.quit: // a message that was given up may still be on its way and come after this one
		return s.cause
	default:
	}
	written := make(chan error, 1)
	if !s.c.tasks.start(func() {
		_, err := s.stream.Write(frame.frame())
		written <- err
	}) {
		return ErrClosed
	}
	select {
	case err := <-written:
		if err != nil {
			return io.EOF
		}
		frame.free()
		return nil
	case <-s.ended:
		return io.EOF
	case <-s.quit:
		return io.EOF
	case <-ctx.Done():
		s.Cancel(reason(ctx) == cancelDeadline)
		return ctx.Err()
	}
}

// Cancel ends the call if it has not ended yet: the handler's context ends,
// with [context.DeadlineExceeded] as its cause if a time limit was the reason.
// Cancelling again is harmless.
func (s *Stream) Cancel(deadline bool) {
	s.cancel.Do(func() {
		why := cancelCaller
		s.cause = context.Canceled
		if deadline {
			why, s.cause = cancelDeadline, context.DeadlineExceeded
		}
		close(s.quit)
		s.giveUp(why)
	})
}

// giveUp tells the worker that nobody wants the call any more, ends what waits
// on its stream, and says so to a caller who wants to know when it ends. It is
// called within s.cancel, so once at most.
func (s *Stream) giveUp(why byte) {
	s.c.cancel(s.id, why)
	s.ending.interrupt(s.stream)
	s.ending.abandoned()
}
