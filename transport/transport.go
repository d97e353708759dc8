// Package transport moves typed messages between two processes over a Unix
// socket: it listens and dials, shakes hands, and carries calls and streams of
// CBOR messages over one yamux session. It knows nothing of processes.
//
// At any point in time each call has exactly one outcome: a result, an error
// that the other side sent, or the end of the connection. Whatever happens to
// one call (an oversized message, a reader that is slow, a handler that
// panics) leaves the other calls of the connection alone.
//
// Start with [Dial], [Accept] and [Method]. Most programs use the packages
// client and server instead, which are built on this one.
//
// The bytes on the wire are described in docs/protocol.md.
package transport

import (
	"context"
	"errors"
	"math"
	"time"
)

// Method names a unary call with the types of its request and reply. Declared
// once, as a typed constant in a package that both programs import, it makes a
// mismatch between the two a compile error:
//
//	const Check transport.Method[CheckRequest, CheckReply] = "check"
type Method[Req, Rep any] string

// StreamMethod names a call that answers one request with a stream of
// messages.
type StreamMethod[Req, Msg any] string

// BidiMethod names a call in which both sides send streams of messages: the
// caller messages of type Send, the handler messages of type Recv.
type BidiMethod[Send, Recv any] string

// Event names something that a worker tells all who have subscribed to it, with
// the type of what it tells.
type Event[T any] string

// DefaultMaxMessage is the size limit, in bytes, of one encoded message where
// none is set.
const DefaultMaxMessage = 16 << 20

// laneMax is the largest payload, in bytes, that travels on the call lane.
// What is larger takes a yamux stream of its own, so that bulk data does not
// hold up small calls.
const laneMax = 96 << 10

// maxRequestHeader is the largest header of a request, in bytes; most of it may
// be metadata.
const maxRequestHeader = 32 << 10

var (
	// ErrClosed reports a call on a connection that this side has closed.
	ErrClosed = errors.New("connection closed")

	// ErrConnectionLost reports that the connection ended while a call was in
	// flight: the call may have run or not.
	ErrConnectionLost = errors.New("connection lost")

	// ErrProtocol reports bytes that are no unref protocol.
	ErrProtocol = errors.New("protocol violation")

	// ErrNotSent marks errors of calls of which no byte was sent: no handler
	// has seen them.
	ErrNotSent = errors.New("call not sent")
)

// maxMessage resolves a configured limit: zero means [DefaultMaxMessage],
// negative means as large as a frame can be.
func maxMessage(configured int) int {
	switch {
	case configured == 0:
		return DefaultMaxMessage
	case configured < 0:
		return math.MaxInt32
	default:
		return configured
	}
}

// expired returns ctx's error. It looks at the clock as well, because ctx's
// timer may be late while the worker, which has the same deadline, is on time.
func expired(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok && ctx.Err() == nil && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

// reason tells the other side why a call was cancelled.
func reason(ctx context.Context) byte {
	if errors.Is(context.Cause(ctx), context.DeadlineExceeded) || errors.Is(expired(ctx), context.DeadlineExceeded) {
		return cancelDeadline
	}
	return cancelCaller
}
