package client

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/detached-workers/unref/lifecycle"
	"github.com/detached-workers/unref/transport"
)

func TestSafeToRetryNeedsProofThatNoHandlerHasSeenTheCall(t *testing.T) {
	exit := exitedError(&lifecycle.ExitError{Name: "w", Code: 3})
	nested := transport.ErrorOf(fmt.Errorf("ask another: %w", &transport.Error{Code: transport.CodeUnavailable, NotRun: true}))
	tests := []struct {
		name string
		err  error
		want bool
	}{
		{"no error", nil, false},
		{"refused by the worker", &transport.Error{Code: transport.CodeUnknownMethod, NotRun: true}, true},
		{"failed in the handler", &transport.Error{Code: transport.CodeUnknown}, false},
		{"wrapped refusal", fmt.Errorf("check: %w", &transport.Error{Code: transport.CodeUnavailable, NotRun: true}), true},
		{"a handler's own call was refused", nested, false},
		{"connection lost", ErrConnectionLost, false},
		{"connection lost before sending", notSent(ErrConnectionLost), true},
		{"worker exited", exit, false},
		{"worker exited before sending", notSent(exit), true},
		{"closed", notSent(ErrClosed), true},
		{"something else", errors.New("else"), false},
	}
	for _, tt := range tests {
		if got := SafeToRetry(tt.err); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestStartErrorShowsTheOutputOnce(t *testing.T) {
	hung := &StartError{Name: "w", Pid: 7, excerpt: "the last line", Err: ErrNotListening}
	if got := hung.Error(); !strings.HasPrefix(got, "start worker w (pid 7): ") || !strings.HasSuffix(got, "\nthe last line") {
		t.Errorf("got %q", got)
	}
	exit := &lifecycle.ExitError{Name: "w", Pid: 7, Code: 1, Output: []byte("the last line\n")}
	died := &StartError{Name: "w", Pid: 7, excerpt: "the last line", Err: exitedError(exit)}
	if got := died.Error(); strings.Count(got, "the last line") != 1 || !errors.Is(died, ErrWorkerExited) {
		t.Errorf("got %q", got)
	}
}

func TestErrorsOfADeadWorkerNameItOnce(t *testing.T) {
	exit := exitedError(&lifecycle.ExitError{Name: "w", Pid: 7, Code: 3, Ready: true})
	a := &attempt{method: "m", started: time.Now()}
	for want, err := range map[string]error{
		"worker w (pid 7) exited with status 3 after 0s":                        exit,
		"start: worker w (pid 7) exited with status 3 after 0s":                 &StartError{Name: "w", Pid: 7, Err: exit},
		"call m: worker w (pid 7) exited with status 3 after 0s":                a.explain(t.Context(), exit),
		"call m: call not sent: worker w (pid 7) exited with status 3 after 0s": a.explain(t.Context(), notSent(exit)),
		"worker exited": exitedError(nil),
	} {
		if got := err.Error(); got != want || !errors.Is(err, ErrWorkerExited) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestStartWithoutACommandIsAnError(t *testing.T) {
	if w, err := Start(t.Context(), nil); w != nil || !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), "command is nil") {
		t.Errorf("got %v, %v", w, err)
	}
}

func TestLimitIsTheCallsThenTheMethodsThenTheDialersThenTheDefault(t *testing.T) {
	methods := map[string]time.Duration{"m": 2, "none": -1, "zero": 0}
	tests := []struct {
		dialer time.Duration
		req    Request
		want   time.Duration
	}{
		{0, Request{}, DefaultTimeout},
		{5, Request{}, 5},
		{-1, Request{}, 0},
		{5, Request{Method: "m"}, 2},
		{5, Request{Method: "none"}, 0},
		{5, Request{Method: "zero"}, 5},
		{5, Request{Method: "m", Timeout: 1}, 1},
		{5, Request{Method: "m", Timeout: -1}, 0},
	}
	for _, tt := range tests {
		d := Dialer{Timeout: tt.dialer, MethodTimeout: methods}
		if got := d.limit(&tt.req); got != tt.want {
			t.Errorf("dialer %v, request %+v: got %v, want %v", tt.dialer, tt.req, got, tt.want)
		}
	}
}

func TestDialTellsAWorkerThatDoesNotListenFromOneThatDoesNotAnswer(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	tries := 0
	_, err := dial(ctx, t.TempDir()+"/s", transport.DialConfig{}, func() {
		if tries++; tries == 3 {
			cancel()
		}
	})
	if !errors.Is(err, ErrNotListening) || tries != 3 {
		t.Errorf("got %v after %d tries", err, tries)
	}
	path := t.TempDir() + "/s"
	l, err := transport.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel = context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := dial(ctx, path, transport.DialConfig{}, func() {}); !errors.Is(err, ErrNoAnswer) {
		t.Errorf("got %v, want no answer", err)
	}
}
