package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/detached-workers/unref/lifecycle"
	"github.com/detached-workers/unref/transport"
)

var (
	// ErrClosed reports a call on a worker that this program has closed,
	// stopped or killed.
	ErrClosed = errors.New("worker closed")

	// ErrWorkerExited reports that the worker's process has ended. Errors that
	// wrap it also wrap a [*lifecycle.ExitError].
	ErrWorkerExited = errors.New("worker exited")

	// ErrConnectionLost reports that the connection broke while the worker
	// lives. The call may have run; the next one is made on a new connection.
	ErrConnectionLost = transport.ErrConnectionLost

	// ErrNotListening reports a worker that did not open its socket in time.
	ErrNotListening = errors.New("the worker does not listen on its socket")

	// ErrNoAnswer reports a worker that took the connection and did not answer
	// the handshake in time.
	ErrNoAnswer = transport.ErrNoHandshake

	// ErrForced reports a worker that did not leave when asked to, and was
	// killed.
	ErrForced = errors.New("the worker had to be killed")
)

// SafeToRetry reports whether err, an error of a call, proves that no handler
// has seen the call, so that making it again can't run it twice.
func SafeToRetry(err error) bool {
	if _, ran := errors.AsType[*RetryError](err); ran {
		return false
	}
	if errors.Is(err, transport.ErrNotSent) {
		return true
	}
	e, ok := errors.AsType[*transport.Error](err)
	return ok && e.NotRun
}

// StartError reports a worker that was started and did not get ready. Err says
// why: it wraps [ErrWorkerExited], [ErrNotListening], [ErrNoAnswer],
// [transport.ErrProtocol], the context's error, or is a
// [*transport.MismatchError]. The worker and all that belonged to it are gone.
type StartError struct {
	Name    string
	Pid     int
	Elapsed time.Duration // from start to failure

	// Output is the last that the worker printed, at most 64 KiB. A Go program
	// that hung has printed the stacks of its goroutines.
	Output []byte

	Err error

	excerpt string // of Output
}

// Unwrap returns Err.
func (e *StartError) Unwrap() error { return e.Err }

// Error says what happened and ends with some lines of the worker's output.
func (e *StartError) Error() string {
	if hasExited(e.Err) {
		return fmt.Sprintf("start: %v", e.Err) // which shows the output itself
	}
	msg := fmt.Sprintf("start worker %s (pid %d): %v", e.Name, e.Pid, e.Err)
	if e.excerpt == "" {
		return msg
	}
	return msg + "; last output:\n" + e.excerpt
}

// exited is [ErrWorkerExited] in the words of its ExitError, which name the
// worker themselves.
type exited struct{ exit error }

func (e exited) Error() string        { return e.exit.Error() }
func (e exited) Unwrap() error        { return e.exit }
func (e exited) Is(target error) bool { return target == ErrWorkerExited }

// exitedError is the outcome of what the worker's end cut short. There is no
// exit if the process could not be killed.
func exitedError(exit error) error {
	if exit == nil {
		return ErrWorkerExited
	}
	return exited{exit}
}

// hasExited reports whether err tells of the worker's end, and names it.
func hasExited(err error) bool {
	_, ok := errors.AsType[*lifecycle.ExitError](err)
	return ok
}

// attempt is one call on a worker, for what its error has to say.
type attempt struct {
	w       *Worker
	method  string
	started time.Time
	limit   time.Duration // 0 means none
}

// explain turns what went wrong with a call into the error that its caller
// gets. The worker's own answers pass unchanged, but for its report of a
// deadline that is this side's.
func (a *attempt) explain(ctx context.Context, err error) error {
	elapsed := time.Since(a.started)
	timedOut := errors.Is(err, context.DeadlineExceeded) && (a.limit > 0 && elapsed >= a.limit || ctx.Err() != nil)
	answer, answered := errors.AsType[*transport.Error](err)
	switch {
	case timedOut && a.limitOf(ctx) <= 0:
		return a.ended(transport.CodeDeadline, err, "the caller's time was over before the call was made")
	case timedOut:
		return a.ended(transport.CodeDeadline, err, "no message from worker %s (pid %d) for %v, limit %v",
			a.w.Name(), a.w.Pid(), elapsed.Round(time.Microsecond), a.limitOf(ctx))
	case answered:
		if answer.Method == "" {
			answer.Method = a.method
		}
		return answer
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return a.ended(transport.CodeCanceled, err, "given up by the caller after %v on worker %s (pid %d)",
			elapsed.Round(time.Microsecond), a.w.Name(), a.w.Pid())
	case hasExited(err):
		return fmt.Errorf("call %s: %w", a.method, err)
	default:
		return fmt.Errorf("call %s on worker %s (pid %d): %w", a.method, a.w.Name(), a.w.Pid(), err)
	}
}

func (a *attempt) ended(code transport.Code, err error, format string, args ...any) error {
	return &transport.Error{
		Code:    code,
		Method:  a.method,
		Message: fmt.Sprintf(format, args...),
		NotRun:  errors.Is(err, transport.ErrNotSent),
	}
}

// wrongKind refuses a request in whose Kind the caller's method and the call
// differ.
func (a *attempt) wrongKind(k transport.Kind) error {
	return &transport.Error{
		Code:    transport.CodeInvalid,
		Method:  a.method,
		Message: fmt.Sprintf("a request of kind %s: Invoke takes unary ones, Open takes stream and bidi", k),
		NotRun:  true,
	}
}

// limitOf names the limit that has passed: the message's or the context's.
func (a *attempt) limitOf(ctx context.Context) time.Duration {
	if deadline, ok := ctx.Deadline(); ok && ctx.Err() != nil {
		return deadline.Sub(a.started).Round(time.Microsecond)
	}
	return a.limit
}
