package client

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/detached-workers/unref/lifecycle"
	"github.com/detached-workers/unref/transport"
)

// longest is how long a test waits for what must happen.
const longest = 30 * time.Second

// started returns a worker that lasts as long as the test.
func started(t *testing.T) *Worker {
	t.Helper()
	log := logrus.New()
	log.SetOutput(io.Discard)
	w, err := (&Dialer{Logger: log}).Start(t.Context(), lifecycle.Self("example"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

// observed counts how a call of which somebody wants to know ends.
type observed struct {
	mu        sync.Mutex // protects what follows
	abandoned []<-chan struct{}
	outcomes  []error
	seen      chan struct{} // closed at the first outcome
}

// told is what the hook returns in the place of an error.
type told struct{ error }

func (e told) Unwrap() error { return e.error }

// observe sets the hooks of a request.
func observe(req *Request) *observed {
	o := &observed{seen: make(chan struct{})}
	req.abandoned = func(ended <-chan struct{}) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.abandoned = append(o.abandoned, ended)
	}
	req.finished = func(err error, _ bool) error {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.outcomes = append(o.outcomes, err); len(o.outcomes) == 1 {
			close(o.seen)
		}
		if err == nil || err == io.EOF {
			return err
		}
		return told{err}
	}
	return o
}

// want checks the one outcome, and that a call that was given up ends.
func (o *observed) want(t *testing.T, outcome error, abandoned bool) {
	t.Helper()
	awaitClosed(t, "the outcome", o.seen)
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.outcomes) != 1 || !errors.Is(o.outcomes[0], outcome) {
		t.Errorf("told of the outcomes %v, want %v once", o.outcomes, outcome)
	}
	if abandoned != (len(o.abandoned) == 1) {
		t.Errorf("told %d times that the call was given up, want %v", len(o.abandoned), abandoned)
	}
	for _, ended := range o.abandoned {
		awaitClosed(t, "the end of the call on the worker", ended)
	}
}

func awaitClosed(t *testing.T, what string, ch <-chan struct{}) {
	t.Helper()
	select {
	case <-ch:
	case <-time.After(longest):
		t.Fatalf("waited in vain: %s", what)
	}
}

// LESSONS 33: whoever gives up a call learns when the worker is done with it.
func TestACallThatWasGivenUpEndsOnTheWorkerToo(t *testing.T) {
	w := started(t)
	told := 0
	for pause := 10 * time.Millisecond; told == 0; pause *= 2 { // the first may not be sent
		ctx, cancel := context.WithCancel(t.Context())
		req := &Request{Method: "forever", Body: 1}
		o := observe(req)
		timer := time.AfterFunc(pause, cancel)
		err := w.Invoke(ctx, req, nil)
		timer.Stop()
		cancel()
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v", err)
		}
		if told = len(o.abandoned); SafeToRetry(err) != (told == 0) {
			t.Fatalf("told %d times of the call that failed with %v", told, err)
		}
		for _, ended := range o.abandoned {
			awaitClosed(t, "the end of the call on the worker", ended)
		}
	}
	req := &Request{Method: "square", Body: 3}
	o := observe(req)
	var nine int
	if err := w.Invoke(t.Context(), req, &nine); err != nil || nine != 9 || len(o.abandoned) > 0 {
		t.Errorf("a call afterwards: %d, %v, given up %v", nine, err, o.abandoned)
	}
}

// recvAll reads a call to its end, and returns the error that is always the same
// from then on.
func recvAll(t *testing.T, m *Messages) error {
	t.Helper()
	var msg int
	for {
		if err := m.Recv(&msg); err != nil {
			if again := m.Recv(&msg); again != err { //nolint:errorlint // the very same
				t.Errorf("Recv returned %v and then %v", err, again)
			}
			return err
		}
	}
}

// usage is a call with messages in the hands of a test.
type usage struct {
	t      *testing.T
	w      *Worker
	m      *Messages
	cancel context.CancelFunc // of the call's context
}

func (u usage) read() error { return recvAll(u.t, u.m) }

var (
	counted = Request{Method: "count", Kind: transport.KindStream, Body: 3}
	endless = Request{Method: "count", Kind: transport.KindStream, Body: 1 << 30}
	both    = Request{Method: "double", Kind: transport.KindBidi}
	unknown = Request{Method: "none", Kind: transport.KindBidi}
)

// endings has all ways in which a call with messages ends. The worker's death is
// the last.
var endings = []struct {
	name      string
	req       Request
	use       func(usage) error
	want      error // the outcome
	abandoned bool
}{
	{"read to its end", counted, func(u usage) error {
		defer u.cancel()
		return u.read()
	}, io.EOF, false},
	{"the worker's error", unknown, usage.read, transport.CodeUnknownMethod, false},
	{"closed", both, func(u usage) error {
		u.m.Close()
		if _, ok := errors.AsType[told](u.read()); ok {
			u.t.Error("what was told of the end is in the error of a call that was closed before")
		}
		return nil
	}, nil, true},
	{"no message in time", both, func(u usage) error {
		u.m.attempt.limit = 50 * time.Millisecond
		return u.read()
	}, context.DeadlineExceeded, true},
	{"a message that can't be decoded", endless, func(u usage) error {
		var text string
		return u.m.Recv(&text)
	}, transport.CodeInvalid, true},
	{"no message sent in time", both, func(u usage) (err error) {
		u.m.attempt.limit = 1 // until it comes before the message has left
		for err == nil {
			err = u.m.Send(1)
		}
		return err
	}, context.DeadlineExceeded, true},
	{"given up while nobody reads", both, func(u usage) error {
		u.cancel()
		return nil
	}, context.Canceled, true},
	{"given up while it is read", both, func(u usage) error {
		defer time.AfterFunc(20*time.Millisecond, u.cancel).Stop()
		return u.read()
	}, context.Canceled, true},
	{"the worker's death", both, func(u usage) error {
		u.w.Kill()
		return u.read()
	}, ErrWorkerExited, false},
}

func TestACallWithMessagesSaysOnceHowItEnded(t *testing.T) {
	w := started(t)
	for _, test := range endings {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			req := test.req
			o := observe(&req)
			m, err := w.Open(ctx, &req)
			if err != nil {
				t.Fatal(err)
			}
			err = test.use(usage{t, w, m, cancel})
			_, ok := errors.AsType[told](err)
			if err != nil && err != io.EOF && !ok {
				t.Errorf("got %v, want what the outcome was turned into", err)
			}
			o.want(t, test.want, test.abandoned)
			cancel()
			m.Close()
			m.Close()
			o.want(t, test.want, test.abandoned)
		})
	}
}

func TestACallWithMessagesThatWasNotOpenedHasNoEnd(t *testing.T) {
	w := started(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	req := &Request{Method: "double", Kind: transport.KindBidi}
	o := observe(req)
	if m, err := w.Open(ctx, req); err == nil {
		m.Close()
		t.Error("the call was opened")
	}
	if len(o.outcomes)+len(o.abandoned) > 0 {
		t.Errorf("told of %v and %v", o.outcomes, o.abandoned)
	}
}
