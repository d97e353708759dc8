package transport

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"

	"github.com/hashicorp/yamux"
)

// Hijack answers a call of [KindRaw] with a connection of raw bytes, which
// ends when the handler returns, or before that when the caller closes it or
// the call's context ends.
func (c *Call) Hijack() (net.Conn, error) {
	if c.Kind != KindRaw || c.raw != nil {
		return nil, fmt.Errorf("hijack %s: the call is %s, or was hijacked before", c.Method, c.Kind)
	}
	if err := c.conn.writeTo(c.stream, newFrame(header{typ: frameConnect, id: c.id})); err != nil {
		return nil, c.cause(err)
	}
	c.raw = newRawConn(c.stream, &c.conn.tasks, c.Method)
	c.Unawaited()
	return c.raw, nil
}

// Connect makes a call of [KindRaw] and returns the connection that the worker
// answers it with. ctx bounds the connecting only. Its errors are those of
// [Conn.Call].
func (c *Conn) Connect(ctx context.Context, req Request) (net.Conn, error) {
	req.Timeout = -1 // the connection outlives ctx
	frame, err := c.request(ctx, &req, flagRaw)
	if err != nil {
		return nil, err
	}
	id, err := c.newID(req.Method)
	if err != nil {
		return nil, err
	}
	frame.stamp(id)
	d := &connecting{
		conn:  c,
		id:    id,
		frame: frame,
		name:  req.Method,
		made:  make(chan net.Conn),
		fail:  make(chan error, 1),
		quit:  make(chan struct{}),
	}
	return d.wait(ctx)
}

// connecting is a connection on its way.
type connecting struct {
	conn     *Conn
	id       uint64
	frame    *buffer
	name     string // of the listener
	progress atomic.Int32
	made     chan net.Conn // unbuffered: what nobody takes is closed
	fail     chan error
	quit     chan struct{} // closed when nobody waits any more
}

func (d *connecting) wait(ctx context.Context) (net.Conn, error) {
	err := ErrClosed
	if d.conn.tasks.start(func() { d.run(ctx) }) {
		select {
		case conn := <-d.made:
			return conn, nil
		case err = <-d.fail:
		case <-ctx.Done():
		}
	}
	close(d.quit)
	unsent := d.progress.CompareAndSwap(exchangeWaiting, exchangeAbandoned)
	if e, ok := err.(*Error); ok && ctx.Err() == nil { //nolint:errorlint // the worker's own answer, unwrapped
		return nil, e
	}
	return nil, d.conn.exchangeError(ctx, d.id, err, unsent, ending{})
}

// run uses the stream in a goroutine, because yamux may hold a writer for as
// long as the worker does not read.
func (d *connecting) run(ctx context.Context) {
	d.conn.attend()
	stream, err := d.conn.session.OpenStream()
	if err != nil {
		d.fail <- err
		return
	}
	stop := context.AfterFunc(ctx, func() { stream.SetDeadline(past) })
	err = d.connect(stream)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		d.fail <- err
		stream.Close()
		return
	}
	conn := newRawConn(stream, &d.conn.tasks, d.name)
	select {
	case d.made <- conn:
	case <-d.quit:
		_ = conn.Close()
	}
}

func (d *connecting) connect(stream *yamux.Stream) error {
	if !d.progress.CompareAndSwap(exchangeWaiting, exchangeBegun) {
		return ErrNotSent
	}
	if _, err := stream.Write(d.frame.frame()); err != nil {
		return err
	}
	d.frame.free()
	r, err := d.conn.readFrame(stream, d.id)
	switch {
	case err != nil:
		return err
	case r.typ == frameConnect:
		return nil
	case r.typ == frameFail:
		return decodeFail(r.buf.bytes())
	default:
		return fmt.Errorf("%w: frame of type %d as an answer", ErrProtocol, r.typ)
	}
}
