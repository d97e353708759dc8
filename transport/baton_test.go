package transport

import (
	"context"
	"errors"
	"io"
	"runtime"
	"sync"
	"testing"
	"time"
)

// lonely makes calls one after the other until both sides have lent their
// baton.
func lonely(t *testing.T, c *Conn, sc *ServerConn) {
	t.Helper()
	await(t, "a baton that is lent", func() bool {
		for range 100 {
			if _, err := c.Call(t.Context(), Request{Method: "m", Body: []byte("x")}); err != nil {
				t.Fatal(err)
			}
			if with(c.wire) == nobody && with(sc.wire) == reader {
				return true
			}
		}
		return false
	})
}

func with(w *wire) holder {
	w.baton.mu.Lock()
	defer w.baton.mu.Unlock()
	return w.baton.holder
}

// script answers each call with what the caller has put there for it, and else
// at once.
func script(steps <-chan func(context.Context) error) Handler {
	return func(ctx context.Context, call *Call) ([]byte, error) {
		if call.Kind == KindStream {
			return nil, call.Send([]byte("m"))
		}
		select {
		case step := <-steps:
			return nil, step(ctx)
		default:
			return call.Body, nil
		}
	}
}

// LESSONS 30: a method that has always been quick and then is not does not keep
// anybody from being read.
func TestAHandlerThatTurnsOutToBeSlowHoldsUpNobody(t *testing.T) {
	steps := make(chan func(context.Context) error, 1)
	c, sc := pair(t, script(steps))
	for range 3 {
		lonely(t, c, sc)
		entered, leave := make(chan struct{}), make(chan struct{})
		steps <- func(context.Context) error { close(entered); <-leave; return nil }
		slow := make(chan error, 1)
		go func() {
			_, err := c.Call(t.Context(), Request{Method: "m"})
			slow <- err
		}()
		receiveFrom(t, "the slow call", entered)
		for range 3 {
			if _, err := c.Call(t.Context(), Request{Method: "m", Body: []byte("y")}); err != nil {
				t.Fatal(err)
			}
			if msg, err := open(t, c, "s", nil, true).Recv(t.Context()); err != nil || string(msg) != "m" {
				t.Fatalf("got %q, %v", msg, err)
			}
		}
		close(leave)
		if err := receiveFrom(t, "the slow call's end", slow); err != nil {
			t.Error(err)
		}
	}
}

// crowd makes calls of many callers until the worker runs them without a change
// of goroutine, and goes on with them until the test ends.
func crowd(t *testing.T, c *Conn, sc *ServerConn) {
	t.Helper()
	stop := make(chan struct{})
	var callers sync.WaitGroup
	t.Cleanup(func() { close(stop); callers.Wait() })
	for range 16 {
		callers.Go(func() {
			for body := []byte("x"); ; {
				select {
				case <-stop:
					return
				default:
				}
				if reply, err := c.Call(context.Background(), Request{Method: "m", Body: body, Timeout: patience}); err != nil || string(reply) != string(body) {
					t.Errorf("got %q, %v", reply, err)
					return
				}
			}
		})
	}
	await(t, "a crowd's call that is run by who reads", func() bool {
		sc.mu.Lock()
		tiny := sc.paces["m"] != nil && sc.paces["m"].tiny.enough()
		sc.mu.Unlock()
		return tiny && with(sc.wire) == handler
	})
}

// LESSONS 30: what who reads has collected, and what follows, waits for no
// handler, however it goes on and ends.
func TestATinyMethodThatIsNotHoldsUpNoCrowd(t *testing.T) {
	steps := make(chan func(context.Context) error)
	echo := script(nil)
	c, sc := pair(t, func(ctx context.Context, call *Call) ([]byte, error) {
		if call.Method == "odd" {
			return nil, (<-steps)(ctx)
		}
		return echo(ctx, call)
	})
	crowd(t, c, sc)
	for what, tt := range map[string]struct {
		step func(context.Context) error
		want error
	}{
		"waits for another call": {func(ctx context.Context) error {
			_, err := c.Call(ctx, Request{Method: "m", Body: []byte("y")})
			return err
		}, nil},
		"panic":  {func(context.Context) error { panic("x") }, CodePanic},
		"goexit": {func(context.Context) error { runtime.Goexit(); return nil }, CodeAborted},
	} {
		trust(sc, "odd")
		odd := make(chan error, 1)
		go func() {
			_, err := c.Call(context.Background(), Request{Method: "odd", Timeout: patience})
			odd <- err
		}()
		steps <- tt.step
		if err := receiveFrom(t, "the odd call", odd); !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", what, err, tt.want)
		}
	}
}

// trust makes a method one that who reads runs itself.
func trust(sc *ServerConn, method string) {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	sc.paces[method] = &pace{quick: maxCredit, tiny: maxCredit}
}

func TestALoneCallEndsHoweverItsHandlerDoes(t *testing.T) {
	for what, tt := range map[string]struct {
		step func(context.Context) error
		want error
	}{
		"panic":  {func(context.Context) error { panic("x") }, CodePanic},
		"goexit": {func(context.Context) error { runtime.Goexit(); return nil }, CodeAborted},
		"error":  {func(context.Context) error { return io.ErrUnexpectedEOF }, io.ErrUnexpectedEOF},
	} {
		t.Run(what, func(t *testing.T) {
			steps := make(chan func(context.Context) error, 1)
			c, sc := pair(t, script(steps))
			for range 3 {
				lonely(t, c, sc)
				steps <- tt.step
				_, err := c.Call(t.Context(), Request{Method: "m"})
				wantErr(t, err, tt.want)
			}
		})
	}
}

func TestALoneCallIsInterruptedByItsTimeAndItsContext(t *testing.T) {
	steps := make(chan func(context.Context) error, 1)
	c, sc := pair(t, script(steps))
	wait := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }

	lonely(t, c, sc)
	steps <- wait
	_, err := c.Call(context.Background(), Request{Method: "m", Timeout: 20 * time.Millisecond})
	wantErr(t, err, context.DeadlineExceeded)

	lonely(t, c, sc)
	steps <- wait
	_, err = c.Call(within(t, 20*time.Millisecond), Request{Method: "m"})
	wantErr(t, err, context.DeadlineExceeded)

	lonely(t, c, sc)
	ctx, cancel := context.WithCancel(t.Context())
	steps <- func(ctx context.Context) error { cancel(); return wait(ctx) }
	_, err = c.Call(ctx, Request{Method: "m", Timeout: patience})
	wantErr(t, err, context.Canceled)

	lonely(t, c, sc)
}

func TestALoneCallSeesTheEndOfTheConnection(t *testing.T) {
	for what, end := range map[string]func(*Conn, *ServerConn){
		"closed by the worker": func(_ *Conn, sc *ServerConn) { sc.Close() },
		"closed by the caller": func(c *Conn, _ *ServerConn) { c.Close() },
	} {
		t.Run(what, func(t *testing.T) {
			steps := make(chan func(context.Context) error, 1)
			c, sc := pair(t, script(steps))
			lonely(t, c, sc)
			ended := make(chan struct{})
			steps <- func(ctx context.Context) error {
				go func() { defer close(ended); end(c, sc) }()
				<-ctx.Done()
				return nil
			}
			_, err := c.Call(t.Context(), Request{Method: "m", Timeout: patience})
			if !errors.Is(err, ErrConnectionLost) && !errors.Is(err, ErrClosed) {
				t.Errorf("got %v", err)
			}
			receiveFrom(t, "the end", ended)
		})
	}
}

// LESSONS 43: whoever has the baton when nothing happens any more, no timer
// runs, and what comes unasked is read.
func TestAnIdleConnectionIsReadAndHasNoTimer(t *testing.T) {
	rung := make(chan struct{}, 1)
	bell := func() {
		select {
		case rung <- struct{}{}:
		default:
		}
	}
	c, sc := pairWith(t, socket, DialConfig{Bell: bell}, AcceptConfig{}, script(nil))
	lonely(t, c, sc)
	sc.Ring()
	receiveFrom(t, "the bell", rung)
	for _, w := range []*wire{c.wire, sc.wire} {
		await(t, "a timer that stands", func() bool {
			w.baton.mu.Lock()
			defer w.baton.mu.Unlock()
			return !w.baton.ticking && (w.baton.holder == loop || w.baton.holder == reader)
		})
	}
}
