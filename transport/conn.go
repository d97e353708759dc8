package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

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
	output  *os.File
	session *yamux.Session
	wire    *wire
	lane    *lane
	tasks   tasks
	max     int // largest message that this side takes
	peerMax int // largest message that the worker takes
	bell    func()
	ended   func()
	done    chan struct{} // closed when the connection has ended
	closing chan struct{} // closed when this side closes the connection

	lone lone

	shrinker shrinker

	mu       sync.Mutex // protects what follows
	calls    map[uint64]*waiter
	alarm    alarm
	lastID   uint64
	idle     []*yamux.Stream // open, with no call on them
	draining bool            // the worker takes no new calls
	closed   bool            // closing is closed
	fault    error           // what a stream failed with, on which the connection was given up
	err      error           // why the connection ended, before done is closed

	// Calls on the lane that were given up, with what is to be closed when they
	// have ended; only those whose callers want to know. Nil until there is one.
	abandoned map[uint64]chan struct{}
}

// reply is a frame for a call, or stands for one that does not come any more.
type reply struct {
	header
	buf *buffer
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
	welcome, output, err := handshake(ctx, conn, cfg.Hello)
	if err != nil {
		return nil, err
	}
	c := &Conn{
		welcome: welcome,
		output:  output,
		max:     maxMessage(cfg.MaxMessage),
		peerMax: welcome.MaxMessage,
		bell:    cfg.Bell,
		ended:   cfg.Ended,
		done:    make(chan struct{}),
		closing: make(chan struct{}),
		calls:   make(map[uint64]*waiter),
	}
	c.shrinker.tasks = &c.tasks
	c.lane = newLane(&c.tasks, c.handle)
	c.wire = newWire(conn, c.lane, c.lend)
	close(c.wire.ready)
	if err := c.open(); err != nil {
		if output != nil {
			output.Close()
		}
		return nil, fmt.Errorf("open the call lane: %w", err)
	}
	c.tasks.start(c.watch)
	return c, nil
}

// open begins the session with the call lane. The lane's stream itself is never
// used: its data goes past yamux.
func (c *Conn) open() (err error) {
	if c.session, err = yamux.Client(c.wire, yamuxConfig()); err != nil {
		return err
	}
	if _, err = c.session.OpenStream(); err != nil {
		c.session.Close()
	}
	return err
}

// handshake greets within ctx.
func handshake(ctx context.Context, conn net.Conn, hello Hello) (Welcome, *os.File, error) {
	if err := checkPeer(conn); err != nil {
		return Welcome{}, nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(past) })
	welcome, output, err := greet(conn, hello)
	if !stop() && err == nil {
		if output != nil {
			output.Close()
		}
		output, err = nil, ctx.Err()
	}
	if _, refused := errors.AsType[*MismatchError](err); err != nil && !refused && !errors.Is(err, ErrProtocol) {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		err = fmt.Errorf("%w: %w", ErrNoHandshake, err)
	}
	return welcome, output, err
}

// Welcome returns what the worker said of itself.
func (c *Conn) Welcome() Welcome { return c.welcome }

// Output returns the file of the worker's output if the hello asked for it with
// [FeatureOutput] and it came along, else nil. It is the caller's to close.
func (c *Conn) Output() *os.File { return c.output }

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

// Linger is Close for a connection that the other side has ended: streams may be
// read on to the end of what has come, for d at most.
func (c *Conn) Linger(d time.Duration) {
	<-c.done
	defer time.AfterFunc(d, func() { c.Close() }).Stop()
	c.tasks.wait()
	c.Close()
}

// watch runs until the session has ended, and ends the connection in order.
func (c *Conn) watch() {
	<-c.session.CloseChan()
	c.session.Close() // returns when all that came has been handled
	err := sessionFault(c.session)
	c.mu.Lock()
	if c.fault != nil && !errors.Is(err, ErrProtocol) {
		err = c.fault
	}
	c.err = fmt.Errorf("%w: %w", ErrConnectionLost, noEOF(err))
	closed := c.closed
	if closed {
		c.err = ErrClosed
	}
	calls, abandoned := c.calls, c.abandoned
	c.calls, c.abandoned = nil, nil
	if c.alarm.timer != nil {
		c.alarm.timer.Stop()
	}
	c.shrinker.stop()
	c.mu.Unlock()
	close(c.done)
	for _, w := range calls {
		w.reply <- reply{header: header{typ: frameLost}} // has room: each call gets one
	}
	for _, ended := range abandoned {
		close(ended)
	}
	if c.ended != nil && !closed {
		c.ended()
	}
}

// handle takes a frame from the lane. Frames of calls that nobody waits for
// any more are dropped: a late answer reaches nobody. That it came may be of
// interest: whichever it is, the handler has returned.
func (c *Conn) handle(h header, payload *buffer) error {
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
		w := c.calls[h.id]
		delete(c.calls, h.id)
		if w == nil {
			c.endedLate(h.id)
		}
		alone := len(c.calls) == 0
		c.mu.Unlock()
		c.answered(alone)
		if w == nil {
			payload.free()
			break
		}
		w.reply <- reply{h, payload} // has room: each call gets one
	default:
		return fmt.Errorf("%w: frame of type %d from the worker on the call lane", ErrProtocol, h.typ)
	}
	return nil
}

// register enters a call that waits for a frame from the lane. crowded tells
// whether there are others.
func (c *Conn) register(method string, w *waiter) (id uint64, crowded bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if id, err = c.nextID(method); err != nil {
		return 0, false, err
	}
	crowded = len(c.calls) > 0
	c.calls[id] = w
	if !w.deadline.IsZero() {
		c.alarm.set(w.deadline, c.ring)
	}
	return id, crowded, nil
}

func (c *Conn) newID(method string) (uint64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nextID(method)
}

// nextID returns a number for a call, if calls may still be made; mu is held.
func (c *Conn) nextID(method string) (uint64, error) {
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

// forget gives up a call. Its waiter is not used again if a reply is on its
// way to it.
func (c *Conn) forget(id uint64, w *waiter) {
	c.mu.Lock()
	_, waits := c.calls[id]
	if waits {
		c.abandon(id, w)
	}
	c.mu.Unlock()
	if waits {
		waiters.Put(w)
	}
}

// Call makes a unary call and returns the encoded reply. ctx and the request's
// Timeout bound it on both sides. Errors: an [*Error] from the worker or for a
// message over a limit, ctx's error, [context.DeadlineExceeded] at the end of
// the Timeout, [ErrClosed], or one that wraps [ErrConnectionLost]; those that
// wrap [ErrNotSent] say that no handler can have seen the call.
func (c *Conn) Call(ctx context.Context, req Request) ([]byte, error) {
	r, err := c.call(ctx, &req)
	if err != nil {
		return nil, err
	}
	return r.buf.detach(), nil
}

// Invoke is [Conn.Call] with a function that decodes the reply, which must not
// keep it: its memory is used again. The error may also be decode's.
func (c *Conn) Invoke(ctx context.Context, req Request, decode func(reply []byte) error) error {
	r, err := c.call(ctx, &req)
	if err != nil {
		return err
	}
	defer r.buf.free()
	return decode(r.buf.bytes())
}

func (c *Conn) call(ctx context.Context, req *Request) (reply, error) {
	flags := flagEnd
	if req.Notify {
		flags |= flagNotify
	}
	frame, err := c.request(ctx, req, flags)
	if err != nil {
		return reply{}, err
	}
	var r reply
	if len(frame.payload()) > laneMax {
		r, err = c.callOnStream(ctx, req, frame)
	} else {
		r, err = c.callOnLane(ctx, req, frame)
	}
	if err == nil && r.typ == frameFail {
		return reply{}, decodeFail(r.buf.bytes())
	}
	return r, err
}

// request checks ctx, the request and the limits and returns a frame, which
// has no id yet.
func (c *Conn) request(ctx context.Context, req *Request, flags uint8) (*buffer, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotSent, err)
	}
	if err := req.check(); err != nil {
		return nil, err
	}
	if err := c.checkNotify(req, flags); err != nil {
		return nil, err
	}
	frame := newFrame(header{typ: frameRequest, flags: flags})
	frame.b = req.appendHeader(ctx, frame.b)
	head := len(frame.payload())
	if head > maxRequestHeader {
		return nil, notRun(CodeTooLarge, req.Method, "metadata of %d bytes, limit %d", head, maxRequestHeader)
	}
	if err := req.appendBody(frame); err != nil {
		return nil, err
	}
	if size, limit := len(frame.payload())-head, min(c.max, c.peerMax); size > limit {
		return nil, notRun(CodeTooLarge, req.Method, "request of %d bytes, limit %d", size, limit)
	}
	frame.seal()
	return frame, nil
}

// cancel tells the worker that nobody waits for call id any more.
func (c *Conn) cancel(id uint64, why byte) {
	// If the lane has failed, the end of the connection cancels the call.
	_ = c.lane.send(id, newFrame(header{typ: frameCancel, id: id}, []byte{why}), false)
}
