package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"
)

// trip sends an error through a connection.
func trip(t *testing.T, err error) *Error {
	t.Helper()
	got := decodeFail(encodeFail(ErrorOf(err)))
	e, ok := got.(*Error)
	if !ok {
		t.Fatalf("%v arrived as %v", err, got)
	}
	return e
}

type detailed struct{ Line int }

func (d detailed) Error() string     { return fmt.Sprint("bad line ", d.Line) }
func (d detailed) ErrorDetails() any { return d }

// LESSONS 31: kind, message, fields, causes and stack arrive.
func TestAnErrorSurvivesTheTrip(t *testing.T) {
	_, notExist := os.Open("/does/not/exist")
	for _, test := range []struct {
		err  error
		text string
		is   []error
	}{
		{errors.New("plain"), "plain", []error{CodeUnknown}},
		{notExist, notExist.Error(), []error{CodeUnknown, fs.ErrNotExist}},
		{fmt.Errorf("read the config: %w", notExist), "read the config: " + notExist.Error(), []error{fs.ErrNotExist}},
		{&fs.PathError{Op: "open", Path: "p", Err: syscall.EACCES}, "open p: permission denied", []error{fs.ErrPermission}},
		{errors.Join(io.ErrUnexpectedEOF, fs.ErrExist), "unexpected EOF\nfile already exists", []error{io.ErrUnexpectedEOF, fs.ErrExist}},
		{fmt.Errorf("two: %w, %w", fs.ErrInvalid, fs.ErrClosed), "two: invalid argument, file already closed", []error{fs.ErrInvalid, fs.ErrClosed}},
		{os.ErrDeadlineExceeded, "i/o timeout", []error{os.ErrDeadlineExceeded}},
		{errors.ErrUnsupported, "unsupported operation", []error{errors.ErrUnsupported}},
		{context.DeadlineExceeded, "deadline exceeded: context deadline exceeded", []error{CodeDeadline, context.DeadlineExceeded}},
		{fmt.Errorf("late: %w", context.Canceled), "canceled: late: context canceled", []error{CodeCanceled, context.Canceled}},
		{Errorf("app.busy", "try %w", io.EOF), "app.busy: try EOF", []error{Code("app.busy"), io.EOF}},
		{fmt.Errorf("outer: %w", Errorf("app.busy", "inner")), "app.busy: outer: app.busy: inner", []error{Code("app.busy")}},
		{fmt.Errorf("coded: %w", CodeInvalid), "invalid argument: coded: invalid_argument", []error{CodeInvalid}},
		{&Error{Code: CodePanic, Method: "m", Message: "x", Stack: "here"}, "m: panic: x", []error{CodePanic}},
	} {
		got := trip(t, test.err)
		if got.Error() != test.text {
			t.Errorf("got %q, want %q", got, test.text)
		}
		wantErr(t, got, test.is...)
		wantNoErr(t, got, CodeTooLarge, io.ErrNoProgress)
		if again := trip(t, got); again.Error() != got.Error() {
			t.Errorf("after another trip: %q, was %q", again, got)
		} else {
			wantErr(t, again, test.is...)
		}
	}
}

func TestKindAndDetailsArrive(t *testing.T) {
	e := trip(t, fmt.Errorf("parse: %w", detailed{12}))
	var d detailed
	if err := e.Causes[0].DecodeDetails(&d); err != nil || d.Line != 12 || e.Causes[0].Kind != "transport.detailed" {
		t.Errorf("got %+v, kind %q, %v", d, e.Causes[0].Kind, err)
	}
	if err := e.DecodeDetails(&d); err == nil {
		t.Error("details are there where none were sent")
	}
}

func TestNotRunIsForTheTransportToSay(t *testing.T) {
	if e := trip(t, fmt.Errorf("nested call: %w", notRun(CodeUnavailable, "inner", "gone"))); e.NotRun || e.Causes[0].NotRun {
		t.Errorf("a handler's error says that the handler has not run: %+v", e)
	}
	if e := trip(t, Refuse(&Error{Code: CodeUnknownMethod})); !e.NotRun {
		t.Error("a refusal does not say so")
	}
}

func TestTheErrorOfNilIsNil(t *testing.T) {
	if e := ErrorOf(nil); e != nil {
		t.Errorf("got %v", e)
	}
}

func TestAnErrorAlwaysFitsItsFrame(t *testing.T) {
	long := strings.Repeat("x", 3<<20)
	ring := &Error{Code: "app.ring"}
	ring.Causes = []*Error{ring, nil}
	deep := &Error{Code: "app.deep"}
	for range 1000 {
		deep = &Error{Code: "app.deep", Causes: []*Error{deep}}
	}
	wide := &Error{Code: "app.wide"}
	for range 100_000 {
		wide.Causes = append(wide.Causes, &Error{Message: "one of many"})
	}
	for name, err := range map[string]error{
		"a long message":     errors.New(long),
		"long in everything": &Error{Code: Code(long), Method: long, Message: long, Kind: long, Stack: long, Details: []byte(long)},
		"long causes":        fmt.Errorf("%w, %w, %w", errors.New(long), errors.New(long), errors.New(long)),
		"a ring":             ring,
		"a deep chain":       deep,
		"many causes":        wide,
		"text of bytes":      &Error{Code: "c\xff", Message: "m\xff", Causes: []*Error{{Message: "\xff"}}},
	} {
		payload := encodeFail(ErrorOf(err))
		e, ok := decodeFail(payload).(*Error)
		if !ok || len(payload) > maxFail || e.Message != "" && len(e.Message) < 2 {
			t.Errorf("%s: %d bytes, %v", name, len(payload), decodeFail(payload))
		}
	}
	if e := trip(t, errors.New("bad\xffname")); e.Message != "bad\uFFFDname" {
		t.Errorf("got %q", e.Message)
	}
	if e := trip(t, errors.New(strings.Repeat("ü", 1<<20))); !strings.HasSuffix(e.Message, " bytes more)") {
		t.Errorf("got ...%q", e.Message[len(e.Message)-40:])
	}
}

// A hostile worker's error can be looked at without harm.
func TestAnErrorWithHolesCanBeUsed(t *testing.T) {
	for _, payload := range []string{"\xf6", "\xa0", "\xa1\x66causes\x81\xf6", "\xa1\x66causes\x82\xf6\xa1\x66causes\x81\xf6"} {
		err := decodeFail([]byte(payload))
		_ = err.Error()
		wantNoErr(t, err, fs.ErrNotExist, context.Canceled, CodePanic)
		if e, ok := err.(*Error); ok {
			trip(t, e)
		}
	}
}
