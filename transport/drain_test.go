package transport

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"
)

func draining(sc *ServerConn) bool {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	return sc.draining
}

func TestDrainLetsTheCallsInFlightFinishAndRefusesNewOnes(t *testing.T) {
	began, proceed := make(chan struct{}, 4), make(chan struct{})
	c, sc := pair(t, handlers{"slow": func(_ context.Context, call *Call) ([]byte, error) {
		began <- struct{}{}
		<-proceed
		if call.Kind == KindStream {
			return nil, call.Send([]byte("last words"))
		}
		return make([]byte, 10*len(call.Body)), nil
	}}.serve)
	var calls sync.WaitGroup
	for _, size := range []int{10, 10_000, 100_000} { // small, fetched, on a stream
		calls.Go(func() {
			if got, err := c.Call(t.Context(), Request{Method: "slow", Body: make([]byte, size)}); err != nil || len(got) != 10*size {
				t.Errorf("a call in flight: got %d bytes, %v", len(got), err)
			}
		})
	}
	s := open(t, c, "slow", nil, true)
	calls.Go(func() {
		if msg, err := s.Recv(t.Context()); err != nil || string(msg) != "last words" {
			t.Errorf("a stream in flight: got %q, %v", msg, err)
		}
		if _, err := s.Recv(t.Context()); err != io.EOF {
			t.Errorf("at its end: %v", err)
		}
	})
	for range 4 {
		receiveFrom(t, "the calls", began)
	}
	drained := make(chan error, 2)
	for range 2 {
		go func() { drained <- sc.Drain(within(t, patience)) }()
	}
	await(t, "the drain", func() bool { return draining(sc) })
	for _, size := range []int{1, laneMax + 1} {
		_, err := c.Call(t.Context(), Request{Method: "echo", Body: make([]byte, size)})
		wantErr(t, err, CodeUnavailable)
		if e, _ := errors.AsType[*Error](err); e == nil || !e.NotRun {
			t.Errorf("got %v, want a call that has not run", err)
		}
	}
	if len(drained) > 0 {
		t.Error("Drain returned while calls were in flight")
	}
	close(proceed)
	for range 2 {
		if err := receiveFrom(t, "the drain", drained); err != nil {
			t.Error(err)
		}
	}
	sc.Close()
	calls.Wait()
}

// The worker refuses what it got after its decision to leave, whether the
// caller knew of that or not.
func TestACallThatCrossesTheGoAwayIsRefused(t *testing.T) {
	r, sc := newRawCaller(t, AcceptConfig{}, echo)
	put(t, r.lane, header{typ: frameRequest, flags: flagEnd, id: 1}, request("wait")...)
	await(t, "the call", func() bool {
		sc.mu.Lock()
		defer sc.mu.Unlock()
		return len(sc.calls) == 1
	})
	ctx, cancel := context.WithCancel(t.Context())
	drained := make(chan error, 1)
	go func() { drained <- sc.Drain(ctx) }()
	if h, _ := get(t, r.lane); h.typ != frameGoAway || h.id != 0 {
		t.Fatalf("got %+v, want a go-away", h)
	}
	put(t, r.lane, header{typ: frameRequest, flags: flagEnd, id: 2}, request("echo")...)
	stream := r.open()
	put(t, stream, header{typ: frameRequest, flags: flagEnd | flagStream, id: 3}, request("echo")...)
	h, payload := get(t, r.lane)
	wantRefusal(t, h, payload, 2, 0)
	h, payload = get(t, stream)
	wantRefusal(t, h, payload, 3, flagEnd)
	cancel()
	wantErr(t, receiveFrom(t, "the drain", drained), context.Canceled)
}

func wantRefusal(t *testing.T, h header, payload []byte, id uint64, flags uint8) {
	t.Helper()
	if h.typ != frameFail || h.id != id || h.flags != flags {
		t.Errorf("got %+v, want a refusal of call %d with flags %d", h, id, flags)
	}
	err := decodeFail(payload)
	wantErr(t, err, CodeUnavailable)
	if e, _ := errors.AsType[*Error](err); e == nil || !e.NotRun {
		t.Errorf("got %v, want a call that has not run", err)
	}
}

func TestDrainOfAnIdleOrEndedConnectionReturnsAtOnce(t *testing.T) {
	c, sc := pair(t, echo)
	if err := sc.Drain(within(t, patience)); err != nil {
		t.Error(err)
	}
	c.Close()
	if err := sc.Drain(within(t, patience)); err != nil {
		t.Error(err)
	}
}

func TestDrainEndsWhenTheConnectionDoes(t *testing.T) {
	c, sc := pair(t, echo)
	open(t, c, "wait", nil, true)
	drained := make(chan error, 1)
	go func() { drained <- sc.Drain(context.Background()) }()
	await(t, "the drain", func() bool { return draining(sc) })
	c.Close()
	if err := receiveFrom(t, "the drain", drained); err != nil {
		t.Error(err)
	}
}

func TestDrainOfAnEndedConnectionDoesNotWaitForItsHandlers(t *testing.T) {
	began, proceed := make(chan struct{}), make(chan struct{})
	c, sc := pair(t, func(context.Context, *Call) ([]byte, error) {
		close(began)
		<-proceed
		return nil, nil
	})
	go c.Call(t.Context(), Request{Method: "stubborn"})
	receiveFrom(t, "the call", began)
	c.Close()
	if err := sc.Drain(within(t, patience)); err != nil {
		t.Error(err)
	}
	close(proceed)
}

// A result that its caller never fetches holds Drain no longer than allowed.
func TestDrainWaitsForAResultThatMustBeFetched(t *testing.T) {
	r, sc := newRawCaller(t, AcceptConfig{}, handlers{"big": func(context.Context, *Call) ([]byte, error) {
		return make([]byte, laneMax+1), nil
	}}.serve)
	put(t, r.lane, header{typ: frameRequest, flags: flagEnd, id: 1}, request("big")...)
	if h, _ := get(t, r.lane); h.typ != frameLarge || h.id != 1 {
		t.Fatalf("got %+v, want a large frame", h)
	}
	wantErr(t, sc.Drain(within(t, 10*time.Millisecond)), context.DeadlineExceeded)
	drained := make(chan error, 1)
	go func() { drained <- sc.Drain(within(t, patience)) }()
	s := r.open()
	put(t, s, header{typ: frameFetch, id: 1})
	if h, payload := get(t, s); h.typ != frameResult || len(payload) != laneMax+1 {
		t.Errorf("got %+v", h)
	}
	if err := receiveFrom(t, "the drain", drained); err != nil {
		t.Error(err)
	}
}
