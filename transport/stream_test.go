package transport

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// open opens a stream or fails the test.
func open(t testing.TB, c *Conn, method string, body []byte, end bool) *Stream {
	t.Helper()
	s, err := c.Open(within(t, patience), Request{Method: method, Body: body}, end)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// count sends n numbered messages of the size that the request's body has.
func count(n uint32) Handler {
	return func(_ context.Context, call *Call) ([]byte, error) {
		msg := make([]byte, max(4, len(call.Body)))
		for i := range n {
			binary.BigEndian.PutUint32(msg, i)
			if err := call.Send(msg); err != nil {
				return nil, err
			}
		}
		return nil, nil
	}
}

func TestAStreamDeliversItsMessagesInOrderAndThenEnds(t *testing.T) {
	modes(t, func(t *testing.T, connect func(testing.TB) (net.Conn, net.Conn)) {
		c, _ := pairWith(t, connect, DialConfig{}, AcceptConfig{}, handlers{"count": count(300)}.serve)
		for _, size := range []int{4, 10_000} {
			s := open(t, c, "count", make([]byte, size), true)
			for want := range uint32(300) {
				msg, err := s.Recv(t.Context())
				if err != nil || len(msg) != size || binary.BigEndian.Uint32(msg) != want {
					t.Fatalf("message %d: got % x, %v", want, msg[:min(4, len(msg))], err)
				}
			}
			for range 2 {
				if _, err := s.Recv(t.Context()); err != io.EOF {
					t.Fatalf("at the end: got %v, want EOF", err)
				}
			}
		}
		sound(t, c)
	})
}

func TestBothSidesSendAtOnce(t *testing.T) {
	modes(t, func(t *testing.T, connect func(testing.TB) (net.Conn, net.Conn)) {
		c, sc := pairWith(t, connect, DialConfig{}, AcceptConfig{}, echo)
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				s := open(t, c, "bidi", nil, false)
				wg.Go(func() {
					for range 50 {
						if err := s.Send(t.Context(), bytes.Repeat([]byte{byte(i)}, 5000)); err != nil {
							t.Error(err)
						}
					}
					if err := s.CloseSend(t.Context()); err != nil {
						t.Error(err)
					}
				})
				got := 0
				for {
					msg, err := s.Recv(t.Context())
					if err == io.EOF {
						break
					}
					if err != nil || len(msg) != 5000 || msg[0] != byte(i) {
						t.Errorf("got %d bytes, %v", len(msg), err)
						break
					}
					got++
				}
				if got != 50 {
					t.Errorf("got %d messages, want 50", got)
				}
			})
		}
		wg.Wait()
		idle(t, sc)
	})
}

// LESSONS 30: the small calls all end before the reader of 64 MiB goes on.
func TestASlowReaderOfABigStreamDelaysNobody(t *testing.T) {
	modes(t, func(t *testing.T, connect func(testing.TB) (net.Conn, net.Conn)) {
		c, _ := pairWith(t, connect, DialConfig{}, AcceptConfig{}, handlers{"count": count(64)}.serve)
		s := open(t, c, "count", make([]byte, 1<<20), true)
		for i := range 64 {
			for range 3 {
				if _, err := c.Call(t.Context(), Request{Method: "echo", Body: []byte{1}}); err != nil {
					t.Fatal(err)
				}
			}
			if i%16 == 0 {
				sound(t, c)
			}
			if msg, err := s.Recv(t.Context()); err != nil || len(msg) != 1<<20 {
				t.Fatalf("message %d: %d bytes, %v", i, len(msg), err)
			}
		}
		if _, err := s.Recv(t.Context()); err != io.EOF {
			t.Error(err)
		}
	})
}

func TestCancelReachesAHandlerThatWaitsToSend(t *testing.T) {
	cause := make(chan error, 2)
	c, sc := pair(t, func(ctx context.Context, call *Call) ([]byte, error) {
		_, err := echo(ctx, call)
		cause <- err
		return nil, err
	})
	for _, test := range []struct {
		deadline bool
		want     error
	}{{false, context.Canceled}, {true, context.DeadlineExceeded}} {
		s := open(t, c, "flood", make([]byte, 100_000), true)
		if _, err := s.Recv(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.Cancel(test.deadline)
		s.Cancel(!test.deadline)
		if got := receiveFrom(t, "the handler's end", cause); got != test.want {
			t.Errorf("the handler's Send failed with %v, want %v", got, test.want)
		}
		await(t, "the end of the stream for its reader", func() bool {
			_, err := s.Recv(t.Context())
			return err == test.want
		})
	}
	idle(t, sc)
	await(t, "no streams", func() bool { return streamsOf(c)+sc.session.NumStreams()-1 == 0 })
	for range 2 {
		if _, err := c.Call(t.Context(), Request{Method: "nope"}); err == nil {
			t.Error("got no error")
		}
	}
}

// A send that waits for a slow worker ends with its context, and the call too.
func TestASendThatBlocksEndsWithItsContext(t *testing.T) {
	ended := make(chan error, 1)
	c, sc := pair(t, func(ctx context.Context, call *Call) ([]byte, error) {
		<-ctx.Done()
		ended <- context.Cause(ctx)
		return nil, ctx.Err()
	})
	s := open(t, c, "stall", nil, false)
	ctx := within(t, 100*time.Millisecond)
	var err error
	for err == nil {
		err = s.Send(ctx, make([]byte, 300_000))
	}
	wantErr(t, err, context.DeadlineExceeded)
	if got := receiveFrom(t, "the handler's end", ended); got != context.DeadlineExceeded {
		t.Errorf("the handler's context ended with %v", got)
	}
	idle(t, sc)
	if _, err := s.Recv(t.Context()); err != context.DeadlineExceeded {
		t.Errorf("Recv afterwards: %v", err)
	}
}

func TestARecvWhoseContextEndsLeavesTheStreamUsable(t *testing.T) {
	c, _ := pair(t, echo)
	s := open(t, c, "bidi", nil, false)
	_, err := s.Recv(within(t, time.Millisecond))
	wantErr(t, err, context.DeadlineExceeded)
	if err := s.Send(t.Context(), []byte("x")); err != nil {
		t.Fatal(err)
	}
	if msg, err := s.Recv(t.Context()); err != nil || string(msg) != "x" {
		t.Errorf("got %q, %v", msg, err)
	}
	s.Cancel(false)
}

func TestAMessageOverTheLimitFailsItsSendOnly(t *testing.T) {
	c, _ := pairWith(t, socket, DialConfig{}, AcceptConfig{MaxMessage: 1000}, handlers{"big": func(_ context.Context, call *Call) ([]byte, error) {
		wantErr(t, call.Send(make([]byte, 1001)), CodeTooLarge)
		return nil, call.Send(make([]byte, 1000))
	}}.serve)
	s := open(t, c, "bidi", nil, false)
	wantErr(t, s.Send(t.Context(), make([]byte, 1001)), CodeTooLarge)
	if err := s.Send(t.Context(), make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	if msg, err := s.Recv(t.Context()); err != nil || len(msg) != 1000 {
		t.Errorf("got %d bytes, %v", len(msg), err)
	}
	s.Cancel(false)
	s = open(t, c, "big", nil, true)
	if msg, err := s.Recv(t.Context()); err != nil || len(msg) != 1000 {
		t.Errorf("got %d bytes, %v", len(msg), err)
	}
	if _, err := s.Recv(t.Context()); err != io.EOF {
		t.Error(err)
	}
}

func TestAHandlerErrorComesAfterTheMessages(t *testing.T) {
	c, _ := pair(t, func(_ context.Context, call *Call) ([]byte, error) {
		call.Send([]byte("one"))
		return nil, Errorf("app.failed", "no more")
	})
	s := open(t, c, "m", nil, true)
	if msg, err := s.Recv(t.Context()); err != nil || string(msg) != "one" {
		t.Fatalf("got %q, %v", msg, err)
	}
	_, err := s.Recv(t.Context())
	wantErr(t, err, Code("app.failed"))
}

func TestSendAfterTheEndSaysSo(t *testing.T) {
	c, _ := pair(t, handlers{"early": func(context.Context, *Call) ([]byte, error) { return nil, nil }}.serve)
	s := open(t, c, "bidi", nil, false)
	for range 2 {
		if err := s.CloseSend(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	wantErr(t, s.Send(t.Context(), []byte("x")), ErrClosed)
	if _, err := s.Recv(t.Context()); err != io.EOF {
		t.Error(err)
	}
	s = open(t, c, "early", nil, false)
	await(t, "a send that ends with EOF", func() bool { return s.Send(t.Context(), make([]byte, 1000)) == io.EOF })
	if _, err := s.Recv(t.Context()); err != io.EOF {
		t.Error(err)
	}
}

func TestAUnaryHandlerCanNotSend(t *testing.T) {
	c, _ := pair(t, func(_ context.Context, call *Call) ([]byte, error) {
		if _, err := call.Recv(); err != io.EOF {
			t.Errorf("Recv: %v", err)
		}
		return nil, call.Send(nil)
	})
	for _, size := range []int{1, laneMax + 1} {
		if _, err := c.Call(t.Context(), Request{Method: "m", Body: make([]byte, size)}); err == nil {
			t.Error("got no error")
		}
	}
}

// A handler that returns before it has read everything ends its stream, and
// the next call does not get that stream.
func TestAHandlerThatReturnsEarlyLeavesTheConnectionSound(t *testing.T) {
	c, sc := pair(t, handlers{"early": func(_ context.Context, call *Call) ([]byte, error) {
		_, err := call.Recv()
		return nil, err
	}}.serve)
	for range 50 {
		s := open(t, c, "early", nil, false)
		for range 3 {
			if err := s.Send(t.Context(), []byte("x")); err != nil && err != io.EOF {
				t.Fatal(err)
			}
		}
		if err := s.CloseSend(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Recv(t.Context()); err != io.EOF {
			t.Fatal(err)
		}
		sound(t, c)
	}
	idle(t, sc)
}

// A cancel at the very end must not touch the stream that another call has.
func TestACancelThatRacesWithTheEndDisturbsNoOtherCall(t *testing.T) {
	c, sc := pair(t, handlers{"count": count(1)}.serve)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 300 {
				s, err := c.Open(t.Context(), Request{Method: "count"}, true)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := s.Recv(t.Context()); err != nil {
					t.Error(err)
				}
				s.Cancel(false)
			}
		})
		wg.Go(func() {
			body := make([]byte, laneMax+1)
			for range 100 {
				if _, err := c.Call(t.Context(), Request{Method: "echo", Body: body}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	idle(t, sc)
	sound(t, c)
}

// The worker cuts a stream whose time is over while nobody reads it; that is
// the end of this call and of no other.
func TestADeadlineOnAnUnreadStreamEndsThatStreamOnly(t *testing.T) {
	ended := make(chan error, 1)
	c, _ := pair(t, handlers{"flood": func(ctx context.Context, call *Call) ([]byte, error) {
		_, err := echo(ctx, call)
		ended <- err
		return nil, err
	}}.serve)
	ctx := within(t, 100*time.Millisecond)
	s, err := c.Open(ctx, Request{Method: "flood", Body: make([]byte, 100_000)}, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := receiveFrom(t, "the handler's end", ended); err != context.DeadlineExceeded {
		t.Errorf("the handler ended with %v", err)
	}
	for err == nil {
		_, err = s.Recv(within(t, patience))
	}
	wantErr(t, err, context.DeadlineExceeded)
	sound(t, c)
}

func TestCloseDoesNotWaitForAStreamThatNobodyReads(t *testing.T) {
	c, _ := pair(t, echo)
	s := open(t, c, "flood", make([]byte, 1000), true)
	open(t, c, "flood", make([]byte, 1000), true)
	if _, err := s.Recv(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.Close()
	await(t, "the end of the stream", func() bool {
		_, err := s.Recv(t.Context())
		return errors.Is(err, ErrClosed)
	})
}

// What came before the connection ended is delivered after it.
func TestMessagesThatCameBeforeTheEndOfTheConnectionAreDelivered(t *testing.T) {
	sent := make(chan struct{})
	c, sc := pair(t, func(ctx context.Context, call *Call) ([]byte, error) {
		for i := range byte(5) {
			if err := call.Send([]byte{i}); err != nil {
				return nil, err
			}
		}
		close(sent)
		<-ctx.Done()
		return nil, ctx.Err()
	})
	s := open(t, c, "m", nil, true)
	receiveFrom(t, "the messages", sent)
	sc.Close()
	receiveFrom(t, "the end of the connection", c.Done())
	for i := range byte(5) {
		if msg, err := s.Recv(t.Context()); err != nil || msg[0] != i {
			t.Fatalf("message %d: got %v, %v", i, msg, err)
		}
	}
	_, err := s.Recv(t.Context())
	wantErr(t, err, ErrConnectionLost)
}

func TestAStreamOfAClosedConnectionCanStillBeUsedWithoutHarm(t *testing.T) {
	c, _ := pair(t, echo)
	s := open(t, c, "bidi", nil, false)
	c.Close()
	if err := s.Send(t.Context(), []byte("x")); err == nil {
		t.Error("Send: got no error")
	}
	if err := s.CloseSend(t.Context()); err == nil {
		t.Error("CloseSend: got no error")
	}
	s.Cancel(false)
	_, err := s.Recv(t.Context())
	wantErr(t, err, ErrClosed)
}

// The worker cuts a stream at the end of its time, which is no fault of the
// connection, wherever the limit comes from.
func TestAStreamsTimeoutEndsTheStreamOnly(t *testing.T) {
	c, _ := pair(t, echo)
	s, err := c.Open(t.Context(), Request{Method: "flood", Timeout: 50 * time.Millisecond}, true)
	if err != nil {
		t.Fatal(err)
	}
	await(t, "the end of the stream's time", s.expired)
	for err == nil {
		_, err = s.Recv(within(t, patience))
	}
	wantErr(t, err, context.DeadlineExceeded)
	if _, err := c.Call(t.Context(), Request{Method: "echo"}); err != nil {
		t.Errorf("a call afterwards: %v", err)
	}
}
