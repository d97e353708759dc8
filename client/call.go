package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/detached-workers/unref/transport"
)

// Invoke makes a unary call; [Call] is its typed form.
func (w *Worker) Invoke(ctx context.Context, req *Request, reply any) error {
	a := w.attempt(req)
	if req.Kind != transport.KindUnary {
		return a.wrongKind(req.Kind)
	}
	err := w.call(ctx, &a, req.transported(), reply)
	if err != nil {
		return a.explain(ctx, err)
	}
	return nil
}

// transported returns what the transport has to know of the request.
func (r *Request) transported() transport.Request {
	return transport.Request{Method: r.Method, Metadata: r.Metadata, Value: r.Body, Notify: r.Notify, Abandoned: r.abandoned}
}

// decode decodes a reply into v, nil to ignore it.
func (w *Worker) decode(data []byte, v any) error {
	if v == nil || len(data) == 0 {
		return nil
	}
	return w.codec.Decode(data, v)
}

func (w *Worker) attempt(req *Request) attempt {
	return attempt{w: w, method: req.Method, started: time.Now(), limit: w.dialer.limit(req)}
}

// within returns a context that ends with the call's limit.
func (a *attempt) within(ctx context.Context) (context.Context, context.CancelFunc) {
	if a.limit == 0 {
		return ctx, func() {}
	}
	return context.WithDeadline(ctx, a.started.Add(a.limit))
}

// timeout returns what is left of the call's limit, or 0 if ctx ends before.
func (a *attempt) timeout(ctx context.Context) time.Duration {
	if a.limit == 0 {
		return 0
	}
	end := a.started.Add(a.limit)
	if deadline, ok := ctx.Deadline(); ok && deadline.Before(end) {
		return 0
	}
	return max(1, time.Until(end))
}

// call makes the call on the current connection. A call that was not sent
// because the connection broke is made again on the next one.
func (w *Worker) call(ctx context.Context, a *attempt, req transport.Request, reply any) error {
	return w.onLink(ctx, a, func(l *link) error {
		req.Timeout = a.timeout(ctx) // a context with the limit would cost more than the rest of the call
		return l.conn.Invoke(ctx, req, func(data []byte) error { return w.decode(data, reply) })
	})
}

// onLink runs f on a connection, again if that broke before f sent anything.
func (w *Worker) onLink(ctx context.Context, a *attempt, f func(*link) error) error {
	for {
		l, err := w.usable()
		if err == nil {
			err = a.wait(ctx, l)
		}
		if err != nil {
			return notSent(err)
		}
		err = f(l)
		if !brokenLink(err) {
			return err
		}
		why := a.verdict(ctx, l)
		switch {
		case !errors.Is(err, transport.ErrNotSent):
			return why
		case !errors.Is(why, ErrConnectionLost):
			return notSent(why)
		}
	}
}

// usable returns the link for the next call, if calls may still be made.
func (w *Worker) usable() (*link, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil, ErrClosed
	}
	return w.link, nil
}

// wait returns when there is a connection.
func (a *attempt) wait(ctx context.Context, l *link) error {
	select {
	case <-l.up:
		return l.err
	default:
	}
	ctx, cancel := a.within(ctx)
	defer cancel()
	return l.wait(ctx)
}

// verdict waits until it is known why the connection ended.
func (a *attempt) verdict(ctx context.Context, l *link) error {
	ctx, cancel := a.within(ctx)
	defer cancel()
	return l.verdict(ctx)
}

// brokenLink reports whether err says that the connection ended.
func brokenLink(err error) bool {
	return errors.Is(err, transport.ErrConnectionLost) || errors.Is(err, transport.ErrClosed)
}

func notSent(err error) error { return fmt.Errorf("%w: %w", transport.ErrNotSent, err) }

// Open starts a call with messages; [Stream] and the function [Open] are its
// typed forms.
func (w *Worker) Open(ctx context.Context, req *Request) (*Messages, error) {
	a := w.attempt(req)
	if req.Kind != transport.KindStream && req.Kind != transport.KindBidi {
		return nil, a.wrongKind(req.Kind)
	}
	m := &Messages{ctx: ctx, attempt: &a, finished: req.finished}
	opening, cancel := a.within(ctx)
	defer cancel()
	err := w.onLink(opening, &a, func(l *link) (err error) {
		m.link = l
		treq := req.transported()
		treq.Timeout = remaining(ctx) // the per-message timeout bounds the opening, and not the whole call
		m.stream, err = l.conn.Open(opening, treq, req.Kind == transport.KindStream)
		return err
	})
	if err != nil {
		return nil, a.explain(ctx, err)
	}
	m.stop = context.AfterFunc(ctx, m.expire)
	return m, nil
}

// remaining returns how much time ctx leaves, negative if any amount.
func remaining(ctx context.Context) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return max(1, time.Until(deadline))
	}
	return -1
}

// Dial connects to the listener that the worker has under name, see
// server.Mux.Listener, and returns a connection of raw bytes. ctx and the
// timeout for the method of that name bound the connecting only; the connection
// ends when it is closed, and with the worker.
func (w *Worker) Dial(ctx context.Context, name string) (net.Conn, error) {
	a := w.attempt(&Request{Method: name})
	callCtx, cancel := a.within(ctx)
	defer cancel()
	var conn net.Conn
	err := w.onLink(callCtx, &a, func(l *link) (err error) {
		conn, err = l.conn.Connect(callCtx, transport.Request{Method: name})
		return err
	})
	if err != nil {
		return nil, a.explain(ctx, err)
	}
	return conn, nil
}

// Messages is a call with messages, untyped. Send and Recv may be used from
// two goroutines at once, each from one. Read it to its end or close it.
type Messages struct {
	ctx     context.Context // of the call, as Open was given it
	stop    func() bool     // of the watch over ctx
	attempt *attempt
	link    *link
	stream  *transport.Stream

	once  sync.Once
	fault error // the first failure, which all later uses return

	// finished is called once, when the call has ended for its caller, and after
	// the request's abandoned: with io.EOF, with the error that is about to be
	// returned, with that of the context's end though nobody may be there to get
	// it, or with nil if Close ends the call; and with whether a message has come.
	// What it returns is returned in the place of that error. Nil means that nobody wants to know.
	finished func(err error, progress bool) error
	progress atomic.Bool // a message has come
	over     sync.Once   // finished was called
}

// fail keeps the first failure of the call and returns it.
func (m *Messages) fail(err error) error {
	m.once.Do(func() { m.fault = m.finish(err) })
	return m.fault
}

// finish says that the call has ended, unless that was said before, and returns
// the error to return.
func (m *Messages) finish(err error) error {
	m.over.Do(func() {
		if m.finished != nil {
			err = m.finished(err, m.progress.Load())
		}
	})
	return err
}

// expire ends the call with its context.
func (m *Messages) expire() {
	m.stream.Cancel(errors.Is(m.ctx.Err(), context.DeadlineExceeded))
	if m.finished != nil {
		_ = m.fail(m.attempt.explain(m.ctx, m.ctx.Err())) // for who reads, if anybody does
	}
}

// Recv decodes the next message into msg, a pointer. After the last message it
// returns io.EOF if the call succeeded, else its error. When no message comes
// within the per-message timeout the call is cancelled.
func (m *Messages) Recv(msg any) error {
	a := *m.attempt
	a.started = time.Now()
	ctx, cancel := a.within(m.ctx)
	defer cancel()
	data, err := m.stream.Recv(ctx)
	switch {
	case err == nil:
		codec := m.attempt.w.codec
		codec.Lend = true
		err = codec.Decode(data, msg)
	case err == io.EOF:
		m.stop()
		return m.fail(io.EOF) // or what Send has failed with before
	}
	if err == nil {
		m.progress.Store(true)
		return nil
	}
	return m.failed(ctx, &a, err)
}

// failed ends the call and says why.
func (m *Messages) failed(ctx context.Context, a *attempt, err error) error {
	m.stop()
	m.stream.Cancel(errors.Is(ctx.Err(), context.DeadlineExceeded))
	switch {
	case m.ctx.Err() != nil:
		err = m.ctx.Err()
	case brokenLink(err):
		err = m.link.verdict(ctx)
	}
	return m.fail(a.explain(m.ctx, err))
}

// Send sends a message. It waits while the worker is slow, for the per-message
// timeout at most, and then cancels the call. When the worker has ended the
// call Send returns io.EOF, and Recv says why.
func (m *Messages) Send(msg any) error {
	a := *m.attempt
	a.started = time.Now()
	ctx, cancel := a.within(m.ctx)
	defer cancel()
	return m.sent(ctx, &a, m.stream.SendValue(ctx, msg))
}

// CloseSend says that no further message will be sent.
func (m *Messages) CloseSend() error {
	a := *m.attempt
	a.started = time.Now()
	ctx, cancel := a.within(m.ctx)
	defer cancel()
	return m.sent(ctx, &a, m.stream.CloseSend(ctx))
}

func (m *Messages) sent(ctx context.Context, a *attempt, err error) error {
	_, refused := errors.AsType[*transport.Error](err)
	switch {
	case err == nil || err == io.EOF:
		return err
	case refused: // a message over the limit leaves the call as it is
		return a.explain(m.ctx, err)
	}
	return m.failed(ctx, a, err)
}

// Close cancels the call if it has not ended. It does not wait for the worker.
func (m *Messages) Close() error {
	m.stop()
	m.stream.Cancel(false)
	_ = m.finish(nil)
	return nil
}
