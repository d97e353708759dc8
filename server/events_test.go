package server

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/detached-workers/unref/transport"
)

const (
	tick transport.Event[int]    = "tick"
	blob transport.Event[[]byte] = "blob"
)

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// serveEvents serves, with the built-in methods, until the test ends.
func serveEvents(t *testing.T, s *Server) (path string) {
	t.Helper()
	s.Logger = logrus.New()
	s.Mux = new(Mux)
	s.init()
	s.Mux.builtin(s)
	path = filepath.Join(t.TempDir(), "s")
	l, err := transport.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() { _ = s.Serve(context.Background(), l) })
	t.Cleanup(func() {
		s.Close()
		served.Wait()
	})
	return path
}

// subscribe returns a subscription that has begun, on a connection of its own.
func subscribe(t *testing.T, path string, names ...string) (*transport.Conn, *transport.Stream) {
	t.Helper()
	c, err := transport.Dial(t.Context(), path, transport.DialConfig{MaxMessage: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	req := transport.Request{Method: string(transport.MethodEvents), Value: transport.EventsRequest{Names: names}}
	s, err := c.Open(t.Context(), req, true)
	if err != nil {
		t.Fatal(err)
	}
	if first := receive(t, s); first.Name != "" || first.Missed != 0 {
		t.Fatalf("got the first message %+v", first)
	}
	return c, s
}

func receive(t *testing.T, s *transport.Stream) (msg transport.EventMessage) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	data, err := s.Recv(ctx)
	if err == nil {
		err = transport.Codec{}.Decode(data, &msg)
	}
	if err != nil {
		t.Fatal(err)
	}
	return msg
}

// wantTick checks that the next message is this event.
func wantTick(t *testing.T, s *transport.Stream, want int) {
	t.Helper()
	msg, got := receive(t, s), -1
	if err := (transport.Codec{}).Decode(msg.Body, &got); err != nil || got != want || msg.Name != string(tick) || msg.Missed != 0 {
		t.Fatalf("got %+v (%d, %v), want tick %d", msg, got, err, want)
	}
}

func emit[T any](t *testing.T, s *Server, event transport.Event[T], value T) {
	t.Helper()
	if err := Emit(s.Mux, event, value); err != nil {
		t.Error(err)
	}
}

func TestEverySubscriberGetsWhatItWantsInOrder(t *testing.T) {
	s := new(Server)
	path := serveEvents(t, s)
	emit(t, s, tick, 100) // before there is anybody
	_, one := subscribe(t, path, string(tick))
	_, both := subscribe(t, path, "other", string(tick))
	for i := range 500 {
		emit(t, s, blob, nil)
		emit(t, s, tick, i)
	}
	emit(t, s, "other", 7)
	for i := range 500 {
		wantTick(t, one, i)
		wantTick(t, both, i)
	}
	if msg := receive(t, both); msg.Name != "other" {
		t.Errorf("got %+v", msg)
	}
	if status := s.status(); status.InFlight != 0 || status.Done != 0 {
		t.Errorf("a subscription counts as a call: %+v", status)
	}
}

func TestWhatIsEmittedIsAnEventMessage(t *testing.T) {
	got, err := transport.Codec{}.Encode(emission[int]{"progress", 7})
	want, _ := transport.Codec{}.Encode(transport.EventMessage{Name: "progress", Body: []byte{7}})
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("got % x, %v, want % x", got, err, want)
	}
}

// picky is not encoded in vain.
type picky struct{ t *testing.T }

func (p picky) MarshalCBOR() ([]byte, error) {
	p.t.Error("it was encoded")
	return []byte{0xf6}, nil
}

func TestEmitWithoutASubscriberDoesNothing(t *testing.T) {
	for range 1000 {
		if err := Emit(new(Mux), "picky", picky{t}); err != nil {
			t.Fatal(err)
		}
	}
	s := new(Server)
	path := serveEvents(t, s)
	c, _ := subscribe(t, path, string(tick))
	emit(t, s, "picky", picky{t})
	emit(t, s, "unencodable", func() {})
	c.Close()
	limit, again := time.After(patience), time.NewTicker(time.Millisecond)
	defer again.Stop()
	for s.Mux.events.wanted(string(tick)) {
		select {
		case <-again.C:
		case <-limit:
			t.Fatal("the subscriber has gone and is not forgotten")
		}
	}
}

func TestEmitRefusesWhatHasNoEncodingOrIsTooLarge(t *testing.T) {
	s := &Server{MaxMessage: 1000}
	_, sub := subscribe(t, serveEvents(t, s), "any", string(tick))
	if err := Emit(s.Mux, "any", func() {}); !errors.Is(err, transport.CodeEncode) {
		t.Errorf("a function: %v", err)
	}
	if err := Emit(s.Mux, "any", make([]byte, 1000)); !errors.Is(err, transport.CodeTooLarge) {
		t.Errorf("1000 bytes: %v", err)
	}
	emit(t, s, tick, 1)
	wantTick(t, sub, 1)
}

// The subscriber takes a mebibyte at most, see subscribe.
func TestAnEventOverTheSubscribersLimitCountsAsMissed(t *testing.T) {
	s := new(Server)
	_, sub := subscribe(t, serveEvents(t, s), string(blob), string(tick))
	emit(t, s, blob, make([]byte, 2<<20))
	emit(t, s, tick, 1)
	if msg := receive(t, sub); msg.Name != "" || msg.Missed != 1 {
		t.Errorf("got %+v", msg)
	}
	wantTick(t, sub, 1)
}

func TestASubscriptionToNothingIsRefused(t *testing.T) {
	s := new(Server)
	c, _ := subscribe(t, serveEvents(t, s), string(tick))
	for _, names := range [][]string{nil, {""}, {"a", ""}} {
		req := transport.Request{Method: string(transport.MethodEvents), Value: transport.EventsRequest{Names: names}}
		stream, err := c.Open(t.Context(), req, true)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = stream.Recv(t.Context()); !errors.Is(err, transport.CodeInvalid) {
			t.Errorf("%q: got %v", names, err)
		}
	}
}

// LESSONS 30: Emit never waits, little is kept for who does not read, and it
// learns how much it has lost. What is left is the newest.
func TestASlowSubscriberLosesTheOldestAndIsToldHowMany(t *testing.T) {
	s := new(Server)
	path := serveEvents(t, s)
	_, slow := subscribe(t, path, string(tick), string(blob))
	_, quick := subscribe(t, path, string(tick))
	for range 100 { // more than may be on its way and wait together
		emit(t, s, blob, make([]byte, 1<<19))
	}
	emit(t, s, tick, 1)
	wantTick(t, quick, 1)
	if kept := s.Mux.events.kept(); kept > maxQueuedBytes {
		t.Errorf("%d bytes are kept", kept)
	}
	got, missed := 0, 0
	for msg := receive(t, slow); msg.Name != string(tick); msg = receive(t, slow) {
		missed += msg.Missed
		if msg.Name != "" {
			got++
		}
	}
	if got+missed != 100 || got == 0 || missed == 0 {
		t.Errorf("got %d events and missed %d, want 100 together", got, missed)
	}
	for i := range 2 * maxQueuedEvents {
		emit(t, s, tick, i)
	}
	if kept := s.Mux.events.kept(); kept > maxQueuedBytes {
		t.Errorf("%d bytes are kept", kept)
	}
}

// kept returns how much waits for subscribers.
func (h *hub) kept() (size int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.subscribers {
		size += s.size
	}
	return size
}

func TestTheQueueOfASubscriberIsBounded(t *testing.T) {
	for _, test := range []struct{ events, size, kept int }{
		{maxQueuedEvents, 10, maxQueuedEvents},
		{maxQueuedEvents + 5, 10, maxQueuedEvents},
		{10, maxQueuedBytes / 4, 4},
		{3, 2 * maxQueuedBytes, 1},
	} {
		var h hub
		sub := h.subscribe([]string{"e"})
		h.limit(-1)
		for i := range test.events {
			msg := make([]byte, test.size)
			msg[0] = byte(i)
			if err := h.emit("e", msg); err != nil {
				t.Fatal(err)
			}
		}
		lost := test.events - test.kept
		for i := range test.kept {
			msg, missed, ok := h.take(sub)
			if !ok || msg[0] != byte(lost+i) || (missed == lost) != (i == 0 || lost == 0) {
				t.Fatalf("%+v: got number %d of %v after %d missed", test, i, ok, missed)
			}
		}
		if _, _, ok := h.take(sub); ok || sub.size != 0 {
			t.Errorf("%+v: more is left: %d bytes", test, sub.size)
		}
	}
}

func TestShutdownEndsSubscriptionsWithWhatWasEmittedBefore(t *testing.T) {
	s := new(Server)
	_, sub := subscribe(t, serveEvents(t, s), string(tick))
	for i := range 100 {
		emit(t, s, tick, i)
	}
	down := make(chan error, 1)
	go func() { down <- s.Shutdown(context.Background()) }()
	for i := range 100 {
		wantTick(t, sub, i)
	}
	if _, err := sub.Recv(t.Context()); err != io.EOF {
		t.Errorf("got %v, want the end", err)
	}
	if err := <-down; err != nil {
		t.Error(err)
	}
}

// LESSONS 29
func TestShutdownDoesNotWaitForASubscriberThatDoesNotRead(t *testing.T) {
	s := new(Server)
	_, sub := subscribe(t, serveEvents(t, s), string(blob))
	for range 20 {
		emit(t, s, blob, make([]byte, 1<<19))
	}
	if err := s.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	for err := error(nil); ; {
		if _, err = sub.Recv(t.Context()); err != nil {
			if err != io.EOF && !errors.Is(err, transport.ErrConnectionLost) {
				t.Errorf("got %v", err)
			}
			return
		}
	}
}

func TestManyEmitAndSubscribeAtOnce(t *testing.T) {
	s := new(Server)
	path := serveEvents(t, s)
	var emitters sync.WaitGroup
	defer emitters.Wait()
	for i := range 4 {
		emitters.Go(func() {
			for n := range 2000 {
				emit(t, s, []transport.Event[int]{tick, "tock"}[i%2], n)
			}
		})
	}
	for range 20 {
		c, sub := subscribe(t, path, string(tick))
		emit(t, s, tick, -1)
		msg := receive(t, sub)
		for msg.Missed > 0 {
			msg = receive(t, sub)
		}
		if msg.Name != string(tick) {
			t.Errorf("got %+v", msg)
		}
		c.Close()
	}
}
