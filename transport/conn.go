package transport

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/hashicorp/yamux"
)

// maxIdleStreams is how many streams a connection keeps for further calls.
const maxIdleStreams = 16

// DialConfig is what [Dial] needs beside the path.
type DialConfig struct {
	// Hello is said to the worker. Its MaxMessage is set from the next field.
	Hello Hello

	// MaxMessage limits, in bytes, each message in either direction. Zero
	// means [DefaultMaxMessage], negative means none but the format's, 2 GiB.
	MaxMessage int

	// Bell is called when the worker has written output. It must not block.
	// Nil means not at all.
	Bell func()

	// Ended is called once when the connection has ended, unless it was this
	// side that closed it. It must not wait for the connection's Close. Nil
	// means not at all.
	Ended func()
}

// Conn is the caller's side of a connection. All methods are safe for
// concurrent use.
type Conn struct {
	welcome Welcome
	session *yamux.Session
	lane    *lane
	tasks   tasks
	max     int // largest message that this side takes
	peerMax int // largest message that the worker takes
	bell    func()
	ended   func()
	done    chan struct{} // closed when the connection has ended
	closing chan struct{} // closed when this side closes the connection

	mu       sync.Mutex // protects what follows
	calls    map[uint64]chan reply
	lastID   uint64
	idle     []*yamux.Stream // open, with no call on them
	draining bool            // the worker takes no new calls
	closed   bool            // closing is closed
	fault    error           // what a stream failed with, on which the connection was given up
	err      error           // why the connection ended, before done is closed
}

// reply is a frame for a call.
type reply struct {
	header
	payload []byte
}

// ErrNoHandshake reports that a process took the connection and did not answer
// the handshake.
var ErrNoHandshake = errors.New("no answer to the handshake")

// Dial connects to the worker that listens at path and shakes hands. ctx
// bounds the dialling only. A refused handshake is a [*MismatchError]; no
// answer is [ErrNoHandshake].
func Dial(ctx context.Context, path string, cfg DialConfig) (*Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	c, err := newConn(ctx, conn, cfg)
	if err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

func newConn(ctx context.Context, conn net.Conn, cfg DialConfig) (*Conn, error) {
	cfg.Hello.MaxMessage = maxMessage(cfg.MaxMessage)
	welcome, err := handshake(ctx, conn, cfg.Hello)
	if err != nil {
		return nil, err
	}
	session, err := yamux.Client(&joined{Conn: conn}, yamuxConfig())
	if err != nil {
		return nil, err
	}
	stream, err := session.OpenStream()
	if err != nil {
		session.Close()
		return nil, fmt.Errorf("open the call lane: %w", err)
	}
	c := &Conn{
		welcome: welcome,
		session: session,
		max:     maxMessage(cfg.MaxMessage),
		peerMax: welcome.MaxMessage,
		bell:    cfg.Bell,
		ended:   cfg.Ended,
		done:    make(chan struct{}),
		closing: make(chan struct{}),
		calls:   make(map[uint64]chan reply),
	}
	c.lane = newLane(stream, &c.tasks)
	c.tasks.start(c.readLane)
	return c, nil
}

// handshake greets within ctx.
func handshake(ctx context.Context, conn net.Conn, hello Hello) (Welcome, error) {
	if err := checkPeer(conn); err != nil {
		return Welcome{}, err
	}
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(past) })
	welcome, err := greet(conn, hello)
	if !stop() {
		err = ctx.Err()
	}
	if _, refused := errors.AsType[*MismatchError](err); err != nil && !refused && !errors.Is(err, ErrProtocol) {
		err = fmt.Errorf("%w: %w", ErrNoHandshake, err)
	}
	return welcome, err
}

// Welcome returns what the worker said of itself.
func (c *Conn) Welcome() Welcome { return c.welcome }

// Done is closed when the connection has ended, for whatever reason.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err says why the connection ended: nil before that, then [ErrClosed] or an
// error that wraps [ErrConnectionLost].
func (c *Conn) Err() error {
	select {
	case <-c.done:
		return c.err
	default:
		return nil
	}
}

// Close ends the connection and waits until nothing of it runs any more. Calls
// in flight fail with [ErrClosed].
func (c *Conn) Close() error {
	c.mu.Lock()
	if !c.closed {
		c.closed = true
		close(c.closing)
	}
	c.mu.Unlock()
	c.session.Close()
	c.tasks.wait()
	return nil
}

// readLane runs until the connection ends, and ends it in order.
func (c *Conn) readLane() {
	err := c.lane.read(c.handle)
	if !errors.Is(err, ErrProtocol) {
		c.session.Close()
		err = cmp.Or(sessionFault(c.session), err)
	}
	c.mu.Lock()
	if c.fault != nil && !errors.Is(err, ErrProtocol) {
		err = c.fault
	}
	c.err = fmt.Errorf("%w: %w", ErrConnectionLost, noEOF(err))
	closed := c.closed
	if closed {
		c.err = ErrClosed
	}
	c.mu.Unlock()
	close(c.done)
	c.session.Close()
	if c.ended != nil && !closed {
		c.ended()
	}
}

// handle takes a frame from the lane. Frames of calls that nobody waits for
// any more are dropped: a late answer reaches nobody.
func (c *Conn) handle(h header, payload []byte) error {
	switch h.typ {
	case frameBell:
		if c.bell != nil {
			c.bell()
		}
	case frameGoAway:
		c.mu.Lock()
		c.draining = true
		c.mu.Unlock()
	case frameResult, frameFail, frameLarge:
		c.mu.Lock()
		ch := c.calls[h.id]
		delete(c.calls, h.id)
		c.mu.Unlock()
		if ch != nil {
			ch <- reply{h, payload} // has room: each call gets one frame here
		}
	default:
		return fmt.Errorf("%w: frame of type %d from the worker on the call lane", ErrProtocol, h.typ)
	}
	return nil
}

// register enters a call that waits for a frame from the lane.
func (c *Conn) register(method string) (uint64, chan reply, error) {
	id, err := c.newID(method)
	if err != nil {
		return 0, nil, err
	}
	ch := make(chan reply, 1)
	c.mu.Lock()
	c.calls[id] = ch
	c.mu.Unlock()
	return id, ch, nil
}

// newID returns a number for a call, if calls may still be made.
func (c *Conn) newID(method string) (uint64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return 0, fmt.Errorf("%w: %w", ErrNotSent, ErrClosed)
	case c.err != nil:
		return 0, fmt.Errorf("%w: %w", ErrNotSent, c.err)
	case c.draining:
		return 0, notRun(CodeUnavailable, method, "the worker is leaving")
	}
	c.lastID++
	return c.lastID, nil
}

func (c *Conn) forget(id uint64) {
	c.mu.Lock()
	delete(c.calls, id)
	c.mu.Unlock()
}

// Call makes a unary call and returns the encoded reply. ctx bounds it on both
// sides. Errors: an [*Error] from the worker or for a message over a limit,
// ctx's error, [ErrClosed], or one that wraps [ErrConnectionLost]; those that
// wrap [ErrNotSent] say that no handler can have seen the call.
func (c *Conn) Call(ctx context.Context, req Request) ([]byte, error) {
	head, err := c.encode(ctx, &req)
	if err != nil {
		return nil, err
	}
	var r reply
	if len(head)+len(req.Body) > laneMax {
		r, err = c.callOnStream(ctx, &req, head)
	} else {
		r, err = c.callOnLane(ctx, &req, head)
	}
	if err != nil {
		return nil, err
	}
	if r.typ == frameFail {
		return nil, decodeFail(r.payload)
	}
	return r.payload, nil
}

// encode checks ctx and the limit and returns the request's header.
func (c *Conn) encode(ctx context.Context, req *Request) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotSent, err)
	}
	if limit := min(c.max, c.peerMax); len(req.Body) > limit {
		return nil, notRun(CodeTooLarge, req.Method, "request of %d bytes, limit %d", len(req.Body), limit)
	}
	head, err := req.encode(ctx)
	if err != nil {
		return nil, err
	}
	if len(head) > laneMax {
		return nil, notRun(CodeTooLarge, req.Method, "metadata of %d bytes, limit %d", len(head), laneMax)
	}
	return head, nil
}

func (c *Conn) callOnLane(ctx context.Context, req *Request, head []byte) (reply, error) {
	id, ch, err := c.register(req.Method)
	if err != nil {
		return reply{}, err
	}
	if err := c.lane.send(id, newFrame(header{typ: frameRequest, flags: flagEnd, id: id}, head, req.Body)); err != nil {
		c.forget(id)
		return reply{}, fmt.Errorf("%w: %w: %w", ErrNotSent, ErrConnectionLost, err)
	}
	r, err := c.await(ctx, id, ch)
	if err != nil {
		c.forget(id)
		return reply{}, err
	}
	if r.typ == frameLarge {
		return c.fetch(ctx, id)
	}
	return r, nil
}

// await waits for the frame of a call on the lane.
func (c *Conn) await(ctx context.Context, id uint64, ch chan reply) (reply, error) {
	select {
	case r := <-ch:
		return r, nil
	case <-ctx.Done():
		if c.lane.takeBack(id) {
			return reply{}, fmt.Errorf("%w: %w", ErrNotSent, ctx.Err())
		}
		c.cancel(id, reason(ctx))
		return reply{}, ctx.Err()
	case <-c.done:
	}
	select {
	case r := <-ch: // it came before the connection ended
		return r, nil
	default:
	}
	if c.lane.takeBack(id) {
		return reply{}, fmt.Errorf("%w: %w", ErrNotSent, c.err)
	}
	return reply{}, c.err
}

// cancel tells the worker that nobody waits for call id any more.
func (c *Conn) cancel(id uint64, why byte) {
	// If the lane has failed, the end of the connection cancels the call.
	_ = c.lane.send(id, newFrame(header{typ: frameCancel, id: id}, []byte{why}))
}
