package server

import (
	"context"
	"net"
	"sync"

	"github.com/detached-workers/unref/transport"
)

// Listener returns a listener for the connections that parents make to this
// worker under name, with client.Worker.Dial. So that any protocol over
// net.Conn can be spoken with a worker, over the same socket, and ends with it:
//
//	go http.Serve(mux.Listener("http"), handler)
//
// A connection counts as a call in flight, but nobody waits for its end when the
// worker leaves. A parent's Dial succeeds before the connection is accepted, as
// with the backlog of any listener. Names of listeners and methods are
// one name space; taking a name twice panics.
func (m *Mux) Listener(name string) net.Listener {
	l := &listener{name: name, conns: make(chan net.Conn), closed: make(chan struct{})}
	m.register(name, transport.KindRaw, l.handle)
	return l
}

type listener struct {
	name   string
	conns  chan net.Conn // unbuffered
	once   sync.Once
	closed chan struct{}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close refuses further connections. Those that were accepted go on.
func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *listener) Addr() net.Addr { return &net.UnixAddr{Name: l.name, Net: "unix"} }

// handle lives as long as the connection.
func (l *listener) handle(ctx context.Context, call *transport.Call) ([]byte, error) {
	select {
	case <-l.closed:
		return nil, transport.Refuse(&transport.Error{Code: transport.CodeUnavailable, Message: "the listener is closed"})
	default:
	}
	stream, err := call.Hijack()
	if err != nil {
		return nil, err
	}
	ctx, ended := context.WithCancel(ctx)
	conn := &rawConn{stream, ended}
	defer func() { _ = conn.Close() }()
	select {
	case l.conns <- conn:
		<-ctx.Done()
	case <-l.closed:
	case <-ctx.Done():
	}
	return nil, nil
}

// rawConn ends its handler when it is closed, which may be done again.
type rawConn struct {
	net.Conn
	ended context.CancelFunc
}

func (c *rawConn) Close() error {
	defer c.ended()
	return c.Conn.Close()
}
