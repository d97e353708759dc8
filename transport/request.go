package transport

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Request opens a call.
type Request struct {
	Method   string
	Metadata map[string]string // travels along, for instance a traceparent; may be nil
	Body     []byte            // the encoded request; empty means Value
	Value    any               // the request, to be encoded; nil means no value

	// Notify asks for the answer when the call was received, not when it is
	// done: see [Call.Notify]. It is for unary calls.
	Notify bool

	// Timeout limits the whole call: for [Conn.Call] on both sides, else on
	// the worker only. Zero means what remains of the time of the context that
	// the call is made with; negative means none.
	Timeout time.Duration

	// Abandoned is called when the caller gives up a call that the worker may
	// have and has not answered: before [Conn.Call], [Conn.Invoke] or
	// [Conn.Open] returns the error, or while a [Stream] is cancelled, which a
	// Send that is given up and a message over the limit do too. ended is closed
	// when the worker has no handler running for the call any more, or the
	// connection has ended. It is called once at most, and never for a call that
	// was not sent or that failed with the connection. It must not block, nor use
	// the call. Nil means that nobody wants to know. [Conn.Connect] ignores it.
	Abandoned func(ended <-chan struct{})
}

// limit returns how long the call may take from now on, 0 for any time.
func (r *Request) limit(ctx context.Context) time.Duration {
	if deadline, ok := ctx.Deadline(); ok && r.Timeout == 0 {
		return max(1, time.Until(deadline))
	}
	return max(0, r.Timeout)
}

// maxMethod is the longest name of a method, in bytes. Errors repeat the name,
// and those of refused calls must fit the lane.
const maxMethod = 1 << 10

// check finds what would make the header invalid CBOR or too long.
func (r *Request) check() error {
	valid := utf8.ValidString(r.Method)
	for k, v := range r.Metadata {
		valid = valid && utf8.ValidString(k) && utf8.ValidString(v)
	}
	switch {
	case len(r.Method) > maxMethod:
		return notRun(CodeInvalid, "", "method name of %d bytes, limit %d", len(r.Method), maxMethod)
	case !valid:
		return notRun(CodeInvalid, r.Method, "the method's name or the metadata is not valid UTF-8")
	}
	return nil
}

// appendBody appends the encoded request. A value without an encoding is an
// [*Error] of a call that has not run.
func (r *Request) appendBody(frame *buffer) error {
	if len(r.Body) > 0 || r.Value == nil {
		frame.reserve(len(r.Body))
		frame.b = append(frame.b, r.Body...)
		return nil
	}
	err := frame.encode(r.Value)
	if e, ok := errors.AsType[*Error](err); ok {
		e.NotRun = true
	}
	return err
}

// maxFail bounds an encoded error, whatever the limit for messages is: errors
// must get through.
const maxFail = 1 << 20

// encodeFail returns a fail frame's payload. What is too long is cut.
func encodeFail(e *Error) []byte {
	cut := e.cut(maxCauses)
	data, err := Codec{}.Encode(cut)
	if err != nil || len(data) > maxFail {
		cut.Details, cut.Causes = nil, nil
		data = must(Codec{}.Encode(cut))
	}
	return data
}

// cut returns a copy of e, and of its causes down to depth, whose text is not
// too long and valid UTF-8, as CBOR demands.
func (e *Error) cut(depth int) *Error {
	c := *e
	c.Causes = nil
	c.Code, c.Method, c.Kind = Code(clip(string(e.Code), maxMethod)), clip(e.Method, maxMethod), clip(e.Kind, maxMethod)
	c.Message, c.Stack = clip(e.Message, maxFail/4), clip(e.Stack, maxFail/4)
	for _, cause := range e.Causes {
		if cause != nil && depth > 0 {
			c.Causes = append(c.Causes, cause.cut(depth-1))
		}
	}
	return &c
}

// clip cuts s to limit bytes and a remark.
func clip(s string, limit int) string {
	if len(s) <= limit {
		return strings.ToValidUTF8(s, "\uFFFD")
	}
	return strings.ToValidUTF8(s[:limit], "") + fmt.Sprintf(" ... (%d bytes more)", len(s)-limit)
}

// decodeFail reads the error in a fail frame.
func decodeFail(payload []byte) error {
	e := new(Error)
	if err := (Codec{}).Decode(payload, e); err != nil {
		return fmt.Errorf("%w: bad error: %w", ErrProtocol, err)
	}
	return e
}

func errMessageSize(size, limit int) *Error {
	return &Error{Code: CodeTooLarge, Message: fmt.Sprintf("message of %d bytes, limit %d", size, limit)}
}

func errOversizedLane(h header) error {
	return fmt.Errorf("%w: %d bytes on the call lane, limit %d", ErrProtocol, h.length, laneMax)
}
