package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/yamux"
)

// Kind is the shape of a call, as its caller sees it.
type Kind int

// The kinds of calls.
const (
	KindUnary  Kind = iota // one request, one reply
	KindStream             // one request, a stream of messages back
	KindBidi               // a stream of messages each way
	KindRaw                // a connection of raw bytes
)

// String returns the kind's name: "unary", "stream", "bidi" or "raw".
func (k Kind) String() string {
	switch k {
	case KindUnary:
		return "unary"
	case KindStream:
		return "stream"
	case KindBidi:
		return "bidi"
	case KindRaw:
		return "raw"
	}
	return fmt.Sprintf("Kind(%d)", int(k))
}

// validFlags reports whether a request may have these flags.
func validFlags(flags uint8) bool {
	switch flags {
	case flagEnd, flagStream, flagEnd | flagStream, flagEnd | flagNotify, flagRaw:
		return true
	}
	return false
}

func kindOfCall(flags uint8) Kind {
	switch {
	case flags == flagRaw:
		return KindRaw
	case flags&flagStream == 0:
		return KindUnary
	case flags&flagEnd != 0:
		return KindStream
	default:
		return KindBidi
	}
}

// Call is a call as its handler sees it. Recv and Send may be called from two
// goroutines at once, each from one at a time, and not after the handler has
// returned.
type Call struct {
	Method   string
	Metadata map[string]string
	Body     []byte // the encoded request; empty if there was none; valid until the handler returns
	Kind     Kind
	Peer     Hello // what the caller said of itself

	// Notify says that the call is a notification, a unary call that is
	// answered when it was received: by [Call.Received], or else by the
	// handler's return. Its context has neither the caller's time limit nor
	// ends when the caller gives up or the connection ends, only with that of
	// [ServerConn.Serve].
	Notify bool

	id      uint64
	conn    *ServerConn
	stream  *yamux.Stream // nil for a call on the lane
	ended   bool          // the caller sends no more messages
	raw     *rawConn      // not nil once the stream carries raw bytes
	context callContext   // the handler's
	flight  inflight
	pace    *pace     // of the method; nil if it is not watched
	quick   bool      // may be run by who reads if nothing follows it
	tiny    bool      // may be run by who reads in any case
	batched bool      // who reads has run it, and sends the answer before it waits
	told    bool      // Received has answered it
	began   time.Time // when it came, or its goroutine began with it
	request *buffer   // what Body is in
	message *buffer   // what Recv returned last
	result  *buffer   // what Encode returned
}

// refusedError is a handler's refusal of a call that it has not run.
type refusedError struct{ refusal *Error }

func (e *refusedError) Error() string { return e.refusal.Error() }

// Refuse marks e as the refusal of a call that no handler has seen, so that
// the caller may safely make it again. It is for dispatchers; a handler's
// error says with its code what it means.
func Refuse(e *Error) error {
	refused := *e
	refused.NotRun = true
	return &refusedError{&refused}
}

// Recv returns the caller's next message, and io.EOF when there are no more. A
// message over the size limit is an [*Error] and is skipped. When the call's
// context ends Recv returns its cause. The message is valid until the next Recv.
func (c *Call) Recv() ([]byte, error) {
	if c.ended || c.Kind == KindRaw {
		return nil, io.EOF
	}
	if err := c.cause(nil); err != nil {
		return nil, err
	}
	h, payload, err := c.conn.readFrame(c.stream)
	switch {
	case err != nil:
		return nil, c.cause(err)
	case h.id != c.id:
		return nil, fmt.Errorf("%w: frame of call %d on the stream of call %d", ErrProtocol, h.id, c.id)
	case h.typ == frameMessage:
		c.message.free()
		c.message = payload
		return payload.bytes(), nil
	case h.typ == frameEnd:
		c.ended = true
		return nil, io.EOF
	default:
		return nil, fmt.Errorf("%w: frame of type %d on a stream", ErrProtocol, h.typ)
	}
}

// Send sends a message to the caller and waits while the caller is slow. When
// the call's context ends Send returns its cause.
func (c *Call) Send(msg []byte) error {
	return c.send(newFrame(header{typ: frameMessage, id: c.id}, msg))
}

func (c *Call) send(frame *buffer) error {
	defer frame.free()
	if c.Kind == KindUnary || c.Kind == KindRaw {
		return fmt.Errorf("send a message: the caller of %s takes none", c.Method)
	}
	if err := c.cause(nil); err != nil {
		return err
	}
	if err := frame.sealWithin(min(c.conn.max, c.conn.peerMax)); err != nil {
		return err
	}
	if _, err := c.stream.Write(frame.frame()); err != nil {
		return c.cause(err)
	}
	return nil
}

// SendValue is Send for a value that is to be encoded.
func (c *Call) SendValue(v any) error {
	frame, err := newMessage(c.id, v)
	if err != nil {
		return err
	}
	return c.send(frame)
}

// Encode encodes the handler's result. It is valid until the handler returns,
// and should be what the handler returns.
func (c *Call) Encode(v any) ([]byte, error) {
	c.result.free()
	c.result = newFrame(header{typ: frameResult, id: c.id})
	if err := c.result.encode(v); err != nil {
		return nil, err
	}
	return c.result.payload(), nil
}

// encoded returns the frame with the result if it is what Encode returned.
func (c *Call) encoded(result []byte) *buffer {
	if c.result == nil || len(result) == 0 || len(result) != len(c.result.payload()) || &result[0] != &c.result.payload()[0] {
		return nil
	}
	frame := c.result
	c.result = nil
	frame.seal()
	return frame
}

// returned frees what the handler used.
func (c *Call) returned() {
	c.request.free()
	c.message.free()
	c.result.free()
	c.request, c.message, c.result, c.Body = nil, nil, nil, nil
}

// writeTo writes a frame to a stream and frees it.
func (c *ServerConn) writeTo(stream *yamux.Stream, frame *buffer) error {
	defer frame.free()
	_, err := stream.Write(frame.frame())
	return err
}

// cause prefers the end of the call's context to what it did to the stream.
func (c *Call) cause(err error) error {
	if cause := context.Cause(&c.context); cause != nil {
		return cause
	}
	return err
}

// serveStream answers the calls on one stream, one after the other.
func (c *ServerConn) serveStream(ctx context.Context, stream *yamux.Stream) {
	defer stream.Close()
	for {
		if err := c.serveNext(ctx, stream); errors.Is(err, ErrProtocol) {
			c.broken(err)
			return
		} else if err != nil {
			return
		}
		c.shrinker.note(stream)
	}
}

// serveNext reads a frame that opens a call or fetches a result and answers
// it. An error means that the stream can't be used for another.
func (c *ServerConn) serveNext(ctx context.Context, stream *yamux.Stream) error {
	h, payload, err := c.readFrame(stream)
	_, tooLarge := errors.AsType[*Error](err)
	switch {
	case err != nil && !tooLarge:
		return err
	case h.typ == frameFetch:
		return c.fetch(stream, h.id)
	case h.typ == frameRequest && tooLarge:
		refusal := notRun(CodeTooLarge, "", "%v", err)
		return c.refuse(stream, h.id, refusal)
	case h.typ == frameRequest:
		return c.serveRequest(ctx, stream, h, payload)
	default:
		return fmt.Errorf("%w: frame of type %d between the calls on a stream", ErrProtocol, h.typ)
	}
}

// readFrame reads a frame from the caller. The payload of one over the limit
// is skipped, so that the stream stays in step, and the error says so.
func (c *ServerConn) readFrame(stream *yamux.Stream) (header, *buffer, error) {
	h, err := readHeader(stream)
	if err != nil {
		return header{}, nil, err
	}
	limit := int64(c.max)
	if h.typ == frameRequest {
		limit += maxRequestHeader // the request's header is not part of the message
	}
	if int64(h.length) > limit {
		if _, err := io.CopyN(io.Discard, stream, int64(h.length)); err != nil {
			return header{}, nil, noEOF(err)
		}
		return h, nil, errMessageSize(int(h.length), c.max)
	}
	payload, err := readPayload(stream, h)
	if err != nil {
		return header{}, nil, err
	}
	return h, payload, nil
}

// fetch sends a parked result.
func (c *ServerConn) fetch(stream *yamux.Stream, id uint64) error {
	frame, ok := c.unpark(id, interrupt(func() { stream.SetDeadline(past) }))
	if !ok {
		return c.writeTo(stream, resultGone(id))
	}
	err := c.writeTo(stream, frame)
	if c.sent(id) && err == nil { // too late: the caller may use the stream again
		return stream.SetDeadline(time.Time{})
	}
	return err
}

// errStreamDone says that no call follows on a stream.
var errStreamDone = errors.New("stream is done")

// refuse answers a call that will not run. Its messages may be on their way,
// so the stream is not used again.
func (c *ServerConn) refuse(stream *yamux.Stream, id uint64, refusal *Error) error {
	err := c.writeTo(stream, newFrame(header{typ: frameFail, flags: flagEnd, id: id}, encodeFail(refusal)))
	return errors.Join(err, errStreamDone)
}

// serveRequest runs one call on a stream. The terminal frame says whether
// another may follow: not when messages of the caller may be left, nor when
// the call failed, because its handler may be ending the goroutine.
func (c *ServerConn) serveRequest(ctx context.Context, stream *yamux.Stream, h header, payload *buffer) error {
	call, err := c.newCall(h, payload)
	if err != nil {
		return err
	}
	call.stream = stream
	if refusal := c.begin(ctx, call); refusal != nil {
		return c.refuse(stream, h.id, refusal)
	}
	if call.Notify {
		c.run(call, c.answerNotified)
		return errStreamDone
	}
	cut := make(chan struct{}) // closed when the stream's deadline is set
	stop := context.AfterFunc(&call.context, func() { stream.SetDeadline(past); close(cut) })
	done := true
	c.run(call, func(call *Call, frame *buffer) {
		if call.raw != nil {
			_ = call.raw.Close()
			c.end(call.id)
			return
		}
		last := frame.typ() == frameFail || !call.ended || call.context.Err() != nil
		if last {
			frame.end()
		}
		err := c.writeTo(stream, frame)
		if !stop() && err == nil && !last { // too late: the caller may use the stream again
			<-cut
			err = stream.SetDeadline(time.Time{})
		}
		done = err != nil || last
		c.end(call.id)
	})
	if done {
		return errStreamDone
	}
	return nil
}
