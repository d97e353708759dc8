package server_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/detached-workers/unref/server"
	"github.com/detached-workers/unref/transport"
)

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// serve runs s until the test ends and returns its socket and Serve's result.
func serve(t *testing.T, s *server.Server) (path string, served <-chan error) {
	t.Helper()
	if s.Logger == nil {
		quiet := logrus.New()
		quiet.SetLevel(logrus.PanicLevel)
		s.Logger = quiet
	}
	path = filepath.Join(t.TempDir(), "s")
	l, err := transport.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	result := make(chan error, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		result <- s.Serve(context.Background(), l)
	}()
	t.Cleanup(func() {
		s.Close()
		<-done
	})
	return path, result
}

func dial(t *testing.T, path string) *transport.Conn {
	t.Helper()
	c, err := transport.Dial(t.Context(), path, transport.DialConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// call makes a unary call with encoded values.
func call(t *testing.T, c *transport.Conn, method string, req, rep any) error {
	t.Helper()
	body, err := transport.Codec{}.Encode(req)
	if err != nil {
		t.Fatal(err)
	}
	data, err := c.Call(t.Context(), transport.Request{Method: method, Body: body})
	if err != nil || rep == nil {
		return err
	}
	return transport.Codec{}.Decode(data, rep)
}

const double transport.Method[int, int] = "double"

func doubler() *server.Mux {
	mux := new(server.Mux)
	server.Handle(mux, double, func(_ context.Context, n int) (int, error) { return 2 * n, nil })
	return mux
}

func TestServeAnswersCallsUntilClose(t *testing.T) {
	s := &server.Server{Mux: doubler()}
	path, served := serve(t, s)
	var got int
	if err := call(t, dial(t, path), "double", 21, &got); err != nil || got != 42 {
		t.Fatalf("got %d, %v", got, err)
	}
	s.Close()
	if err := <-served; !errors.Is(err, server.ErrServerClosed) {
		t.Fatalf("Serve returned %v", err)
	}
}

func TestServeEndsWithItsContext(t *testing.T) {
	l, err := transport.Listen(filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := new(server.Server).Serve(ctx, l); !errors.Is(err, server.ErrServerClosed) {
		t.Fatalf("Serve returned %v", err)
	}
}

func TestShutdownLetsCallsInFlightFinishAndRefusesNewOnes(t *testing.T) {
	started, release := make(chan struct{}), make(chan struct{})
	mux := doubler()
	server.Handle(mux, transport.Method[int, string]("slow"), func(context.Context, int) (string, error) {
		close(started)
		<-release
		return "done", nil
	})
	s := &server.Server{Mux: mux}
	path, served := serve(t, s)
	c := dial(t, path)
	var got string
	slow := make(chan error, 1)
	go func() { slow <- call(t, c, "slow", 0, &got) }()
	<-started
	down := make(chan error, 1)
	go func() { down <- s.Shutdown(context.Background()) }()
	for err := error(nil); !errors.Is(err, transport.CodeUnavailable); {
		if err = call(t, c, "double", 1, nil); err != nil && !errors.Is(err, transport.CodeUnavailable) {
			t.Fatalf("a call while shutting down: %v", err)
		}
	}
	close(release)
	if err := <-slow; err != nil || got != "done" {
		t.Errorf("the call in flight: %q, %v", got, err)
	}
	if err := <-down; err != nil {
		t.Errorf("Shutdown returned %v", err)
	}
	<-served
}

func TestShutdownCancelsTheCallsWhenItsContextEnds(t *testing.T) {
	cause := make(chan error, 1)
	started := make(chan struct{})
	mux := new(server.Mux)
	server.Handle(mux, transport.Method[int, int]("wait"), func(ctx context.Context, _ int) (int, error) {
		close(started)
		<-ctx.Done()
		cause <- ctx.Err()
		return 0, ctx.Err()
	})
	s := &server.Server{Mux: mux}
	path, served := serve(t, s)
	c := dial(t, path)
	waiting := make(chan error, 1)
	go func() { waiting <- call(t, c, "wait", 0, nil) }()
	<-started
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown returned %v", err)
	}
	if err := <-cause; !errors.Is(err, context.Canceled) {
		t.Errorf("the handler's context ended with %v", err)
	}
	if err := <-waiting; err == nil {
		t.Error("the call succeeded")
	}
	<-served
}

// One silent connection after the other knocks; the oldest are dropped, and a
// real client gets through.
func TestFloodOfSilentConnectionsDoesNotKeepClientsOut(t *testing.T) {
	path, _ := serve(t, &server.Server{Mux: doubler(), HandshakeTimeout: -1})
	var silent []net.Conn
	for range 300 {
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		silent = append(silent, conn)
	}
	var got int
	if err := call(t, dial(t, path), "double", 1, &got); err != nil || got != 2 {
		t.Fatalf("got %d, %v", got, err)
	}
	silent[0].SetReadDeadline(time.Now().Add(patience))
	if _, err := silent[0].Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the oldest connection was kept: %v", err)
	}
}

func TestSilentConnectionIsDroppedAtTheHandshakeTimeout(t *testing.T) {
	path, _ := serve(t, &server.Server{Mux: doubler(), HandshakeTimeout: time.Millisecond})
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetReadDeadline(time.Now().Add(patience))
	if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the end of the connection", err)
	}
}

func TestMiddlewareWrapsTheHandlersRegisteredAfterItOutermostFirst(t *testing.T) {
	var order []string
	mw := func(name string) server.Middleware {
		return func(next transport.Handler) transport.Handler {
			return func(ctx context.Context, call *transport.Call) ([]byte, error) {
				order = append(order, name+" "+call.Method)
				return next(ctx, call)
			}
		}
	}
	mux := doubler()
	mux.Use(mw("outer"), mw("inner"))
	server.Handle(mux, transport.Method[int, int]("wrapped"), func(context.Context, int) (int, error) { return 0, nil })
	path, _ := serve(t, &server.Server{Mux: mux})
	c := dial(t, path)
	for _, method := range []string{"double", "wrapped"} {
		if err := call(t, c, method, 1, nil); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := strings.Join(order, ", "), "outer wrapped, inner wrapped"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestMetadataAndMethodReachTheHandler(t *testing.T) {
	mux := new(server.Mux)
	server.Handle(mux, transport.Method[int, string]("who"), func(ctx context.Context, _ int) (string, error) {
		return fmt.Sprint(server.MethodName(ctx), server.Metadata(ctx)), nil
	})
	path, _ := serve(t, &server.Server{Mux: mux})
	data, err := dial(t, path).Call(t.Context(), transport.Request{Method: "who", Metadata: map[string]string{"k": "v"}})
	var got string
	if err != nil || (transport.Codec{}).Decode(data, &got) != nil || got != "whomap[k:v]" {
		t.Errorf("got %q, %v", got, err)
	}
	if server.MethodName(t.Context()) != "" || server.Metadata(t.Context()) != nil {
		t.Error("a context outside a call has a method")
	}
}

func TestTwoHandlersWithOneNamePanic(t *testing.T) {
	defer func() {
		if p := recover(); p == nil || !strings.Contains(fmt.Sprint(p), `"double"`) {
			t.Errorf("got panic %v", p)
		}
	}()
	mux := doubler()
	server.Handle(mux, double, func(context.Context, int) (int, error) { return 0, nil })
}

// valid has its Validate on the pointer.
type valid struct{ OK bool }

func (v *valid) Validate() error {
	if !v.OK {
		return errors.New("not ok")
	}
	return nil
}

func TestValidateIsFoundOnValueAndPointerTypes(t *testing.T) {
	mux := new(server.Mux)
	server.Handle(mux, transport.Method[valid, int]("value"), func(context.Context, valid) (int, error) { return 0, nil })
	server.Handle(mux, transport.Method[*valid, int]("pointer"), func(context.Context, *valid) (int, error) { return 0, nil })
	path, _ := serve(t, &server.Server{Mux: mux})
	c := dial(t, path)
	for _, method := range []string{"value", "pointer"} {
		if err := call(t, c, method, valid{true}, nil); err != nil {
			t.Errorf("%s, valid: %v", method, err)
		}
		_, err := c.Call(t.Context(), transport.Request{Method: method})
		if method == "value" && !errors.Is(err, transport.CodeInvalid) {
			t.Errorf("without a body: %v", err)
		}
		err = call(t, c, method, valid{false}, nil)
		if e, ok := errors.AsType[*transport.Error](err); !ok || e.Code != transport.CodeInvalid || !e.NotRun {
			t.Errorf("%s, invalid: %v", method, err)
		}
	}
}

func TestRunOutsideAWorkerSaysSo(t *testing.T) {
	if err := new(server.Server).Run(t.Context()); !errors.Is(err, server.ErrNotWorker) {
		t.Errorf("got %v", err)
	}
}

func TestMainIfWorkerReturnsInAParent(t *testing.T) {
	server.MainIfWorker("worker", new(server.Mux))
}
