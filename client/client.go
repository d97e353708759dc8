// Package client is the parent's side: it starts workers and calls them.
//
// At any point in time each call has exactly one outcome, and it comes within
// the call's time: the worker's answer, an error that says what happened to
// the call or its worker, or the end of the limit. Nothing that a worker does
// keeps the parent from exiting, and nothing needs to be closed for the worker
// to leave when the parent has gone, however it went.
//
// Start with [Start] and [Call]:
//
//	w, err := client.Start(ctx, &lifecycle.Command{Path: "demo-worker"})
//	if err != nil { ... }
//	defer w.Close()
//	reply, err := client.Call(ctx, w, api.Check, req)
//
// [Stream] and [Open] are calls with messages, [Notify] leaves something for the
// worker to do, and [Subscribe] follows what it tells everybody.
package client

import (
	"context"
	"io"
	"iter"
	"time"

	"github.com/detached-workers/unref/transport"
)

// Caller is what calls can be made on: a [*Worker], a [*Pool], a [*Lease], or
// something that wraps one to add to its calls. Callers are safe for concurrent use.
type Caller interface {
	// Invoke makes a unary call and decodes the reply into reply, a pointer,
	// or nil to ignore it.
	Invoke(ctx context.Context, req *Request, reply any) error

	// Open starts a call with messages, of req.Kind. The call ends with ctx.
	Open(ctx context.Context, req *Request) (*Messages, error)
}

// Request is one call to make.
type Request struct {
	Method string
	Kind   transport.Kind
	Body   any // the request, encoded as CBOR; nil means none

	// Notify makes the call end when the worker has received it, see the
	// function [Notify]. It is for unary calls.
	Notify bool

	// Metadata travels with the call, for instance a traceparent. See
	// server.Metadata.
	Metadata map[string]string

	// Timeout limits the time from the hand-over to the worker to the reply,
	// or between two messages of a stream. Zero means the [Dialer]'s setting
	// for the method; negative means no limit.
	Timeout time.Duration

	// What follows counts for calls on a [Pool].

	// Key has [Sticky] give all calls with the same key to the same worker.
	// Empty means none.
	Key string

	// Priority is that in the queue: those with a higher one come first.
	Priority int

	// Idempotent says that the call may be run again, at most
	// [PoolConfig.MaxTries] times in all, if its worker dies. See [Idempotent].
	Idempotent bool

	// abandoned is told of a call that is given up, see [transport.Request].
	abandoned func(ended <-chan struct{})

	// finished is told of the end of a call with messages that was opened, see
	// [Messages]. Nil means that nobody wants to know.
	finished func(err error, progress bool) error
}

// CallOption changes a request before it is made.
type CallOption func(*Request)

// Timeout sets the call's per-message timeout; see [Request].
func Timeout(d time.Duration) CallOption { return func(r *Request) { r.Timeout = d } }

// Metadata adds a key and its value to what travels with the call.
func Metadata(key, value string) CallOption {
	return func(r *Request) {
		if r.Metadata == nil {
			r.Metadata = make(map[string]string)
		}
		r.Metadata[key] = value
	}
}

// Key gives the call a key: [Sticky] gives all calls of a pool that have the same
// one to the same worker.
func Key(key string) CallOption { return func(r *Request) { r.Key = key } }

// Priority sets the call's priority in a pool's queue, zero for others: those with
// a higher one come first.
func Priority(p int) CallOption { return func(r *Request) { r.Priority = p } }

// Idempotent says that a unary call may be run more than once: if its worker dies
// a [Pool] gives it to another one, and an error is then a [*RetryError].
func Idempotent() CallOption { return func(r *Request) { r.Idempotent = true } }

func newRequest(method string, kind transport.Kind, body any, opts []CallOption) *Request {
	req := &Request{Method: method, Kind: kind, Body: body}
	for _, opt := range opts {
		opt(req)
	}
	return req
}

// Call makes a unary call. Without a contract, [Caller.Invoke] calls a method
// by its plain name:
//
//	err := w.Invoke(ctx, &client.Request{Method: "echo", Body: "hello"}, &reply)
//
// Errors: a [*transport.Error] is the worker's answer or the end of a time
// limit, which also matches the context errors; one that wraps
// [ErrWorkerExited] carries a [*lifecycle.ExitError]. [SafeToRetry] tells
// whether the call can have run.
func Call[Req, Rep any](ctx context.Context, c Caller, m transport.Method[Req, Rep], req Req, opts ...CallOption) (Rep, error) {
	var rep Rep
	err := c.Invoke(ctx, newRequest(string(m), transport.KindUnary, req, opts), &rep)
	return rep, err
}

// Notify makes a unary call that is answered when the worker has received it,
// not when it is done: the method is there, the request could be decoded and is
// valid, and the handler is about to run. Until then the errors are those of
// [Call], and Timeout bounds that part only. The handler goes on without a time
// limit, whatever becomes of the caller and its connection, until the worker
// stops, which waits for it within its grace. Its result is dropped, its error
// logged by the worker. How many run at once is bounded like the calls in
// flight: more are refused with [transport.CodeExhausted].
//
// Notifications of one caller run at the same time, in any order. A worker that
// was built with a version of unref without them refuses with an error that is
// [errors.ErrUnsupported].
func Notify[Req, Rep any](ctx context.Context, c Caller, m transport.Method[Req, Rep], req Req, opts ...CallOption) error {
	r := newRequest(string(m), transport.KindUnary, req, opts)
	r.Notify = true
	return c.Invoke(ctx, r, nil)
}

// Stream makes a call that is answered with a stream of messages, and yields
// each. An error is yielded last. Leaving the loop cancels the call.
func Stream[Req, Msg any](ctx context.Context, c Caller, m transport.StreamMethod[Req, Msg], req Req, opts ...CallOption) iter.Seq2[Msg, error] {
	return func(yield func(Msg, error) bool) {
		messages, err := c.Open(ctx, newRequest(string(m), transport.KindStream, req, opts))
		if err != nil {
			yield(*new(Msg), err)
			return
		}
		defer messages.Close()
		for {
			var msg Msg
			err := messages.Recv(&msg)
			if err == io.EOF || !yield(msg, err) || err != nil {
				return
			}
		}
	}
}

// Open starts a call with messages both ways.
func Open[Send, Recv any](ctx context.Context, c Caller, m transport.BidiMethod[Send, Recv], opts ...CallOption) (*BidiStream[Send, Recv], error) {
	messages, err := c.Open(ctx, newRequest(string(m), transport.KindBidi, nil, opts))
	if err != nil {
		return nil, err
	}
	return &BidiStream[Send, Recv]{messages}, nil
}

// BidiStream is the caller's end of a call with messages both ways. Send and
// Recv may be used from two goroutines at once, each from one. Read it to its
// end or close it.
type BidiStream[Send, Recv any] struct{ messages *Messages }

// Send sends a message. When the worker has ended the call it returns io.EOF,
// and Recv says why.
func (s *BidiStream[Send, Recv]) Send(msg Send) error { return s.messages.Send(msg) }

// CloseSend says that no further message will be sent.
func (s *BidiStream[Send, Recv]) CloseSend() error { return s.messages.CloseSend() }

// Recv returns the next message, io.EOF after the last one, or the call's
// error.
func (s *BidiStream[Send, Recv]) Recv() (Recv, error) {
	var msg Recv
	err := s.messages.Recv(&msg)
	return msg, err
}

// Close cancels the call if it has not ended.
func (s *BidiStream[Send, Recv]) Close() error { return s.messages.Close() }
