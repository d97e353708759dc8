package transport

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/yamux"
)

// rawConn gives a stream of raw bytes the manners of a [net.Conn], which
// yamux's has not: Close ends what waits in Read and Write and waits for
// nobody, and deadlines bound a write however full the connection is.
type rawConn struct {
	stream *yamux.Stream
	tasks  *tasks
	addr   net.Addr

	once   sync.Once
	closed chan struct{}

	writing sync.Mutex // held by Write, one at a time

	mu       sync.Mutex // protects what follows
	deadline time.Time  // of writes
	changed  chan struct{}
	broken   bool // a write was given up, and part of it may be on its way
}

func newRawConn(stream *yamux.Stream, tasks *tasks, name string) *rawConn {
	return &rawConn{
		stream:  stream,
		tasks:   tasks,
		addr:    &net.UnixAddr{Name: name, Net: "unix"},
		closed:  make(chan struct{}),
		changed: make(chan struct{}),
	}
}

func (c *rawConn) Read(p []byte) (int, error) {
	if c.isClosed() {
		return 0, net.ErrClosed
	}
	n, err := c.stream.Read(p)
	return n, c.manners(err)
}

// manners turns yamux's errors into those that users of net.Conn know.
func (c *rawConn) manners(err error) error {
	switch {
	case err == nil || err == io.EOF:
		return err
	case c.isClosed():
		return net.ErrClosed
	case errors.Is(err, yamux.ErrTimeout):
		return os.ErrDeadlineExceeded
	}
	return err
}

func (c *rawConn) isClosed() bool {
	select {
	case <-c.closed:
		return true
	default:
		return false
	}
}

// Write copies p, because what is given up may still be on its way.
func (c *rawConn) Write(p []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	if err := c.mayWrite(); err != nil {
		return 0, err
	}
	data := append([]byte(nil), p...)
	written := make(chan error, 1)
	if !c.tasks.start(func() {
		_, err := c.stream.Write(data)
		written <- err
	}) {
		return 0, net.ErrClosed
	}
	if err := c.awaitWrite(written); err != nil {
		c.mu.Lock()
		c.broken = true
		c.mu.Unlock()
		return 0, err
	}
	return len(p), nil
}

func (c *rawConn) mayWrite() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.isClosed():
		return net.ErrClosed
	case !c.deadline.IsZero() && !time.Now().Before(c.deadline):
		return os.ErrDeadlineExceeded
	case c.broken:
		return io.ErrClosedPipe
	}
	return nil
}

// awaitWrite waits for the write, the deadline as it stands then, or Close.
func (c *rawConn) awaitWrite(written <-chan error) error {
	for {
		c.mu.Lock()
		deadline, changed := c.deadline, c.changed
		c.mu.Unlock()
		var expired <-chan time.Time
		if !deadline.IsZero() {
			timer := time.NewTimer(time.Until(deadline))
			defer timer.Stop()
			expired = timer.C
		}
		select {
		case err := <-written:
			return c.manners(err)
		case <-c.closed:
			return net.ErrClosed
		case <-expired:
			return os.ErrDeadlineExceeded
		case <-changed:
		}
	}
}

// CloseWrite says that no more will be written; the other side reads io.EOF.
func (c *rawConn) CloseWrite() error {
	c.tasks.start(func() { c.stream.Close() })
	return nil
}

// Close ends the connection at once. Closing again is harmless.
func (c *rawConn) Close() error {
	c.once.Do(func() {
		close(c.closed)
		c.stream.SetDeadline(past)
		c.tasks.start(func() { c.stream.Close() })
	})
	return nil
}

func (c *rawConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

func (c *rawConn) SetReadDeadline(t time.Time) error {
	if c.isClosed() {
		return net.ErrClosed
	}
	return c.stream.SetReadDeadline(t)
}

func (c *rawConn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	close(c.changed)
	c.changed = make(chan struct{})
	return nil
}

// LocalAddr and RemoteAddr name the listener.
func (c *rawConn) LocalAddr() net.Addr  { return c.addr }
func (c *rawConn) RemoteAddr() net.Addr { return c.addr }
