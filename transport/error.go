package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime/debug"
	"strings"
)

// Code classifies an [Error]. A code is itself a target for [errors.Is]:
//
//	if errors.Is(err, transport.CodePanic) { ... }
//
// Programs may define codes of their own; the library's have no dot in them.
type Code string

// Error makes codes usable as targets of errors.Is.
func (c Code) Error() string { return string(c) }

// The codes that the library itself gives.
const (
	CodeUnknown       Code = "unknown"            // the handler returned an error without a code
	CodePanic         Code = "panic"              // the handler panicked; Stack says where
	CodeAborted       Code = "aborted"            // the handler ended without an answer (runtime.Goexit)
	CodeUnknownMethod Code = "unknown_method"     // the worker has no such method, or not of this kind
	CodeInvalid       Code = "invalid_argument"   // the message can't be decoded or is not valid
	CodeTooLarge      Code = "too_large"          // a message is over a size limit
	CodeEncode        Code = "encode"             // a value can't be encoded
	CodeDeadline      Code = "deadline_exceeded"  // a time limit has passed; matches context.DeadlineExceeded
	CodeCanceled      Code = "canceled"           // the caller gave up; matches context.Canceled
	CodeUnavailable   Code = "unavailable"        // the worker is leaving and takes no new calls
	CodeExhausted     Code = "resource_exhausted" // too many calls in flight on the connection
)

// Error is a call's failure as the worker told it, or a limit that this side
// enforced. All fields but Code may be empty.
type Error struct {
	Code    Code   `cbor:"code"`
	Method  string `cbor:"method,omitempty"`
	Message string `cbor:"message,omitempty"`

	// Kind is the Go type of the handler's error, or the name of a well-known
	// sentinel ("io.EOF", "fs.ErrNotExist", ...), which errors.Is then finds.
	Kind string `cbor:"kind,omitempty"`

	// Details is what the handler's error carried in addition: the result of
	// its method ErrorDetails() any, CBOR-encoded. See [Error.DecodeDetails].
	Details []byte `cbor:"details,omitempty"`

	// Causes are the errors that the handler's error wrapped.
	Causes []*Error `cbor:"causes,omitempty"`

	// Stack is the goroutine's stack at the panic, in Go's format.
	Stack string `cbor:"stack,omitempty"`

	// NotRun says that no handler has seen the call.
	NotRun bool `cbor:"not_run,omitempty"`
}

// Error returns the method, the code and the message. The stack of a panic is
// left out; print Stack for it.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Method != "" {
		b.WriteString(e.Method)
		b.WriteString(": ")
	}
	if e.Code != CodeUnknown && e.Code != "" {
		b.WriteString(strings.ReplaceAll(string(e.Code), "_", " "))
		b.WriteString(": ")
	}
	b.WriteString(e.Message)
	return b.String()
}

// Is reports whether target is e's code, the context error that the code
// stands for, or the sentinel that Kind names.
func (e *Error) Is(target error) bool {
	switch e.Code {
	case CodeDeadline:
		if target == context.DeadlineExceeded {
			return true
		}
	case CodeCanceled:
		if target == context.Canceled {
			return true
		}
	}
	if code, ok := target.(Code); ok {
		return code == e.Code
	}
	sentinel, ok := sentinels[e.Kind]
	return ok && sentinel == target
}

// Unwrap returns the causes.
func (e *Error) Unwrap() []error {
	if len(e.Causes) == 0 {
		return nil
	}
	errs := make([]error, 0, len(e.Causes))
	for _, cause := range e.Causes {
		if cause != nil {
			errs = append(errs, cause)
		}
	}
	return errs
}

// DecodeDetails decodes the details into v. It is an error if there are none.
func (e *Error) DecodeDetails(v any) error {
	if len(e.Details) == 0 {
		return errors.New("decode error details: there are none")
	}
	return Codec{}.Decode(e.Details, v)
}

// Errorf returns an error with a code, for handlers to return. As with
// [fmt.Errorf], %w names causes, which travel along.
func Errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Message: err.Error(), Causes: causes(err, maxCauses)}
}

// sentinels are the errors of the standard library that keep their identity
// on the way.
var sentinels = map[string]error{
	"context.Canceled":         context.Canceled,
	"context.DeadlineExceeded": context.DeadlineExceeded,
	"fs.ErrClosed":             fs.ErrClosed,
	"fs.ErrExist":              fs.ErrExist,
	"fs.ErrInvalid":            fs.ErrInvalid,
	"fs.ErrNotExist":           fs.ErrNotExist,
	"fs.ErrPermission":         fs.ErrPermission,
	"io.EOF":                   io.EOF,
	"io.ErrUnexpectedEOF":      io.ErrUnexpectedEOF,
	"os.ErrDeadlineExceeded":   os.ErrDeadlineExceeded,
	"errors.ErrUnsupported":    errors.ErrUnsupported,
}

// maxCauses bounds how deep a chain of causes is carried.
const maxCauses = 16

// ErrorOf returns err as the other side shall see it. An *Error keeps its
// code, message and details; other errors get [CodeUnknown], or the code of
// the context error or *Error that they wrap. An error whose own methods panic
// gets [CodePanic]. The error of nil is nil.
func ErrorOf(err error) (e *Error) {
	defer func() {
		if p := recover(); p != nil {
			e = &Error{Code: CodePanic, Message: fmt.Sprintf("read an error of type %T: %v", err, p), Stack: string(debug.Stack())}
		}
	}()
	if err == nil {
		return nil
	}
	if _, plain := err.(*Error); plain { //nolint:errorlint // one that wraps a refusal is not refused
		return errorOf(err, maxCauses)
	}
	if refused, ok := errors.AsType[*refusedError](err); ok {
		copied := *refused.refusal
		return &copied
	}
	return errorOf(err, maxCauses)
}

func errorOf(err error, depth int) *Error {
	if e, ok := err.(*Error); ok { //nolint:errorlint // what it wraps comes as its causes
		copied := *e
		copied.NotRun = false
		return &copied
	}
	e := &Error{Code: codeOf(err), Message: err.Error(), Kind: kindOf(err), Causes: causes(err, depth)}
	if d, ok := err.(interface{ ErrorDetails() any }); ok {
		// Details that can't be encoded are left out: the error itself matters more.
		e.Details, _ = Codec{}.Encode(d.ErrorDetails())
	}
	return e
}

// codeOf finds the code of the outermost error that has one.
func codeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	if code, ok := errors.AsType[Code](err); ok {
		return code
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return CodeDeadline
	case errors.Is(err, context.Canceled):
		return CodeCanceled
	}
	return CodeUnknown
}

func kindOf(err error) string {
	for name, sentinel := range sentinels {
		if err == sentinel { //nolint:errorlint // what it wraps comes as its causes
			return name
		}
	}
	// A syscall.Errno stands for several sentinels at once.
	for _, name := range []string{"fs.ErrNotExist", "fs.ErrExist", "fs.ErrPermission"} {
		if is, ok := err.(interface{ Is(error) bool }); ok && is.Is(sentinels[name]) {
			return name
		}
	}
	return fmt.Sprintf("%T", err)
}

func causes(err error, depth int) []*Error {
	if depth == 0 {
		return nil
	}
	var wrapped []error
	switch u := err.(type) { //nolint:errorlint // one step at a time
	case interface{ Unwrap() error }:
		if cause := u.Unwrap(); cause != nil {
			wrapped = []error{cause}
		}
	case interface{ Unwrap() []error }:
		wrapped = u.Unwrap()
	}
	list := make([]*Error, 0, len(wrapped))
	for _, cause := range wrapped {
		list = append(list, errorOf(cause, depth-1))
	}
	return list
}

// notRun returns an error for a call that no handler has seen.
func notRun(code Code, method, format string, args ...any) *Error {
	return &Error{Code: code, Method: method, Message: fmt.Sprintf(format, args...), NotRun: true}
}
