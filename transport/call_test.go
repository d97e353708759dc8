package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestMessagesOfAnySizeComeBackWhole(t *testing.T) {
	modes(t, func(t *testing.T, connect func(testing.TB) (net.Conn, net.Conn)) {
		c, _ := pairWith(t, connect, DialConfig{}, AcceptConfig{}, echo)
		for _, n := range []int{0, 1, 1000, laneMax - 20, laneMax, laneMax + 1, windowSize, 3 << 20, DefaultMaxMessage} {
			want := bytes.Repeat([]byte{byte(n), 7}, n/2+1)[:n]
			got, err := c.Call(t.Context(), Request{Method: "echo", Body: want})
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%d bytes: got %d bytes, %v", n, len(got), err)
			}
		}
	})
}

func TestConcurrentCallsEachGetTheirOwnAnswer(t *testing.T) {
	modes(t, func(t *testing.T, connect func(testing.TB) (net.Conn, net.Conn)) {
		c, sc := pairWith(t, connect, DialConfig{}, AcceptConfig{}, echo)
		var wg sync.WaitGroup
		for i := range 64 {
			wg.Go(func() {
				sizes := rand.New(rand.NewPCG(1, uint64(i)))
				for range 30 {
					body := bytes.Repeat([]byte{byte(i)}, 1+sizes.IntN(2*laneMax))
					if got, err := c.Call(t.Context(), Request{Method: "echo", Body: body}); err != nil || !bytes.Equal(got, body) {
						t.Errorf("got %d bytes, %v, want its own %d", len(got), err, len(body))
					}
				}
			})
		}
		wg.Wait()
		idle(t, sc)
	})
}

func TestWhatIsOverALimitFailsThatCallOnly(t *testing.T) {
	grow := func(_ context.Context, call *Call) ([]byte, error) {
		return make([]byte, 200_000), nil
	}
	for _, test := range []struct {
		name         string
		dial, accept int
		method       string
		size         int
		notRun       bool
	}{
		{"a request over the worker's limit", 0, 100_000, "echo", 100_001, true},
		{"a request over the caller's limit", 100_000, 0, "echo", 100_001, true},
		{"a reply over the worker's limit", 0, 100_000, "grow", 1, false},
		{"a reply over the caller's limit", 100_000, 0, "grow", 1, false},
		{"a large request's reply", 100_000, 0, "grow", 50_000, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, _ := pairWith(t, socket, DialConfig{MaxMessage: test.dial}, AcceptConfig{MaxMessage: test.accept}, handlers{"grow": grow}.serve)
			other := make(chan error, 1)
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				_, err := c.Call(ctx, Request{Method: "wait"})
				other <- err
			}()
			_, err := c.Call(t.Context(), Request{Method: test.method, Body: make([]byte, test.size)})
			wantErr(t, err, CodeTooLarge)
			if e, ok := errors.AsType[*Error](err); !ok || e.NotRun != test.notRun || e.Method != test.method {
				t.Errorf("got %#v", err)
			}
			sound(t, c)
			cancel()
			wantErr(t, receiveFrom(t, "the other call", other), context.Canceled)
		})
	}
}

func TestAMessageThatIsExactlyAtTheLimitPasses(t *testing.T) {
	c, _ := pairWith(t, socket, DialConfig{MaxMessage: 100_000}, AcceptConfig{MaxMessage: 100_000}, echo)
	if _, err := c.Call(t.Context(), Request{Method: "echo", Body: make([]byte, 100_000)}); err != nil {
		t.Fatal(err)
	}
	unlimited, _ := pairWith(t, socket, DialConfig{MaxMessage: -1}, AcceptConfig{MaxMessage: -1}, echo)
	if _, err := unlimited.Call(t.Context(), Request{Method: "echo", Body: make([]byte, DefaultMaxMessage+1)}); err != nil {
		t.Fatal(err)
	}
}

// LESSONS 26, 31: a handler that panics answers, with its stack.
func TestAPanicIsAnErrorWithItsStack(t *testing.T) {
	c, _ := pair(t, handlers{"wrapped": func(context.Context, *Call) ([]byte, error) {
		panic(fmt.Errorf("outer: %w", context.DeadlineExceeded))
	}}.serve)
	for _, size := range []int{1, laneMax + 1} {
		_, err := c.Call(t.Context(), Request{Method: "panic", Body: make([]byte, size)})
		wantErr(t, err, CodePanic)
		if e, _ := errors.AsType[*Error](err); e == nil || e.Message != "boom" || !strings.Contains(e.Stack, "transport.echo(") {
			t.Errorf("got %#v", e)
		}
		_, err = c.Call(t.Context(), Request{Method: "wrapped", Body: make([]byte, size)})
		wantErr(t, err, CodePanic, context.DeadlineExceeded)
	}
	sound(t, c)
}

// LESSONS 26: there is one answer even without a return.
func TestAHandlerThatEndsItsGoroutineAnswersAborted(t *testing.T) {
	c, sc := pair(t, echo)
	for _, size := range []int{1, laneMax + 1, laneMax + 1} {
		_, err := c.Call(t.Context(), Request{Method: "goexit", Body: make([]byte, size)})
		wantErr(t, err, CodeAborted)
	}
	s, err := c.Open(t.Context(), Request{Method: "goexit"}, true)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Recv(t.Context())
	wantErr(t, err, CodeAborted)
	sound(t, c)
	idle(t, sc)
}

type nasty struct{}

func (*nasty) Error() string { panic("no message") }

// LESSONS 26: an error that can't even be read is answered.
func TestAnErrorWhoseMethodsPanicIsAnswered(t *testing.T) {
	c, _ := pair(t, func(_ context.Context, call *Call) ([]byte, error) {
		switch call.Method {
		case "nil":
			var e *Error
			return nil, e
		case "nasty":
			return nil, &nasty{}
		case "panic":
			panic(&nasty{})
		}
		return call.Body, nil
	})
	for _, method := range []string{"nil", "nasty", "panic"} {
		_, err := c.Call(t.Context(), Request{Method: method})
		wantErr(t, err, CodePanic)
	}
	sound(t, c)
}

// LESSONS 27: an unknown method is a typed error, and has not run.
func TestAnUnknownMethodIsRefused(t *testing.T) {
	c, _ := pair(t, echo)
	for _, size := range []int{1, laneMax + 1} {
		_, err := c.Call(t.Context(), Request{Method: "nope", Body: make([]byte, size)})
		wantErr(t, err, CodeUnknownMethod)
		if e, _ := errors.AsType[*Error](err); e == nil || !e.NotRun || e.Method != "nope" {
			t.Errorf("got %#v", err)
		}
	}
}

func TestOneRefusalMayServeManyCalls(t *testing.T) {
	refusal := Refuse(&Error{Code: CodeUnknownMethod})
	c, _ := pair(t, func(context.Context, *Call) ([]byte, error) { return nil, refusal })
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			method := fmt.Sprint("m", i)
			_, err := c.Call(t.Context(), Request{Method: method})
			if e, _ := errors.AsType[*Error](err); e == nil || e.Method != method {
				t.Errorf("got %v, want an error of %s", err, method)
			}
		})
	}
	wg.Wait()
}

func TestMetadataAndDeadlineTravel(t *testing.T) {
	type seen struct {
		call     *Call
		size     int
		deadline time.Time
		limited  bool
	}
	got := make(chan seen, 1)
	c, _ := pair(t, func(ctx context.Context, call *Call) ([]byte, error) {
		d, ok := ctx.Deadline()
		got <- seen{call, len(call.Body), d, ok}
		return nil, nil
	})
	for _, size := range []int{0, laneMax + 1} {
		if _, err := c.Call(t.Context(), Request{Method: "m", Body: make([]byte, size)}); err != nil {
			t.Fatal(err)
		}
		if s := <-got; s.limited || s.call.Metadata != nil || s.size != size || s.call.Kind != KindUnary {
			t.Errorf("without a deadline and metadata: got %+v", s.call)
		}
		ctx := within(t, time.Hour)
		if _, err := c.Call(ctx, Request{Method: "m", Metadata: map[string]string{"traceparent": "00-1"}, Body: make([]byte, size)}); err != nil {
			t.Fatal(err)
		}
		s, want := <-got, must2(ctx.Deadline())
		if late := s.deadline.Sub(want); late < 0 || late > patience || s.call.Metadata["traceparent"] != "00-1" {
			t.Errorf("got metadata %v and a deadline %v after the caller's", s.call.Metadata, late)
		}
	}
}

func must2(d time.Time, _ bool) time.Time { return d }

func TestARequestHeaderThatCannotTravelFailsThatCallOnly(t *testing.T) {
	c, _ := pair(t, echo)
	for _, req := range []Request{
		{Method: "bad\xff"},
		{Method: strings.Repeat("m", maxMethod+1)},
		{Method: "echo", Metadata: map[string]string{"k": "\xff"}},
		{Method: "echo", Metadata: map[string]string{"k\xff": ""}},
		{Method: "echo", Metadata: map[string]string{"k": strings.Repeat("v", laneMax)}},
	} {
		_, err := c.Call(t.Context(), req)
		if e, _ := errors.AsType[*Error](err); e == nil || !e.NotRun {
			t.Errorf("got %v, want an *Error of a call that has not run", err)
		}
	}
	sound(t, c)
}

func TestALongMethodNameIsRefusedOnTheLane(t *testing.T) {
	c, sc := pairWith(t, socket, DialConfig{}, AcceptConfig{MaxCalls: 1}, echo)
	ctx, cancel := context.WithCancel(t.Context())
	blocked := make(chan error, 1)
	go func() {
		_, err := c.Call(ctx, Request{Method: "wait"})
		blocked <- err
	}()
	await(t, "the call that uses up the limit", func() bool {
		sc.mu.Lock()
		defer sc.mu.Unlock()
		return len(sc.calls) == 1
	})
	_, err := c.Call(t.Context(), Request{Method: strings.Repeat("m", maxMethod), Metadata: map[string]string{"k": strings.Repeat("v", 30_000)}})
	wantErr(t, err, CodeExhausted)
	cancel()
	wantErr(t, receiveFrom(t, "the call", blocked), context.Canceled)
}

// LESSONS 33: expiry and cancel reach the handler, with the reason.
func TestTheEndOfACallReachesItsHandlerWithTheCause(t *testing.T) {
	for _, size := range []int{1, laneMax + 1} {
		for _, end := range []error{context.Canceled, context.DeadlineExceeded} {
			t.Run(fmt.Sprint(size, end), func(t *testing.T) {
				began, cause := make(chan struct{}), make(chan error, 1)
				c, sc := pair(t, handlers{"wait": func(ctx context.Context, _ *Call) ([]byte, error) {
					close(began)
					<-ctx.Done()
					cause <- context.Cause(ctx)
					return nil, ctx.Err()
				}}.serve)
				ctx, cancel := context.WithCancel(t.Context())
				if end == context.DeadlineExceeded {
					ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
				}
				defer cancel()
				go func() {
					<-began
					if end == context.Canceled {
						cancel()
					}
				}()
				_, err := c.Call(ctx, Request{Method: "wait", Body: make([]byte, size)})
				wantErr(t, err, end)
				wantNoErr(t, err, ErrNotSent, ErrConnectionLost)
				if got := receiveFrom(t, "the handler's cause", cause); got != end {
					t.Errorf("the handler's context ended with %v, want %v", got, end)
				}
				idle(t, sc)
				sound(t, c)
			})
		}
	}
}

func TestACancelCauseOfTheCallerTravelsAsDeadlineIfItIsOne(t *testing.T) {
	began, cause := make(chan struct{}), make(chan error, 1)
	c, _ := pair(t, func(ctx context.Context, _ *Call) ([]byte, error) {
		close(began)
		<-ctx.Done()
		cause <- context.Cause(ctx)
		return nil, nil
	})
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		<-began
		cancel(fmt.Errorf("no message for 5s: %w", context.DeadlineExceeded))
	}()
	if _, err := c.Call(ctx, Request{Method: "wait"}); err == nil {
		t.Error("got no error")
	}
	if got := receiveFrom(t, "the cause", cause); got != context.DeadlineExceeded {
		t.Errorf("got %v", got)
	}
}

func TestACallWithAnEndedContextIsNotSent(t *testing.T) {
	c, _ := pair(t, echo)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := c.Call(ctx, Request{Method: "echo"})
	wantErr(t, err, ErrNotSent, context.Canceled)
	_, err = c.Open(ctx, Request{Method: "echo"}, true)
	wantErr(t, err, ErrNotSent, context.Canceled)
}

// LESSONS 26: whatever ends the connection settles every call.
func TestTheEndOfTheConnectionSettlesEveryCall(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(*Conn, *ServerConn)
		want error
	}{
		{"closed by the caller", func(c *Conn, _ *ServerConn) { c.Close() }, ErrClosed},
		{"closed by the worker", func(_ *Conn, sc *ServerConn) { sc.Close() }, ErrConnectionLost},
	} {
		t.Run(test.name, func(t *testing.T) {
			ended := make(chan struct{}, 1)
			c, sc := pairWith(t, socket, DialConfig{Ended: func() { ended <- struct{}{} }}, AcceptConfig{}, echo)
			outcomes := make(chan error, 30)
			for _, size := range []int{1, laneMax + 1} {
				for range 10 {
					go func() {
						_, err := c.Call(context.Background(), Request{Method: "wait", Body: make([]byte, size)})
						outcomes <- err
					}()
				}
			}
			for range 10 {
				s, err := c.Open(t.Context(), Request{Method: "wait"}, false)
				if err != nil {
					t.Fatal(err)
				}
				go func() {
					_, err := s.Recv(context.Background())
					outcomes <- err
				}()
			}
			await(t, "30 calls in flight", func() bool {
				sc.mu.Lock()
				defer sc.mu.Unlock()
				return len(sc.calls) == 30
			})
			test.end(c, sc)
			for range 30 {
				err := receiveFrom(t, "an outcome", outcomes)
				wantErr(t, err, test.want)
				wantNoErr(t, err, ErrNotSent)
			}
			receiveFrom(t, "Done", c.Done())
			wantErr(t, c.Err(), test.want)
			_, err := c.Call(context.Background(), Request{Method: "echo"})
			wantErr(t, err, ErrNotSent, test.want)
			_, err = c.Open(context.Background(), Request{Method: "echo"}, true)
			wantErr(t, err, ErrNotSent, test.want)
			if test.want == ErrConnectionLost {
				receiveFrom(t, "the Ended callback", ended)
			}
			c.Close()
			c.Close()
			if test.want == ErrClosed && len(ended) > 0 {
				t.Error("Ended was called though this side closed the connection")
			}
		})
	}
}

func TestErrIsNilWhileTheConnectionLasts(t *testing.T) {
	c, _ := pair(t, echo)
	if err := c.Err(); err != nil {
		t.Error(err)
	}
}

// LESSONS 28: a large result that nobody waits for any more is not kept.
func TestALargeResultOfACancelledCallIsDropped(t *testing.T) {
	began, proceed := make(chan struct{}), make(chan struct{})
	c, sc := pair(t, handlers{"stubborn": func(ctx context.Context, _ *Call) ([]byte, error) {
		close(began)
		<-ctx.Done()
		<-proceed
		return make([]byte, 1<<20), nil
	}}.serve)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-began
		cancel()
	}()
	_, err := c.Call(ctx, Request{Method: "stubborn"})
	wantErr(t, err, context.Canceled)
	close(proceed)
	idle(t, sc)
	sound(t, c)
	if err := sc.Drain(within(t, patience)); err != nil {
		t.Errorf("drain: %v", err)
	}
}

func TestAFetchThatIsGivenUpIsNoCallThatWasNotSent(t *testing.T) {
	c, _ := pair(t, echo)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := c.fetch(ctx, 1)
	wantErr(t, err, context.Canceled)
	wantNoErr(t, err, ErrNotSent)
	sound(t, c)
}

func streamsOf(c *Conn) int { return c.session.NumStreams() - 1 } // without the lane

func TestStreamsAreUsedAgainAndDoNotPileUp(t *testing.T) {
	c, sc := pair(t, echo)
	body := make([]byte, laneMax+1)
	for range 50 {
		if _, err := c.Call(t.Context(), Request{Method: "echo", Body: body}); err != nil {
			t.Fatal(err)
		}
		s, err := c.Open(t.Context(), Request{Method: "bidi"}, false)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Send(t.Context(), body); err != nil {
			t.Fatal(err)
		}
		if err := s.CloseSend(t.Context()); err != nil {
			t.Fatal(err)
		}
		for err == nil {
			_, err = s.Recv(t.Context())
		}
	}
	if n := streamsOf(c); n != 1 {
		t.Errorf("100 calls one after the other left %d streams, want 1", n)
	}
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			if _, err := c.Call(t.Context(), Request{Method: "echo", Body: body}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	await(t, "no more streams than are kept", func() bool {
		return streamsOf(c) <= maxIdleStreams && sc.session.NumStreams()-1 <= maxIdleStreams
	})
}

// An answer on a stream may just have gone out when its call is cancelled, or
// out of time on the worker: the stream serves the next call all the same.
func TestAStreamOutlivesACancelThatCameLate(t *testing.T) {
	c, _ := pair(t, echo)
	body := make([]byte, laneMax+50_000)
	call := func(ctx context.Context) (time.Duration, error) {
		began := time.Now()
		_, err := c.Call(ctx, Request{Method: "echo", Body: body})
		return time.Since(began), err
	}
	for i := range 2000 {
		usual, err := call(within(t, patience))
		if err != nil {
			t.Fatalf("call %d: %v", i, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), usual*time.Duration(40+i%80)/100)
		_, _ = call(ctx) // either way
		cancel()
	}
}
