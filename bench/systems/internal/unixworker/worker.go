// Package unixworker starts and finds workers for systems that speak over a
// Unix socket and leave the process to their users.
//
// At any point in time such a worker is watched by nobody from here, and watches
// nobody by what is here: it lives until somebody ends it, unless the system
// itself makes it leave. Start with [Main].
package unixworker

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"

	"github.com/detached-workers/unref/bench/harness"
)

// Main is [harness.Main] for a system whose workers run answer on a socket, and
// whose callers connect to that with dial.
func Main(s harness.System, answer func(net.Listener) error, dial Dial) {
	s.Worker = func() error { return serve(answer) }
	s.Start = dial.start
	s.Attach = dial.attach
	harness.Main(s)
}

// Orphan is what is true of a system that does nothing about it.
const Orphan = "stay: nothing ties them to their owner"

// Dial connects to the worker that listens on socket.
type Dial func(ctx context.Context, socket string) (Client, error)

// Client is a system's connection to a worker.
type Client interface {
	// Caller is that of [harness.Worker].
	Caller(ctx context.Context) (harness.Caller, error)

	// Close closes the connection and leaves the worker alone.
	Close() error
}

func (d Dial) start(ctx context.Context) (harness.Worker, error) {
	c, err := startChild(ctx)
	if err != nil {
		return nil, err
	}
	client, err := d(ctx, c.socket)
	if err != nil {
		return nil, errors.Join(err, c.close())
	}
	return owned{Client: client, child: c}, nil
}

func (d Dial) attach(ctx context.Context, socket string) (harness.Worker, error) {
	client, err := d(ctx, socket)
	if err != nil {
		return nil, err
	}
	return attached{Client: client, socket: socket}, nil
}

// owned is a worker that this process started.
type owned struct {
	Client
	child *child
}

func (w owned) Pid() int        { return w.child.cmd.Process.Pid }
func (w owned) Address() string { return w.child.socket }
func (w owned) Close() error    { return errors.Join(w.Client.Close(), w.child.close()) }

// attached is a worker that another process started.
type attached struct {
	Client
	socket string
}

// Pid returns 0, because a socket does not tell.
func (w attached) Pid() int        { return 0 }
func (w attached) Address() string { return w.socket }

// Conn is a caller and the connection that it uses.
type Conn interface {
	harness.Caller
	io.Closer
}

// Open makes a connection to the worker that listens on socket.
type Open func(ctx context.Context, socket string) (Conn, error)

// Shared connects with one connection for all callers.
func Shared(open Open) Dial {
	return func(ctx context.Context, socket string) (Client, error) {
		c, err := open(ctx, socket)
		return shared{c}, err
	}
}

type shared struct{ Conn }

func (s shared) Caller(context.Context) (harness.Caller, error) { return s.Conn, nil }

// Separate connects with a connection for each caller.
func Separate(open Open) Dial {
	return func(_ context.Context, socket string) (Client, error) {
		return &separate{socket: socket, open: open}, nil
	}
}

type separate struct {
	socket string
	open   Open

	mu    sync.Mutex // of conns
	conns []Conn
}

func (s *separate) Caller(ctx context.Context) (harness.Caller, error) {
	c, err := s.open(ctx, s.socket)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns = append(s.conns, c)
	return c, nil
}

func (s *separate) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, c := range s.conns {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}
