package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/yamux"
)

// DefaultMaxCalls is how many calls one connection may have in flight where
// nothing else is set.
const DefaultMaxCalls = 10000

// AcceptConfig is what [Accept] needs beside the connection.
type AcceptConfig struct {
	// Self is what the worker says of itself. Its Version and MaxMessage are
	// set by the handshake.
	Self Welcome

	// Secret must be the caller's too.
	Secret []byte

	// MaxMessage limits, in bytes, each message in either direction. Zero
	// means [DefaultMaxMessage], negative means none but the format's, 2 GiB.
	MaxMessage int

	// MaxCalls limits the calls in flight on this connection; more are refused
	// with [CodeExhausted]. Zero means [DefaultMaxCalls], negative means none.
	MaxCalls int

	// Admit, if not nil, is called when the caller's hello is in order and
	// before it is answered. What a caller does before the answer it can do
	// again elsewhere: if Admit returns an error the connection is closed
	// without one, and Accept returns that error.
	Admit func(Hello) error

	// Failed, if not nil, is called with the error of a notification's handler
	// that came after the answer, and that nobody else hears of.
	Failed func(call *Call, err *Error)

	// Output is handed to callers that ask for it with [FeatureOutput], where
	// the system can do that. Nil means none.
	Output *os.File
}

// Handler answers a call with an encoded reply or an error. It runs in a
// goroutine of its own; ctx ends with the call's time, when the caller gives
// up, and when the connection ends.
type Handler func(ctx context.Context, call *Call) ([]byte, error)

// ServerConn is the worker's side of a connection.
type ServerConn struct {
	hello   Hello
	session *yamux.Session
	wire    *wire
	lane    *lane
	tasks   tasks
	max     int // largest message that this side takes
	peerMax int // largest message that the caller takes
	maxCall int // calls in flight, negative means any number
	handler Handler
	base    context.Context // that of Serve: notifications outlive the connection
	failed  func(*Call, *Error)

	shrinker shrinker

	handlers chan job     // unbuffered, from who reads to idle handlers
	idle     atomic.Int32 // handlers that wait

	pending *Call                // of whoever has the baton: may be run with it
	carried atomic.Pointer[pace] // of the call that was given the baton last

	mu       sync.Mutex // protects what follows
	calls    map[uint64]*inflight
	paces    map[string]*pace // of methods
	raws     int              // of the calls, those that Drain does not wait for
	notified int              // of the calls, notifications
	early    []uint64         // cancelled calls whose request may still come
	unsent   int              // answers of calls that are not in flight any more, on their way to the lane
	draining bool
	drained  chan struct{} // closed when nothing is in flight while draining
	lost     bool          // the connection has ended
	err      error         // how the caller broke the protocol
}

// Accept shakes hands on a connection that a listener accepted and closes it
// if that fails. ctx bounds the handshake: without a deadline in it a silent
// caller holds Accept for ever.
func Accept(ctx context.Context, conn net.Conn, cfg AcceptConfig) (*ServerConn, error) {
	c, err := accept(ctx, conn, cfg)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("accept a connection: %w", err)
	}
	return c, nil
}

func accept(ctx context.Context, conn net.Conn, cfg AcceptConfig) (*ServerConn, error) {
	if err := checkPeer(conn); err != nil {
		return nil, err
	}
	cfg.Self.MaxMessage = maxMessage(cfg.MaxMessage)
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(past) })
	hello, err := receive(conn, cfg)
	if !stop() {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	c := &ServerConn{
		hello:   hello,
		max:     cfg.Self.MaxMessage,
		peerMax: hello.MaxMessage,
		maxCall: cfg.MaxCalls,
		failed:  cfg.Failed,
		calls:   make(map[uint64]*inflight),
		paces:   make(map[string]*pace),

		handlers: make(chan job),
	}
	if c.maxCall == 0 {
		c.maxCall = DefaultMaxCalls
	}
	c.shrinker.tasks = &c.tasks
	c.lane = newLane(&c.tasks, nil)
	c.wire = newWire(conn, c.lane, c.lend)
	c.wire.baton.late = c.late
	if c.session, err = yamux.Server(c.wire, yamuxConfig()); err != nil {
		return nil, err
	}
	// The stream itself is never used: the lane's data goes past yamux.
	stream, err := c.session.AcceptStreamWithContext(ctx)
	if err == nil && stream.StreamID() != laneStream {
		err = fmt.Errorf("%w: the first stream is number %d", ErrProtocol, stream.StreamID())
	}
	if err != nil {
		c.session.Close()
		return nil, fmt.Errorf("wait for the call lane: %w", err)
	}
	return c, nil
}

// Hello returns what the caller said of itself.
func (c *ServerConn) Hello() Hello { return c.hello }

// Serve answers calls until the connection ends, ctx ends, or [ServerConn.Close]
// is called, and returns when all handlers have returned. The error wraps
// [ErrProtocol] if the caller broke the protocol. It may be called once.
func (c *ServerConn) Serve(ctx context.Context, handle Handler) error {
	c.base = ctx
	ctx, cancel := context.WithCancelCause(ctx)
	defer c.tasks.wait()
	defer c.lose()
	defer cancel(ErrConnectionLost)
	defer c.session.Close()
	defer c.shrinker.stop()
	stop := context.AfterFunc(ctx, func() { c.session.Close() })
	defer stop()

	c.handler = handle
	c.lane.handle = func(h header, payload *buffer) error { return c.frame(ctx, h, payload) }
	close(c.wire.ready)
	for {
		stream, err := c.session.AcceptStream()
		if err != nil {
			return c.ended(sessionFault(c.session))
		}
		c.tasks.start(func() { c.serveStream(ctx, stream) })
	}
}

// broken ends the connection, and keeps the reason if it is the caller's fault.
func (c *ServerConn) broken(err error) {
	c.mu.Lock()
	if c.err == nil && errors.Is(err, ErrProtocol) {
		c.err = err
	}
	c.mu.Unlock()
	c.session.Close()
}

// ended prefers the caller's fault to what it did to the session.
func (c *ServerConn) ended(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	return err
}

// Close ends the connection at once.
func (c *ServerConn) Close() error { return c.session.Close() }

// Ring tells the caller that output was written. It never blocks.
func (c *ServerConn) Ring() { c.lane.ring() }

// Drain refuses new calls, waits until those in flight are answered and their
// answers written and until notifications are done, those also if the connection
// ends, and returns. ctx bounds the wait. It needs Serve to run or to have run.
func (c *ServerConn) Drain(ctx context.Context) error {
	c.mu.Lock()
	if !c.draining {
		c.draining = true
		c.drained = make(chan struct{})
		c.checkDrained()
	}
	drained := c.drained
	c.mu.Unlock()
	// The lane refuses it only when the connection has ended.
	_ = c.lane.send(0, newFrame(header{typ: frameGoAway}), false)
	select {
	case <-drained:
	case <-ctx.Done():
		return ctx.Err()
	}
	if c.session.IsClosed() {
		return nil
	}
	return c.lane.drain(ctx)
}

// frame takes a frame from the lane.
func (c *ServerConn) frame(ctx context.Context, h header, payload *buffer) error {
	switch h.typ {
	case frameRequest:
		if c.maxCall >= 0 && c.lane.backlog() > max(c.maxCall, DefaultMaxCalls) {
			return fmt.Errorf("%w: the caller does not read", ErrProtocol)
		}
		call, err := c.newCall(h, payload)
		if err != nil {
			return err
		}
		if call.Kind != KindUnary {
			return fmt.Errorf("%w: a call with messages on the call lane", ErrProtocol)
		}
		if refusal := c.begin(ctx, call); refusal != nil {
			return c.lane.send(call.id, newFrame(header{typ: frameFail, id: call.id}, encodeFail(refusal)), true)
		}
		if err := c.schedule(call); err != nil {
			c.end(call.id)
			return err
		}
		return nil
	case frameCancel:
		c.cancel(h.id, payload.bytes())
		payload.free()
		return nil
	default:
		return fmt.Errorf("%w: frame of type %d from the caller on the call lane", ErrProtocol, h.typ)
	}
}

func (c *ServerConn) newCall(h header, payload *buffer) (*Call, error) {
	if !validFlags(h.flags) {
		return nil, fmt.Errorf("%w: request with flags %#x", ErrProtocol, h.flags)
	}
	head, body, err := decodeRequest(payload.bytes())
	if err != nil {
		return nil, err
	}
	call := &Call{
		Method:   head.Method,
		Metadata: head.Metadata,
		Body:     body,
		Kind:     kindOfCall(h.flags),
		Notify:   h.flags&flagNotify != 0,
		Peer:     c.hello,
		id:       h.id,
		request:  payload,
		conn:     c,
		began:    time.Now(),
		ended:    h.flags&flagEnd != 0,
	}
	if head.Timeout > 0 && !call.Notify {
		call.context.deadline = call.began.Add(time.Duration(head.Timeout))
	}
	return call, nil
}

// run calls the handler and sees to it that the call is answered once, however
// the handler ends.
func (c *ServerConn) run(call *Call, answer func(*Call, *buffer)) {
	var result []byte
	var err error = &Error{Code: CodeAborted, Message: "the handler ended its goroutine without an answer (runtime.Goexit)"}
	defer func() {
		if p := recover(); p != nil {
			result, err = nil, panicError(p)
		}
		if call.Notify {
			defer call.context.end(nil)
			result = nil // which nobody takes
		}
		if call.told {
			c.settle(call, err)
			return
		}
		frame := c.terminal(call, result, err)
		call.returned()
		answer(call, frame)
	}()
	result, err = c.handler(&call.context, call)
}

// panicError keeps the stack, which is that of the goroutine that panicked.
func panicError(p any) *Error {
	e := &Error{Code: CodePanic, Message: fmt.Sprint(p), Stack: string(debug.Stack())}
	if err, ok := p.(error); ok {
		e.Causes = []*Error{ErrorOf(err)}
	}
	return e
}

// terminal returns the frame that ends the call.
func (c *ServerConn) terminal(call *Call, result []byte, err error) *buffer {
	if err == nil && len(result) > min(c.max, c.peerMax) {
		err = &Error{Code: CodeTooLarge, Message: fmt.Sprintf("reply of %d bytes, limit %d", len(result), min(c.max, c.peerMax))}
	}
	if err == nil {
		if frame := call.encoded(result); frame != nil {
			return frame
		}
		return newFrame(header{typ: frameResult, id: call.id}, result)
	}
	e := ErrorOf(err)
	if e.Method == "" {
		e.Method = call.Method
	}
	return newFrame(header{typ: frameFail, id: call.id}, encodeFail(e))
}

// answerOnLane sends the terminal frame, or parks it and says so if it is too
// large for the lane. A call that was cancelled is answered too: its caller may
// want to know that it has ended.
func (c *ServerConn) answerOnLane(call *Call, frame *buffer) {
	if len(frame.payload()) > laneMax {
		if c.park(call, frame) {
			_ = c.lane.send(call.id, newFrame(header{typ: frameLarge, id: call.id}), false)
			return
		}
		frame.free()
		frame = resultGone(call.id)
	}
	crowded := c.answering(call)
	if call.batched {
		c.lane.post(call.id, frame)
	} else {
		_ = c.lane.send(call.id, frame, crowded) // fails only when the connection has ended
	}
	c.answered()
}

// resultGone returns the frame that stands for a result that was dropped because
// the call was cancelled.
func resultGone(id uint64) *buffer {
	gone := &Error{Code: CodeCanceled, Message: "the result is gone"}
	return newFrame(header{typ: frameFail, id: id}, encodeFail(gone))
}
