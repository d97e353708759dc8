package transport

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/yamux"
)

// LESSONS 29: whoever gives up a call that never left has abandoned nothing.
func TestNobodyIsToldOfACallThatWasNotSent(t *testing.T) {
	c, w := newRawWorker(t, DialConfig{})
	sent, taken := 0, 0
	for taken < 3 {
		for _, s := range shapes {
			var wit witness
			err := s.call(within(t, 5*time.Millisecond), c, Request{
				Method:    "m",
				Body:      make([]byte, 30_000),
				Abandoned: wit.abandoned,
			})
			if errors.Is(err, ErrNotSent) {
				taken++
				wit.wantNothing(t)
				continue
			}
			sent++
			if isClosed(wit.end(t)) {
				t.Errorf("%s has ended, though nobody has read it", s.name)
			}
		}
	}
	if sent == 0 {
		t.Error("no call counts as sent, though the socket's buffer took some")
	}
	w.conn.Close()
	receiveFrom(t, "the end of the connection", c.Done())
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, ctx := range []context.Context{ended, t.Context()} {
		for _, s := range shapes {
			var wit witness
			err := s.call(ctx, c, Request{Method: "m", Body: make([]byte, 8), Abandoned: wit.abandoned})
			wantErr(t, err, ErrNotSent)
			wit.wantNothing(t)
		}
	}
}

func TestNobodyIsToldOfACallThatIsAnsweredOrEndsWithTheConnection(t *testing.T) {
	for _, lost := range []bool{false, true} {
		for _, s := range shapes {
			if s.method == "fill" || strings.HasPrefix(s.name, "messages that") {
				continue // does not wait for the answer
			}
			w := newSubject()
			c, sc := pair(t, w.serve)
			var wit witness
			outcome := make(chan error, 1)
			go func() {
				outcome <- s.call(within(t, patience), c, Request{
					Method:    s.method,
					Body:      make([]byte, 8),
					Abandoned: wit.abandoned,
				})
			}()
			receiveFrom(t, "the handler", w.began)
			if lost {
				sc.Close()
				receiveFrom(t, "the end of the connection", c.Done())
			}
			close(w.release)
			err := receiveFrom(t, "the outcome", outcome)
			if errors.Is(err, ErrConnectionLost) != lost {
				t.Errorf("%s: got %v", s.name, err)
			}
			wit.wantNothing(t)
		}
	}
}

// abandoned starts a call of shape s against a raw worker that has woken, and
// gives it up. It returns the stream that has the request, which may be the lane,
// its id, and the call's end.
func abandoned(t *testing.T, c *Conn, w *rawWorker, s shape) (*yamux.Stream, uint64, <-chan struct{}) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wit witness
	outcome := make(chan error, 1)
	go func() {
		outcome <- s.call(ctx, c, Request{Method: s.method, Body: make([]byte, 8), Abandoned: wit.abandoned})
	}()
	stream := w.lane
	if s.name != "small" {
		stream = w.accept()
	}
	h, _ := get(t, stream)
	cancel()
	wantErr(t, receiveFrom(t, "the end for the caller", outcome), context.Canceled)
	if got, _ := get(t, w.lane); got.typ != frameCancel || got.id != h.id {
		t.Errorf("got %+v, want the cancel of call %d", got, h.id)
	}
	return stream, h.id, wit.end(t)
}

// streamed has one shape for each way to read a stream.
var streamed = []shape{
	{"large request", "m", true, bulky},
	{"stream", "m", true, streaming(true, receiveAll)},
	{"messages both ways", "m", true, streaming(false, receiveAll)},
}

// Whatever the worker still says on the lane of a call that was given up, the
// handler has returned by then. It reaches nobody.
func TestEachAnswerOnTheLaneIsTheEndOfACallThatWasGivenUp(t *testing.T) {
	for _, typ := range []frameType{frameResult, frameFail, frameLarge} {
		c, w := newRawWorker(t, DialConfig{})
		w.wake()
		_, first, other := abandoned(t, c, w, shapes[0])
		_, id, ended := abandoned(t, c, w, shapes[0])
		for range 2 {
			put(t, w.lane, header{typ: typ, id: id}, []byte("late")...)
		}
		receiveFrom(t, "the end of the call", ended)
		if isClosed(other) {
			t.Error("another call has ended with it")
		}
		put(t, w.lane, header{typ: typ, id: first})
		receiveFrom(t, "the end of the other call", other)
	}
}

// A result that waits to be fetched is that of a handler which has returned.
func TestWhoGivesUpAFetchAbandonsNothing(t *testing.T) {
	c, w := newRawWorker(t, DialConfig{})
	w.wake()
	ctx, cancel := context.WithCancel(t.Context())
	var wit witness
	outcome := make(chan error, 1)
	go func() { outcome <- unary(ctx, c, Request{Method: "m", Abandoned: wit.abandoned}) }()
	h, _ := get(t, w.lane)
	put(t, w.lane, header{typ: frameLarge, id: h.id})
	if fetch, _ := get(t, w.accept()); fetch.typ != frameFetch || fetch.id != h.id {
		t.Errorf("got %+v, want the fetch of call %d", fetch, h.id)
	}
	cancel()
	wantErr(t, receiveFrom(t, "the outcome", outcome), context.Canceled)
	wit.wantNothing(t)
	if got, _ := get(t, w.lane); got.typ != frameCancel || got.id != h.id {
		t.Errorf("got %+v, want the cancel of call %d, which drops its result", got, h.id)
	}
}

// A stream is not closed, which yamux would make a reset after a minute, nor is
// its end told, before the worker has said so; and what comes until then is read.
func TestAStreamOfACallThatWasGivenUpIsReadToTheEndOfTheCall(t *testing.T) {
	for _, s := range streamed {
		for _, test := range []struct {
			name string
			end  func(*yamux.Stream, uint64)
		}{
			{"a result", func(s *yamux.Stream, id uint64) { spoil(s, header{typ: frameResult, id: id}, 1, 2, 3) }},
			{"a failure", func(s *yamux.Stream, id uint64) {
				spoil(s, header{typ: frameFail, flags: flagEnd, id: id}, encodeFail(ErrorOf(io.EOF))...)
			}},
			{"the end of the stream", func(s *yamux.Stream, _ uint64) { s.Close() }},
			{"the end of the stream in a frame", func(s *yamux.Stream, id uint64) {
				s.Write(header{typ: frameResult, id: id, length: 100}.append(nil))
				s.Close()
			}},
		} {
			t.Run(s.name+" with "+test.name, func(t *testing.T) {
				c, w := newRawWorker(t, DialConfig{})
				w.wake()
				stream, id, ended := abandoned(t, c, w, s)
				if s.name != "large request" {
					for range 5 { // more than the window takes
						put(t, stream, header{typ: frameMessage, id: id}, make([]byte, windowSize/2)...)
					}
				}
				stream.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
				if _, err := stream.Read(make([]byte, 1)); !errors.Is(err, yamux.ErrTimeout) {
					t.Errorf("the stream of a call that has not ended: %v", err)
				}
				stream.SetReadDeadline(time.Time{})
				if isClosed(ended) {
					t.Error("the call has ended before the worker has said so")
				}
				test.end(stream, id)
				receiveFrom(t, "the end of the call", ended)
				if _, err := stream.Read(make([]byte, 1)); err != io.EOF {
					t.Errorf("the stream afterwards: %v, want its end", err)
				}
				if c.Err() != nil {
					t.Errorf("the connection ended: %v", c.Err())
				}
			})
		}
	}
}

// A worker that does not keep to the protocol says nothing of its handlers.
func TestAViolationOnTheStreamOfACallThatWasGivenUpBreaksTheConnection(t *testing.T) {
	for _, s := range streamed {
		for _, bad := range []header{{}, {typ: frameResult, id: 77}, {typ: frameTypeEnd}} {
			c, w := newRawWorker(t, DialConfig{})
			w.wake()
			stream, _, ended := abandoned(t, c, w, s)
			spoil(stream, bad)
			receiveFrom(t, "the end of the call", ended)
			wantErr(t, c.Err(), ErrProtocol)
		}
	}
}

// A message over the limit ends the call for its caller, and it is abandoned until
// its handler has returned too.
func TestAMessageOverTheLimitAbandonsItsCall(t *testing.T) {
	c, w := newRawWorker(t, DialConfig{MaxMessage: 1 << 20})
	w.wake()
	var wit witness
	s, err := c.Open(t.Context(), Request{Method: "m", Abandoned: wit.abandoned}, false)
	if err != nil {
		t.Fatal(err)
	}
	stream := w.accept()
	h, _ := get(t, stream)
	stream.Write(header{typ: frameMessage, id: h.id, length: 1<<20 + 1}.append(nil))
	_, err = s.Recv(within(t, patience))
	wantErr(t, err, CodeTooLarge)
	s.Cancel(false)
	ended := wit.end(t)
	if _, err := stream.Write(make([]byte, 1<<20+1)); err != nil {
		t.Fatal(err)
	}
	put(t, stream, header{typ: frameMessage, id: h.id}, 1)
	if isClosed(ended) {
		t.Error("the call has ended before the worker has said so")
	}
	put(t, stream, header{typ: frameResult, id: h.id})
	receiveFrom(t, "the end of the call", ended)
}

// LESSONS 28: a cancelled call is answered, though its result is too large for the
// lane and nobody will fetch it.
func TestACancelledCallWithALargeResultIsAnswered(t *testing.T) {
	proceed := make(chan struct{})
	r, sc := newRawCaller(t, AcceptConfig{}, handlers{"stubborn": func(ctx context.Context, _ *Call) ([]byte, error) {
		<-ctx.Done()
		<-proceed
		return make([]byte, laneMax+1), nil
	}}.serve)
	put(t, r.lane, header{typ: frameRequest, flags: flagEnd, id: 1}, request("stubborn")...)
	put(t, r.lane, header{typ: frameCancel, id: 1}, cancelCaller)
	put(t, r.lane, header{typ: frameRequest, flags: flagEnd, id: 2}, request("echo")...)
	if h, _ := get(t, r.lane); h.id != 2 {
		t.Errorf("got %+v, want the answer of the second call", h)
	}
	close(proceed)
	h, payload := get(t, r.lane)
	wantFail(t, h, payload, 1, CodeCanceled, false)
	idle(t, sc)
	if err := sc.Drain(within(t, patience)); err != nil {
		t.Errorf("drain: %v", err)
	}
}

// A request of which the worker has only a part is not run, whatever comes of the
// rest.
func TestACallWhoseRequestWasCutHasEnded(t *testing.T) {
	c, w := newRawWorker(t, DialConfig{})
	w.wake()
	for _, s := range streamed {
		var wit witness
		ctx, cancel := context.WithCancel(t.Context())
		outcome := make(chan error, 1)
		go func() {
			outcome <- s.call(ctx, c, Request{Method: "m", Body: make([]byte, 3*windowSize), Abandoned: wit.abandoned})
		}()
		stream := w.accept()
		if _, err := readHeader(stream); err != nil {
			t.Fatal(err)
		}
		cancel()
		wantErr(t, receiveFrom(t, "the end for the caller", outcome), context.Canceled)
		receiveFrom(t, "the end of the call", wit.end(t))
		if n, err := io.Copy(io.Discard, stream); err != nil || n >= 3*windowSize {
			t.Errorf("%s: the worker got %d bytes more, %v", s.name, n, err)
		}
		stream.Close()
	}
}

// LESSONS 29: Send does not wait for a worker that has stopped reading when
// another goroutine cancels, though the call's end is waited for.
func TestASendThatAnotherGoroutineCancelsDoesNotWaitForTheWorker(t *testing.T) {
	c, _ := newRawWorker(t, DialConfig{})
	var wit witness
	s, err := c.Open(t.Context(), Request{Method: "m", Abandoned: wit.abandoned}, false)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // fill the socket
		_, err := c.Call(within(t, 50*time.Millisecond), Request{Method: "m", Body: make([]byte, 4<<20)})
		wantErr(t, err, context.DeadlineExceeded)
	}
	sent := make(chan error, 1)
	go func() { sent <- s.Send(context.Background(), make([]byte, 1000)) }()
	await(t, "a write that waits", func() bool { return bytes.Contains(stacks(), []byte("transport.(*Stream).send.func1")) })
	s.Cancel(false)
	wantErr(t, receiveFrom(t, "the end of the send", sent), io.EOF)
	if isClosed(wit.end(t)) {
		t.Error("the call has ended, though the worker has read nothing of it")
	}
}
