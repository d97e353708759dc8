package server_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/sirupsen/logrus"

	"github.com/detached-workers/unref/server"
	"github.com/detached-workers/unref/transport"
)

// remarks collects what a server logs.
type remarks struct {
	mu      sync.Mutex // protects entries
	entries []*logrus.Entry
}

func (r *remarks) logger() *logrus.Logger {
	logger := logrus.New()
	logger.SetOutput(discard{})
	logger.SetLevel(logrus.WarnLevel)
	logger.AddHook(r)
	return logger
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// Levels and Fire make the collection a hook of its own logger.
func (r *remarks) Levels() []logrus.Level { return logrus.AllLevels }

func (r *remarks) Fire(e *logrus.Entry) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.entries = append(r.entries, e)
	return nil
}

// take returns what was logged since the last time.
func (r *remarks) take() []*logrus.Entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	entries := r.entries
	r.entries = nil
	return entries
}

// notify makes a notification with an encoded value.
func notify(t *testing.T, c *transport.Conn, method string, req any) error {
	t.Helper()
	_, err := c.Call(t.Context(), transport.Request{Method: method, Value: req, Notify: true, Metadata: map[string]string{"k": "v"}})
	return err
}

// jobs registers a method whose handler waits to be released or for its
// context, and says how that ended.
func jobs(mux *server.Mux) (begun chan string, release chan struct{}, ended chan error) {
	begun, release, ended = make(chan string, 10), make(chan struct{}), make(chan error, 10)
	server.Handle(mux, transport.Method[valid, int]("job"), func(ctx context.Context, _ valid) (int, error) {
		begun <- server.MethodName(ctx) + server.Metadata(ctx)["k"]
		select {
		case <-release:
		case <-ctx.Done():
		}
		ended <- ctx.Err()
		return 1, ctx.Err()
	})
	return begun, release, ended
}

func TestWhatIsWrongWithANotificationIsAnErrorBeforeItsHandlerRuns(t *testing.T) {
	mux := new(server.Mux)
	begun, _, _ := jobs(mux)
	server.HandleStream(mux, transport.StreamMethod[int, int]("stream"), func(context.Context, int, func(int) error) error { return nil })
	log := new(remarks)
	path, _ := serve(t, &server.Server{Mux: mux, Logger: log.logger()})
	c := dial(t, path)
	for _, test := range []struct {
		method string
		req    any
		want   transport.Code
	}{
		{"nope", 1, transport.CodeUnknownMethod},
		{"stream", 1, transport.CodeUnknownMethod},
		{"job", "no struct", transport.CodeInvalid},
		{"job", valid{false}, transport.CodeInvalid},
	} {
		err := notify(t, c, test.method, test.req)
		if e, _ := errors.AsType[*transport.Error](err); e == nil || e.Code != test.want || !e.NotRun {
			t.Errorf("%s of %v: got %v, want %s", test.method, test.req, err, test.want)
		}
	}
	if entries := log.take(); len(begun) > 0 || len(entries) > 0 {
		t.Errorf("%d handlers ran, and %d errors were logged that were answered", len(begun), len(entries))
	}
}

func TestShutdownWaitsForNotificationsWhoseCallerHasGone(t *testing.T) {
	mux := new(server.Mux)
	begun, release, ended := jobs(mux)
	s := &server.Server{Mux: mux}
	path, served := serve(t, s)
	c := dial(t, path)
	if err := notify(t, c, "job", valid{true}); err != nil {
		t.Fatal(err)
	}
	if got := <-begun; got != "jobv" {
		t.Errorf("the handler's context says %q", got)
	}
	c.Close()
	down := make(chan error, 1)
	go func() { down <- s.Shutdown(context.Background()) }()
	awaitClosedDoor(t, path)
	if len(down)+len(served) > 0 {
		t.Error("the server has not waited")
	}
	close(release)
	if err := <-ended; err != nil {
		t.Errorf("the handler's context ended: %v", err)
	}
	if err := <-down; err != nil {
		t.Error(err)
	}
	<-served
}

// awaitClosedDoor waits until the server takes no more connections.
func awaitClosedDoor(t *testing.T, path string) {
	t.Helper()
	for {
		c, err := transport.Dial(t.Context(), path, transport.DialConfig{})
		if err != nil {
			return
		}
		c.Close()
	}
}

func TestNotificationsEndWithTheServer(t *testing.T) {
	mux := new(server.Mux)
	begun, _, ended := jobs(mux)
	log := new(remarks)
	s := &server.Server{Mux: mux, Logger: log.logger()}
	path, served := serve(t, s)
	if err := notify(t, dial(t, path), "job", valid{true}); err != nil {
		t.Fatal(err)
	}
	<-begun
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown returned %v", err)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the handler's context ended with %v", err)
	}
	<-served
	if entries := log.take(); len(entries) != 1 {
		t.Errorf("%d remarks, want that the notification was not done", len(entries))
	}
}

// LESSONS 26: an error that nobody waits for is not lost.
func TestErrorsAndPanicsOfNotificationsAreLogged(t *testing.T) {
	mux := doubler()
	server.Handle(mux, transport.Method[string, any]("fail"), func(_ context.Context, how string) (any, error) {
		switch how {
		case "panic":
			panic("boom")
		case "result":
			return func() {}, nil // which has no encoding, and needs none
		}
		return nil, errors.New("no luck")
	})
	log := new(remarks)
	s := &server.Server{Mux: mux, Logger: log.logger()}
	path, _ := serve(t, s)
	c := dial(t, path)
	if err := notify(t, c, "fail", "result"); err != nil {
		t.Fatal(err)
	}
	for how, want := range map[string]string{"error": "no luck", "panic": "boom"} {
		if err := notify(t, c, "fail", how); err != nil {
			t.Fatal(err)
		}
		entries := log.take()
		for ; len(entries) == 0; entries = log.take() { // which the binary's time limit bounds
			if err := call(t, c, "double", 1, nil); err != nil {
				t.Fatal(err)
			}
		}
		e := entries[0]
		err, _ := e.Data[logrus.ErrorKey].(error)
		if e.Level != logrus.WarnLevel || e.Data["method"] != "fail" || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v %q", how, e.Level, e.Data)
		}
		stack, _ := e.Data["stack"].(string)
		if strings.Contains(stack, "TestErrorsAndPanicsOfNotifications") != (how == "panic") {
			t.Errorf("%s: got the stack %q", how, stack)
		}
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if entries := log.take(); len(entries) > 0 {
		t.Errorf("the notification that succeeded has left a remark: %v", entries[0].Data)
	}
}

// A middleware sees a notification as it sees a call, and may refuse it.
func TestMiddlewareMayRefuseANotification(t *testing.T) {
	mux := new(server.Mux)
	returned := make(chan error, 1)
	mux.Use(func(next transport.Handler) transport.Handler {
		return func(ctx context.Context, call *transport.Call) ([]byte, error) {
			if call.Metadata["k"] == "v" && call.Method == "refused" {
				return nil, transport.Errorf("app.denied", "not for you")
			}
			result, err := next(ctx, call)
			returned <- err
			return result, err
		}
	})
	fail := func(context.Context, int) (int, error) { return 0, errors.New("no luck") }
	server.Handle(mux, transport.Method[int, int]("refused"), fail)
	server.Handle(mux, transport.Method[int, int]("passed"), fail)
	path, _ := serve(t, &server.Server{Mux: mux})
	c := dial(t, path)
	if err := notify(t, c, "refused", 1); !errors.Is(err, transport.Code("app.denied")) {
		t.Errorf("got %v", err)
	}
	if err := notify(t, c, "passed", 1); err != nil {
		t.Error(err)
	}
	if err := <-returned; err == nil {
		t.Error("the middleware does not see how the notification ended")
	}
}
