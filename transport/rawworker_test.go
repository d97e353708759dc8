package transport

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/hashicorp/yamux"
)

// LESSONS 29: nothing waits longer than its context for a worker that has
// stopped reading, in whatever shape the call is.
func TestDeadlinesHoldAgainstAWorkerThatDoesNotRead(t *testing.T) {
	c, _ := newRawWorker(t, DialConfig{})
	limited := func() context.Context { return within(t, 50*time.Millisecond) }
	s, err := c.Open(limited(), Request{Method: "m"}, false)
	if err != nil {
		t.Fatalf("open a stream while the socket's buffer has room: %v", err)
	}
	for _, size := range []int{1, 1000, laneMax + 1, 4 << 20, 1, laneMax + 1} {
		_, err := c.Call(limited(), Request{Method: "m", Body: make([]byte, size)})
		wantErr(t, err, context.DeadlineExceeded)
	}
	_, err = c.Open(limited(), Request{Method: "m", Body: make([]byte, 1<<20)}, true)
	wantErr(t, err, context.DeadlineExceeded)
	wantErr(t, s.Send(limited(), make([]byte, 1<<20)), context.DeadlineExceeded)
	if _, err := s.Recv(context.Background()); err != context.DeadlineExceeded {
		t.Errorf("Recv of the stream that Send gave up: %v", err)
	}
	if c.Err() != nil {
		t.Errorf("the connection ended: %v", c.Err())
	}
	c.Close()
}

func TestCancelDoesNotWaitForAWorkerThatDoesNotRead(t *testing.T) {
	c, _ := newRawWorker(t, DialConfig{})
	s := open(t, c, "m", nil, false)
	for range 2 { // fill the socket
		_, err := c.Call(within(t, 50*time.Millisecond), Request{Method: "m", Body: make([]byte, 4<<20)})
		wantErr(t, err, context.DeadlineExceeded)
	}
	s.Cancel(false)
	if _, err := s.Recv(context.Background()); err != context.Canceled {
		t.Errorf("got %v", err)
	}
}

// LESSONS 29: a call that is taken back before its frame began to leave is
// known not to have run, and the worker never sees it. A call whose frame may
// have left is not.
func TestACallThatNeverLeftIsTakenBack(t *testing.T) {
	c, w := newRawWorker(t, DialConfig{})
	sent, taken := map[byte]bool{}, map[byte]bool{}
	for i := byte(0); len(taken) < 3; i++ {
		if i == 100 {
			t.Fatal("no call was taken back")
		}
		body := make([]byte, 30_000)
		body[0] = i
		_, err := c.Call(within(t, 20*time.Millisecond), Request{Method: "m", Body: body})
		wantErr(t, err, context.DeadlineExceeded)
		if errors.Is(err, ErrNotSent) {
			taken[i] = true
		} else {
			sent[i] = true
		}
	}
	if len(sent) == 0 {
		t.Error("no call counts as sent, though the socket's buffer took some")
	}
	w.wake()
	seen := map[byte]bool{}
	cancelled := map[uint64]bool{}
	for len(cancelled) < len(sent) {
		h, payload := get(t, w.lane)
		switch h.typ {
		case frameCancel:
			if len(payload) != 1 || payload[0] != cancelDeadline {
				t.Errorf("cancel with the payload % x", payload)
			}
			cancelled[h.id] = true
		case frameRequest:
			_, body, err := decodeRequest(payload)
			if err != nil || cancelled[h.id] {
				t.Fatalf("request %d after its cancel, or bad: %v", h.id, err)
			}
			seen[body[0]] = true
		}
	}
	for i := range taken {
		if seen[i] {
			t.Errorf("call %d counts as not sent and arrived", i)
		}
	}
	for i := range sent {
		if !seen[i] {
			t.Errorf("call %d counts as sent and did not arrive", i)
		}
	}
}

// LESSONS 29: bytes that were not written when the connection ended have not
// left; the call says so.
func TestQueuedCallsOfABrokenConnectionAreNotSent(t *testing.T) {
	c, w := newRawWorker(t, DialConfig{})
	outcomes := make(chan error, 50)
	for range cap(outcomes) {
		go func() {
			_, err := c.Call(context.Background(), Request{Method: "m", Body: make([]byte, 30_000)})
			outcomes <- err
		}()
	}
	await(t, "a lane that is stuck", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		queued := c.lane.backlog()
		return len(c.calls) == cap(outcomes) && 10 < queued && queued < cap(outcomes)
	})
	w.conn.Close()
	notSent := 0
	for range cap(outcomes) {
		err := receiveFrom(t, "an outcome", outcomes)
		wantErr(t, err, ErrConnectionLost)
		if errors.Is(err, ErrNotSent) {
			notSent++
		}
	}
	if notSent < 10 || notSent == cap(outcomes) {
		t.Errorf("%d of %d calls count as not sent", notSent, cap(outcomes))
	}
}

// LESSONS 28: a late answer, a second answer and an answer to nobody's call
// reach nobody.
func TestALateAnswerReachesNobody(t *testing.T) {
	c, w := newRawWorker(t, DialConfig{})
	w.wake()
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() {
		_, err := c.Call(ctx, Request{Method: "m"})
		first <- err
	}()
	h1, _ := get(t, w.lane)
	cancel()
	wantErr(t, receiveFrom(t, "the cancelled call", first), context.Canceled)
	if h, payload := get(t, w.lane); h.typ != frameCancel || h.id != h1.id || payload[0] != cancelCaller {
		t.Errorf("got %+v % x, want the cancel of call %d", h, payload, h1.id)
	}
	second := make(chan string, 1)
	go func() {
		got, err := c.Call(t.Context(), Request{Method: "m"})
		if err != nil {
			t.Error(err)
		}
		second <- string(got)
	}()
	h2, _ := get(t, w.lane)
	if h2.id == h1.id {
		t.Errorf("id %d is used twice", h1.id)
	}
	for _, typ := range []frameType{frameResult, frameLarge, frameFail, frameResult} {
		put(t, w.lane, header{typ: typ, id: h1.id}, []byte("late")...)
	}
	put(t, w.lane, header{typ: frameResult, id: 1 << 60}, []byte("nobody's")...)
	put(t, w.lane, header{typ: frameResult, id: h2.id}, []byte("right")...)
	put(t, w.lane, header{typ: frameResult, id: h2.id}, []byte("twice")...)
	if got := receiveFrom(t, "the second call", second); got != "right" {
		t.Errorf("got %q", got)
	}
	third := make(chan string, 1)
	go func() {
		got, _ := c.Call(t.Context(), Request{Method: "m"})
		third <- string(got)
	}()
	h3, _ := get(t, w.lane)
	put(t, w.lane, header{typ: frameResult, id: h3.id}, []byte("third")...)
	if got := receiveFrom(t, "the third call", third); got != "third" {
		t.Errorf("got %q", got)
	}
}

// pending starts one call of each shape against a raw worker that has woken.
func pending(t *testing.T, c *Conn, w *rawWorker) (outcomes chan error, stream *yamux.Stream) {
	t.Helper()
	outcomes = make(chan error, 3)
	go func() {
		_, err := c.Call(context.Background(), Request{Method: "small"})
		outcomes <- err
	}()
	get(t, w.lane)
	go func() {
		_, err := c.Call(context.Background(), Request{Method: "large", Body: make([]byte, laneMax+1)})
		outcomes <- err
	}()
	get(t, w.accept())
	s := open(t, c, "stream", nil, false)
	go func() {
		_, err := s.Recv(context.Background())
		outcomes <- err
	}()
	stream = w.accept()
	get(t, stream)
	return outcomes, stream
}

// LESSONS 26: however a worker breaks the protocol or the connection, every
// call settles at once, and the reason is told.
func TestABrokenWorkerSettlesEveryCall(t *testing.T) {
	half := header{typ: frameResult, id: 1, length: 100}.append(nil)
	for _, test := range []struct {
		name string
		act  func(*testing.T, *rawWorker, *yamux.Stream)
		want error
	}{
		{"garbage on the lane", func(t *testing.T, w *rawWorker, _ *yamux.Stream) {
			w.lane.Write([]byte("garbage, garbage, garbage"))
		}, ErrProtocol},
		{"a frame of an unknown type", func(t *testing.T, w *rawWorker, _ *yamux.Stream) {
			spoil(w.lane, header{typ: frameTypeEnd, id: 1})
		}, ErrProtocol},
		{"a caller's frame", func(t *testing.T, w *rawWorker, _ *yamux.Stream) {
			spoil(w.lane, header{typ: frameRequest, id: 1})
		}, ErrProtocol},
		{"a frame too large for the lane", func(t *testing.T, w *rawWorker, _ *yamux.Stream) {
			w.lane.Write(header{typ: frameResult, id: 1, length: laneMax + 1}.append(nil))
		}, ErrProtocol},
		{"a half frame on the lane", func(t *testing.T, w *rawWorker, _ *yamux.Stream) {
			w.lane.Write(half)
			w.lane.Close()
		}, io.ErrUnexpectedEOF},
		{"the lane closed", func(t *testing.T, w *rawWorker, _ *yamux.Stream) { w.lane.Close() }, ErrConnectionLost},
		{"the session closed", func(t *testing.T, w *rawWorker, _ *yamux.Stream) { w.session.Close() }, ErrConnectionLost},
		{"the socket closed", func(t *testing.T, w *rawWorker, _ *yamux.Stream) { w.conn.Close() }, ErrConnectionLost},
		{"no yamux", func(t *testing.T, w *rawWorker, _ *yamux.Stream) {
			w.conn.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
		}, ErrConnectionLost},
		{"a stream closed", func(t *testing.T, w *rawWorker, s *yamux.Stream) { s.Close() }, io.ErrUnexpectedEOF},
		{"a stream closed in a frame", func(t *testing.T, w *rawWorker, s *yamux.Stream) {
			s.Write(half)
			s.Close()
		}, ErrConnectionLost},
		{"a stream reset", func(t *testing.T, w *rawWorker, s *yamux.Stream) {
			id := byte(s.StreamID())
			w.conn.Write([]byte{0, 1, 0, 8, 0, 0, 0, id, 0, 0, 0, 0}) // a window update with RST
		}, yamux.ErrConnectionReset},
		{"garbage on a stream", func(t *testing.T, w *rawWorker, s *yamux.Stream) { s.Write(make([]byte, 1000)) }, ErrProtocol},
		{"an answer on another call's stream", func(t *testing.T, w *rawWorker, s *yamux.Stream) {
			spoil(s, header{typ: frameResult, id: 1})
		}, ErrProtocol},
		{"a bell on a stream", func(t *testing.T, w *rawWorker, s *yamux.Stream) {
			spoil(s, header{typ: frameBell, id: 3})
		}, ErrProtocol},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, w := newRawWorker(t, DialConfig{})
			w.wake()
			outcomes, stream := pending(t, c, w)
			test.act(t, w, stream)
			for range cap(outcomes) {
				err := receiveFrom(t, "an outcome", outcomes)
				wantErr(t, err, ErrConnectionLost)
				wantNoErr(t, err, ErrNotSent)
			}
			receiveFrom(t, "Done", c.Done())
			wantErr(t, c.Err(), ErrConnectionLost, test.want)
		})
	}
}

func TestAStreamOfMessagesAsTheAnswerToAUnaryCallBreaksTheConnection(t *testing.T) {
	c, w := newRawWorker(t, DialConfig{})
	w.wake()
	outcome := make(chan error, 1)
	go func() {
		_, err := c.Call(context.Background(), Request{Method: "m", Body: make([]byte, laneMax+1)})
		outcome <- err
	}()
	s := w.accept()
	h, _ := get(t, s)
	spoil(s, header{typ: frameMessage, id: h.id}, []byte("not a result")...)
	wantErr(t, receiveFrom(t, "the outcome", outcome), ErrConnectionLost, ErrProtocol)
}

func TestAMessageOverTheCallersLimitFailsItsCallOnly(t *testing.T) {
	c, w := newRawWorker(t, DialConfig{MaxMessage: 1 << 20})
	w.wake()
	s := open(t, c, "m", nil, true)
	ws := w.accept()
	h, _ := get(t, ws)
	ws.Write(header{typ: frameMessage, id: h.id, length: 1<<20 + 1}.append(nil))
	_, err := s.Recv(within(t, patience))
	wantErr(t, err, CodeTooLarge)
	if got, _ := get(t, w.lane); got.typ != frameCancel || got.id != h.id {
		t.Errorf("got %+v, want a cancel", got)
	}
	if c.Err() != nil {
		t.Errorf("the connection ended: %v", c.Err())
	}
}

// An error is carried even where it is larger than a message may be.
func TestAnErrorMayBeLargerThanAMessage(t *testing.T) {
	c, _ := pairWith(t, socket, DialConfig{MaxMessage: 100}, AcceptConfig{MaxMessage: 100_000}, func(context.Context, *Call) ([]byte, error) {
		return nil, &Error{Code: "app.long", Message: string(make([]byte, laneMax))}
	})
	for _, size := range []int{1, 90} {
		_, err := c.Call(t.Context(), Request{Method: "m", Body: make([]byte, size)})
		if e, _ := errors.AsType[*Error](err); e == nil || e.Code != "app.long" || len(e.Message) != laneMax {
			t.Errorf("got %v", err)
		}
	}
}

func TestABadErrorFrameIsTheErrorOfItsCall(t *testing.T) {
	c, w := newRawWorker(t, DialConfig{})
	w.wake()
	outcome := make(chan error, 1)
	go func() {
		_, err := c.Call(context.Background(), Request{Method: "m"})
		outcome <- err
	}()
	h, _ := get(t, w.lane)
	put(t, w.lane, header{typ: frameFail, id: h.id}, 0xff)
	wantErr(t, receiveFrom(t, "the outcome", outcome), ErrProtocol)
}

func TestTheCallerIsRungOnceHoweverOftenTheBellRangMeanwhile(t *testing.T) {
	rings := make(chan struct{}, 10_000)
	c, sc := pairWith(t, socket, DialConfig{Bell: func() { rings <- struct{}{} }}, AcceptConfig{}, echo)
	for range 1000 {
		sc.Ring()
	}
	receiveFrom(t, "a ring", rings)
	sound(t, c)
	if len(rings) >= 1000 {
		t.Errorf("1000 rings sent %d frames", len(rings)+1)
	}
}

func TestAGoAwayStopsNewCallsOnly(t *testing.T) {
	c, w := newRawWorker(t, DialConfig{})
	w.wake()
	outcome := make(chan error, 1)
	go func() {
		_, err := c.Call(context.Background(), Request{Method: "m"})
		outcome <- err
	}()
	h, _ := get(t, w.lane)
	put(t, w.lane, header{typ: frameGoAway})
	await(t, "new calls to be refused", func() bool {
		_, err := c.Call(within(t, time.Millisecond), Request{Method: "n"})
		return errors.Is(err, CodeUnavailable)
	})
	put(t, w.lane, header{typ: frameResult, id: h.id})
	if err := receiveFrom(t, "the call in flight", outcome); err != nil {
		t.Error(err)
	}
}
