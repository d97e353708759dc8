package transport

import (
	"context"
	"errors"
	"runtime"
	"testing"
)

// notified is a handler of notifications, with what the tests want to know of
// it.
type notified struct {
	began   chan *Call
	proceed chan struct{}
	ended   chan error // the error of the handler's context when it may proceed
}

func newNotified() *notified {
	return &notified{began: make(chan *Call, 100), proceed: make(chan struct{}), ended: make(chan error, 100)}
}

func (n *notified) serve(ctx context.Context, call *Call) ([]byte, error) {
	switch call.Method {
	case "refuse":
		return nil, Refuse(&Error{Code: CodeInvalid})
	case "panic", "goexit":
		call.Received()
		return echo(ctx, call)
	case "late":
		call.Received()
		call.Received()
		return nil, errors.New("too late")
	case "slow":
		call.Received()
		n.began <- call
		select {
		case <-n.proceed:
		case <-ctx.Done():
		}
		n.ended <- ctx.Err()
		return call.Body, nil
	}
	return echo(ctx, call)
}

// notify makes a notification of that many bytes.
func notify(t *testing.T, c *Conn, method string, size int) error {
	t.Helper()
	reply, err := c.Call(within(t, patience), Request{Method: method, Notify: true, Body: make([]byte, size), Metadata: map[string]string{"k": "v"}})
	if len(reply) > 0 {
		t.Errorf("%s: the receipt of a notification has %d bytes", method, len(reply))
	}
	return err
}

// notifySizes are those of calls on the lane and on a stream.
var notifySizes = []int{10, laneMax + 1}

func TestANotificationIsAnsweredWhenItWasReceived(t *testing.T) {
	n := newNotified()
	c, sc := pair(t, n.serve)
	for _, size := range notifySizes {
		if err := notify(t, c, "slow", size); err != nil {
			t.Fatal(err)
		}
		sound(t, c)
	}
	for range notifySizes {
		call := receiveFrom(t, "the notification", n.began)
		_, limited := call.context.Deadline()
		if call.Metadata["k"] != "v" || call.Kind != KindUnary || !call.Notify || len(call.Body) == 0 || limited {
			t.Errorf("got %+v, limited: %v", call, limited)
		}
	}
	await(t, "the end of its stream", func() bool { return sc.session.NumStreams() == 2 }) // the lane and the one that sound has used
	close(n.proceed)
	for range notifySizes {
		if err := receiveFrom(t, "its end", n.ended); err != nil {
			t.Error(err)
		}
	}
	idle(t, sc)
}

func TestANotificationThatIsRefusedIsAnErrorAtOnce(t *testing.T) {
	c, sc := pair(t, newNotified().serve)
	for _, size := range notifySizes {
		err := notify(t, c, "refuse", size)
		wantErr(t, err, CodeInvalid)
		if e, _ := errors.AsType[*Error](err); e == nil || !e.NotRun {
			t.Errorf("got %v, want a call that has not run", err)
		}
		wantErr(t, notify(t, c, "unknown", size), CodeUnknownMethod)
		if err := notify(t, c, "echo", size); err != nil {
			t.Errorf("a handler that does not say when it has received: %v", err)
		}
	}
	sound(t, c)
	idle(t, sc)
}

func TestOnlyAUnaryCallCanBeANotification(t *testing.T) {
	c, _ := pair(t, echo)
	_, err := c.Open(t.Context(), Request{Method: "flood", Notify: true}, true)
	wantErr(t, err, CodeInvalid)
	_, err = c.Connect(t.Context(), Request{Method: "http", Notify: true})
	wantErr(t, err, CodeInvalid)
	sound(t, c)
}

// A worker of an earlier build would take the flag for a violation.
func TestANotificationForAWorkerThatDoesNotKnowThemIsUnsupported(t *testing.T) {
	c, _ := newRawWorker(t, DialConfig{})
	c.welcome.Features = nil
	_, err := c.Call(t.Context(), Request{Method: "echo", Notify: true})
	wantErr(t, err, errors.ErrUnsupported)
	if e, _ := errors.AsType[*Error](err); e == nil || !e.NotRun {
		t.Errorf("got %v, want a call that has not run", err)
	}
}

// LESSONS 26: what nobody hears of as an answer somebody hears of all the same.
func TestTheErrorOfANotificationIsHandedOver(t *testing.T) {
	type failure struct {
		method string
		err    *Error
	}
	failed := make(chan failure, 1)
	acc := AcceptConfig{Failed: func(call *Call, err *Error) { failed <- failure{call.Method, err} }}
	c, sc := pairWith(t, socket, DialConfig{}, acc, newNotified().serve)
	for method, code := range map[string]Code{"late": CodeUnknown, "panic": CodePanic, "goexit": CodeAborted} {
		for _, size := range notifySizes {
			if err := notify(t, c, method, size); err != nil {
				t.Errorf("%s: %v", method, err)
			}
			f := receiveFrom(t, "the failure", failed)
			if f.method != method || f.err.Method != method || f.err.Code != code || (f.err.Stack == "") != (code != CodePanic) {
				t.Errorf("%s: got %+v", method, f)
			}
		}
	}
	sound(t, c)
	idle(t, sc)
}

func TestANotificationOutlivesItsCallAndItsConnection(t *testing.T) {
	n := newNotified()
	caller, worker := socket(t)
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	accepted := make(chan *ServerConn, 1)
	go func() {
		sc, err := Accept(t.Context(), worker, AcceptConfig{})
		if err != nil {
			t.Error(err)
		}
		accepted <- sc
		served <- sc.Serve(ctx, n.serve)
	}()
	c, err := newConn(t.Context(), caller, DialConfig{})
	if err != nil {
		t.Fatal(err)
	}
	sc := receiveFrom(t, "the worker's end", accepted)
	for _, size := range notifySizes {
		if err := notify(t, c, "slow", size); err != nil {
			t.Fatal(err)
		}
		c.cancel(c.lastID, cancelCaller)
		receiveFrom(t, "the notification", n.began)
	}
	c.Close()
	await(t, "the end at the worker", func() bool {
		sc.mu.Lock()
		defer sc.mu.Unlock()
		return sc.lost
	})
	for range 20 { // enough to see that it is not by chance
		wantErr(t, sc.Drain(canceled(t)), context.Canceled)
	}
	drained := make(chan error, 1)
	go func() { drained <- sc.Drain(within(t, patience)) }()
	n.proceed <- struct{}{}
	if err := receiveFrom(t, "the end of the first", n.ended); err != nil {
		t.Errorf("its context had ended: %v", err)
	}
	if len(drained)+len(served) > 0 {
		t.Error("somebody did not wait for the other one")
	}
	stop()
	wantErr(t, receiveFrom(t, "the end of the second", n.ended), context.Canceled)
	if err := receiveFrom(t, "the drain", drained); err != nil {
		t.Error(err)
	}
	receiveFrom(t, "the end of Serve", served)
}

// canceled returns a context that has ended.
func canceled(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

func TestNotificationsCountAsCallsInFlight(t *testing.T) {
	n := newNotified()
	c, sc := pairWith(t, socket, DialConfig{}, AcceptConfig{MaxCalls: 2}, n.serve)
	for _, size := range notifySizes {
		if err := notify(t, c, "slow", size); err != nil {
			t.Fatal(err)
		}
	}
	for _, size := range notifySizes {
		wantErr(t, notify(t, c, "slow", size), CodeExhausted)
	}
	_, err := c.Call(t.Context(), Request{Method: "echo"})
	wantErr(t, err, CodeExhausted)
	close(n.proceed)
	idle(t, sc)
	sound(t, c)
}

// LESSONS 30: those that run hold up nobody, and their bodies stay their own.
func TestManyNotificationsDisturbNoCall(t *testing.T) {
	n := newNotified()
	c, sc := pair(t, n.serve)
	for i := range 100 {
		body := []byte{byte(i), byte(i)}
		if _, err := c.Call(t.Context(), Request{Method: "slow", Notify: true, Body: body}); err != nil {
			t.Fatal(err)
		}
		runtime.Gosched()
		sound(t, c)
	}
	seen := make(map[byte]bool)
	for range 100 {
		call := receiveFrom(t, "a notification", n.began)
		if len(call.Body) != 2 || call.Body[0] != call.Body[1] || seen[call.Body[0]] {
			t.Fatalf("got body % x", call.Body)
		}
		seen[call.Body[0]] = true
	}
	close(n.proceed)
	idle(t, sc)
}
