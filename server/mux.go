package server

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/detached-workers/unref/transport"
)

// Mux finds the handler for a call. The zero Mux is ready. It is safe for
// concurrent use, but handlers are usually registered before serving.
type Mux struct {
	// Strict refuses messages with fields that the handler's type has not.
	// It must not be changed once the Mux serves.
	Strict bool

	mu         sync.RWMutex // protects what follows
	methods    map[string]method
	middleware []Middleware

	events hub
}

type method struct {
	kind   transport.Kind
	handle transport.Handler
}

// Middleware wraps a handler with another one, which may look at the call and
// its encoded messages, answer it itself, or call next.
type Middleware func(next transport.Handler) transport.Handler

// Use wraps the handlers that are registered afterwards. The first middleware
// is the outermost.
func (m *Mux) Use(mw ...Middleware) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.middleware = append(m.middleware, mw...)
}

// register adds a handler. Two handlers with one name are a programmer's error.
func (m *Mux) register(name string, kind transport.Kind, handle transport.Handler) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, taken := m.methods[name]; taken {
		panic(fmt.Sprintf("server: two handlers for method %q", name))
	}
	for _, mw := range slices.Backward(m.middleware) {
		handle = mw(handle)
	}
	if m.methods == nil {
		m.methods = make(map[string]method)
	}
	m.methods[name] = method{kind, handle}
}

// serve is the handler of all calls.
func (m *Mux) serve(ctx context.Context, call *transport.Call) ([]byte, error) {
	m.mu.RLock()
	found, ok := m.methods[call.Method]
	m.mu.RUnlock()
	switch {
	case !ok:
		return nil, transport.Refuse(&transport.Error{
			Code:    transport.CodeUnknownMethod,
			Message: fmt.Sprintf("the worker has no method %q", call.Method),
		})
	case found.kind != call.Kind:
		return nil, transport.Refuse(&transport.Error{
			Code:    transport.CodeUnknownMethod,
			Message: fmt.Sprintf("method %q is %s on the worker and was called as %s", call.Method, found.kind, call.Kind),
		})
	}
	return found.handle(ctx, call)
}

func (m *Mux) codec() transport.Codec { return transport.Codec{Strict: m.Strict, Lend: true} }

// Handle registers the handler of a unary method. A request with a method
// Validate() error is validated before the handler sees it. The handler's
// error reaches the caller as a [transport.Error]; see [transport.Errorf] for
// errors with a code. A handler that panics fails its call only. Registering
// two handlers for one method panics.
//
// A notification is answered when its request was found to be valid and before
// the handler runs, whose context then ends only with the server, and whose
// error is logged.
func Handle[Req, Rep any](mux *Mux, m transport.Method[Req, Rep], handle func(ctx context.Context, req Req) (Rep, error)) {
	mux.register(string(m), transport.KindUnary, func(ctx context.Context, call *transport.Call) ([]byte, error) {
		req, err := decodeRequest[Req](mux.codec(), call.Body)
		if err != nil {
			return nil, err
		}
		call.Received()
		rep, err := handle(ctx, req)
		if err != nil || call.Notify {
			return nil, err
		}
		return call.Encode(rep)
	})
}

// HandleStream registers the handler of a method that answers with a stream.
// send waits while the caller is slow; it returns an error when the call is
// over, upon which the handler should return. See [Handle] for the rest.
func HandleStream[Req, Msg any](mux *Mux, m transport.StreamMethod[Req, Msg], handle func(ctx context.Context, req Req, send func(Msg) error) error) {
	mux.register(string(m), transport.KindStream, func(ctx context.Context, call *transport.Call) ([]byte, error) {
		req, err := decodeRequest[Req](mux.codec(), call.Body)
		if err != nil {
			return nil, err
		}
		return nil, handle(ctx, req, func(msg Msg) error { return call.SendValue(msg) })
	})
}

// HandleBidi registers the handler of a method with messages both ways. The
// call ends when the handler returns.
func HandleBidi[Send, Recv any](mux *Mux, m transport.BidiMethod[Send, Recv], handle func(ctx context.Context, stream *BidiStream[Send, Recv]) error) {
	mux.register(string(m), transport.KindBidi, func(ctx context.Context, call *transport.Call) ([]byte, error) {
		return nil, handle(ctx, &BidiStream[Send, Recv]{call, mux.codec()})
	})
}

// BidiStream is the worker's end of a bidirectional call, in which the caller
// sends messages of type In and the handler messages of type Out. Recv and
// Send may be used from two goroutines at once, each from one.
type BidiStream[In, Out any] struct {
	call  *transport.Call
	codec transport.Codec
}

// Recv returns the caller's next message, or io.EOF when there are no more.
// Messages are validated like the requests of [Handle].
func (s *BidiStream[In, Out]) Recv() (In, error) {
	body, err := s.call.Recv()
	if err != nil {
		return *new(In), err
	}
	return decode[In](s.codec, body)
}

// Send sends a message. It waits while the caller is slow.
func (s *BidiStream[In, Out]) Send(msg Out) error { return s.call.SendValue(msg) }

// decodeRequest refuses what no handler shall see.
func decodeRequest[T any](codec transport.Codec, body []byte) (T, error) {
	v, err := decode[T](codec, body)
	if err != nil {
		return v, transport.Refuse(transport.ErrorOf(err))
	}
	return v, nil
}

func decode[T any](codec transport.Codec, body []byte) (T, error) {
	var v T
	if len(body) > 0 { // else there is no value, which stands for the zero one
		if err := codec.Decode(body, &v); err != nil {
			return v, err
		}
	}
	return v, validate(&v)
}

// validate asks the message itself, whether its method has a pointer receiver
// or not.
func validate[T any](v *T) error {
	type validator interface{ Validate() error }
	valid, ok := any(*v).(validator)
	if !ok {
		valid, ok = any(v).(validator)
	}
	if !ok {
		return nil
	}
	if err := valid.Validate(); err != nil {
		return transport.Errorf(transport.CodeInvalid, "%w", err)
	}
	return nil
}
