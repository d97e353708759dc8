package transport

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// witness is told of calls that are given up.
type witness struct {
	told  atomic.Int32
	ended <-chan struct{}
}

func (w *witness) abandoned(ended <-chan struct{}) {
	w.ended = ended
	w.told.Add(1)
}

// end returns what the witness was told, which must be so by now.
func (w *witness) end(t testing.TB) <-chan struct{} {
	t.Helper()
	if n := w.told.Load(); n != 1 {
		t.Fatalf("told %d times of a call that was given up, want once", n)
	}
	return w.ended
}

func (w *witness) wantNothing(t testing.TB) {
	t.Helper()
	if w.told.Load() != 0 {
		t.Error("told of a call that was not given up while the worker might have it")
	}
}

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// ownLimit is the shape whose request has the limit that ends it.
const ownLimit = "small with a limit of its own"

// shape is a way to make a call and to give it up.
type shape struct {
	name   string
	method string
	bulk   bool // takes its time
	call   func(ctx context.Context, c *Conn, req Request) error
}

func unary(ctx context.Context, c *Conn, req Request) error {
	_, err := c.Call(ctx, req)
	return err
}

// timed lets the request's own limit end the call when ctx does.
func timed(ctx context.Context, c *Conn, req Request) error {
	if deadline, ok := ctx.Deadline(); ok {
		req.Timeout = max(1, time.Until(deadline))
		return unary(context.WithoutCancel(ctx), c, req)
	}
	return unary(ctx, c, req)
}

func bulky(ctx context.Context, c *Conn, req Request) error {
	req.Body = append(req.Body, make([]byte, laneMax+50_000)...)
	return unary(ctx, c, req)
}

// streaming returns a way to make a call with messages that ends with its
// context, unless use ends it before.
func streaming(end bool, use func(context.Context, *Stream) error) func(context.Context, *Conn, Request) error {
	return func(ctx context.Context, c *Conn, req Request) error {
		req.Timeout = -1
		s, err := c.Open(ctx, req, end)
		if err != nil {
			return err
		}
		err = use(ctx, s)
		s.Cancel(false)
		return err
	}
}

func receiveAll(ctx context.Context, s *Stream) error {
	for {
		if _, err := s.Recv(ctx); err != nil {
			return err
		}
	}
}

func sendAll(ctx context.Context, s *Stream) error {
	for {
		if err := s.Send(ctx, make([]byte, 300_000)); err != nil {
			return err
		}
	}
}

// shapes has all ways, each with a method of a subject.
var shapes = []shape{
	{"small", "quiet", false, unary},
	{ownLimit, "quiet", false, timed},
	{"large request", "quiet", true, bulky},
	{"large result", "large", true, unary},
	{"large request and result", "large", true, bulky},
	{"stream that is quiet", "quiet", false, streaming(true, receiveAll)},
	{"stream that the handler fills", "fill", true, streaming(true, func(ctx context.Context, _ *Stream) error {
		<-ctx.Done()
		return ctx.Err()
	})},
	{"stream that is read while the handler fills it", "fill", true, streaming(true, receiveAll)},
	{"messages both ways", "quiet", true, streaming(false, receiveAll)},
	{"messages that fill the stream", "quiet", true, streaming(false, sendAll)},
	{"messages that fill the stream both ways", "fill", true, streaming(false, sendAll)},
	{"messages that another goroutine cuts short", "quiet", true, streaming(false, func(ctx context.Context, s *Stream) error {
		defer context.AfterFunc(ctx, func() { s.Cancel(false) })()
		return sendAll(context.WithoutCancel(ctx), s)
	})},
}

// subject is a worker with the handlers for shapes. Each call's body begins with a
// number of its own.
type subject struct {
	began   chan uint64
	release chan struct{} // closed to let stubborn handlers return
	heed    bool          // handlers return when their context ends

	mu      sync.Mutex // protects what follows
	running map[uint64]bool
	over    map[uint64]bool // calls whose end the caller knows of
	early   []uint64        // calls that ran after that
}

func newSubject() *subject {
	return &subject{
		began:   make(chan uint64, 1),
		release: make(chan struct{}),
		running: make(map[uint64]bool),
		over:    make(map[uint64]bool),
	}
}

// run notes that the handler of a call runs, until what it returns is called.
func (w *subject) run(call *Call) (number uint64, done func()) {
	number = binary.BigEndian.Uint64(call.Body)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running[number] = true
	if w.over[number] {
		w.early = append(w.early, number)
	}
	return number, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.running, number)
	}
}

// ended notes that the caller knows of a call's end, which must be so.
func (w *subject) ended(t *testing.T, number uint64) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over[number] = true
	if w.running[number] {
		t.Errorf("call %d has ended while its handler runs", number)
	}
	if len(w.early) > 0 {
		t.Errorf("calls %d have ended before their handlers began", w.early)
	}
}

func (w *subject) serve(ctx context.Context, call *Call) ([]byte, error) {
	if call.Method == "echo" {
		return echo(ctx, call)
	}
	number, done := w.run(call)
	defer done()
	w.began <- number
	if call.Method == "fill" { // until the cancel ends a Send that waits
		for call.Send(make([]byte, 100_000)) == nil {
		}
	}
	if w.heed {
		<-ctx.Done()
	} else {
		<-w.release
	}
	if call.Method == "large" {
		return make([]byte, laneMax+1), nil
	}
	return nil, ctx.Err()
}

// hurry answers calls at once.
func (w *subject) hurry(ctx context.Context, call *Call) ([]byte, error) {
	if call.Method == "echo" {
		return echo(ctx, call)
	}
	_, done := w.run(call)
	defer done()
	switch {
	case call.Method == "large":
		return make([]byte, laneMax+1), nil
	case call.Method == "fill":
		for range 15 { // more than the window takes
			if err := call.Send(make([]byte, 100_000)); err != nil {
				return nil, err
			}
		}
	case call.Kind == KindBidi:
		for range 5 {
			if _, err := call.Recv(); err != nil {
				return nil, err
			}
		}
	}
	return nil, nil
}

// giveUp makes a call of shape s and gives it up when its handler has begun.
func giveUp(t *testing.T, c *Conn, w *subject, s shape, number uint64) <-chan struct{} {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	if s.name == ownLimit {
		ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	}
	defer cancel()
	var wit witness
	outcome := make(chan error, 1)
	go func() {
		err := s.call(ctx, c, Request{
			Method:    s.method,
			Body:      binary.BigEndian.AppendUint64(nil, number),
			Abandoned: wit.abandoned,
		})
		outcome <- err
	}()
	if got := receiveFrom(t, "the handler", w.began); got != number {
		t.Fatalf("handler %d has begun, want %d", got, number)
	}
	if s.name != ownLimit {
		cancel()
	}
	if err := receiveFrom(t, "the end for the caller", outcome); err == nil {
		t.Fatal("the call that was given up succeeded")
	}
	if s.name == ownLimit && w.heed && wit.told.Load() == 0 {
		return nil // the worker has the same limit, and has answered before
	}
	return wit.end(t)
}

// settled proves that nothing is left of calls, and the connection is sound.
func settled(t *testing.T, c *Conn, sc *ServerConn) {
	t.Helper()
	sound(t, c)
	idle(t, sc)
	await(t, "no stream but those that are kept", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return streamsOf(c) == len(c.idle) && sc.session.NumStreams() == c.session.NumStreams()
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.abandoned) > 0 {
		t.Errorf("%d calls count as abandoned", len(c.abandoned))
	}
}

// LESSONS 28, 33: whoever gives up a call learns when its handler has returned,
// and not before.
func TestTheEndOfACallThatWasGivenUpIsThatOfItsHandler(t *testing.T) {
	for _, s := range shapes {
		t.Run(s.name, func(t *testing.T) {
			for _, heed := range []bool{true, false} {
				w := newSubject()
				w.heed = heed
				c, sc := pair(t, w.serve)
				ended := giveUp(t, c, w, s, 1)
				if !heed {
					await(t, "the cancel at the worker", func() bool {
						sc.mu.Lock()
						defer sc.mu.Unlock()
						for _, f := range sc.calls {
							return f.gone
						}
						return false
					})
					sound(t, c)
					if isClosed(ended) {
						t.Error("the call has ended while its handler runs")
					}
					close(w.release)
				}
				if ended != nil {
					receiveFrom(t, "the end of the call", ended)
				}
				w.ended(t, 1)
				settled(t, c, sc)
			}
		})
	}
}

// The end of the connection is the end of all that can be known of its calls.
func TestACallThatWasGivenUpEndsWithTheConnection(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(*Conn, *ServerConn)
	}{
		{"closed by the caller", func(c *Conn, _ *ServerConn) { c.Close() }},
		{"closed by the worker", func(_ *Conn, sc *ServerConn) { sc.Close() }},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newSubject()
			c, sc := pair(t, w.serve)
			var ended []<-chan struct{}
			for i, s := range shapes {
				ended = append(ended, giveUp(t, c, w, s, uint64(i)))
			}
			for i, ch := range ended {
				if isClosed(ch) {
					t.Errorf("%s: ended while its handler runs", shapes[i].name)
				}
			}
			test.end(c, sc)
			for i, ch := range ended {
				receiveFrom(t, "the end of "+shapes[i].name, ch)
			}
			close(w.release)
		})
	}
}

// An answer may cross the cancel at any point of its way. Each call that was
// given up ends all the same, and none before its handler.
func TestTheEndIsToldHoweverTheAnswerCrossesTheCancel(t *testing.T) {
	for _, s := range shapes {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			w := newSubject()
			c, sc := pair(t, w.hurry)
			var numbers atomic.Uint64
			for _, callers := range []int{1, 3} { // alone it reads its own answer
				var wg sync.WaitGroup
				for range callers {
					wg.Go(func() { crossing(t, c, s, &numbers, w) })
				}
				wg.Wait()
			}
			settled(t, c, sc)
		})
	}
}

// crossing gives up calls about when their answers come.
func crossing(t *testing.T, c *Conn, s shape, numbers *atomic.Uint64, w *subject) {
	usual, rounds := time.Millisecond, 100
	if !s.bulk {
		rounds = 500
	}
	for range rounds {
		number := numbers.Add(1)
		var wit witness
		ctx, cancel := context.WithTimeout(t.Context(), rand.N(usual*3/2)+1)
		began := time.Now()
		err := s.call(ctx, c, Request{
			Method:    s.method,
			Body:      binary.BigEndian.AppendUint64(nil, number),
			Abandoned: wit.abandoned,
		})
		cancel()
		if err == nil || err == io.EOF { // nothing has cut it short
			usual = (usual*7 + time.Since(began)) / 8
		}
		switch {
		case errors.Is(err, ErrNotSent):
			wit.wantNothing(t)
			w.ended(t, number)
		case wit.told.Load() > 0:
			receiveFrom(t, "the end of a call", wit.end(t))
			w.ended(t, number)
		}
	}
}
