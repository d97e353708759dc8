package transport

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Request opens a call.
type Request struct {
	Method   string
	Metadata map[string]string // travels along, for instance a traceparent; may be nil
	Body     []byte            // the encoded request; empty means no value

	// Timeout limits the whole call on the worker. Zero means what remains of
	// the time of the context that the call is made with; negative means none.
	Timeout time.Duration
}

// requestHeader precedes the body in a request frame's payload.
type requestHeader struct {
	_        struct{} `cbor:",toarray"`
	Method   string
	Timeout  int64 // nanoseconds that remain for the call; 0 means no limit
	Metadata map[string]string
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

// encode returns the request frame's payload but for the body.
func (r *Request) encode(ctx context.Context) ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	h := requestHeader{Method: r.Method, Metadata: r.Metadata, Timeout: max(0, int64(r.Timeout))}
	if deadline, ok := ctx.Deadline(); ok && r.Timeout == 0 {
		h.Timeout = max(1, int64(time.Until(deadline)))
	}
	return Codec{}.Encode(&h)
}

// decodeRequest splits a request frame's payload into header and body.
func decodeRequest(payload []byte) (requestHeader, []byte, error) {
	var h requestHeader
	body, err := decLax.UnmarshalFirst(payload, &h)
	if err != nil {
		return h, nil, fmt.Errorf("%w: bad request header: %w", ErrProtocol, err)
	}
	if len(h.Method) > maxMethod {
		return h, nil, fmt.Errorf("%w: method name of %d bytes, limit %d", ErrProtocol, len(h.Method), maxMethod)
	}
	return h, body, nil
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

func errOversizedLane(h header) error {
	return fmt.Errorf("%w: %d bytes on the call lane, limit %d", ErrProtocol, h.length, laneMax)
}
