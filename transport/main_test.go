package transport

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/hashicorp/yamux"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// await waits until cond holds.
func await(t testing.TB, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !cond(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s\n%s", what, stacks())
		}
	}
}

// receiveFrom waits for a value.
func receiveFrom[T any](t testing.TB, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatalf("waited in vain: %s\n%s", what, stacks())
		panic("unreachable")
	}
}

func stacks() []byte {
	b := make([]byte, 1<<20)
	return b[:runtime.Stack(b, true)]
}

// within returns a context that ends after d.
func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// modes runs a test over a Unix socket and over a net.Pipe, which buffers
// nothing at all.
func modes(t *testing.T, f func(t *testing.T, connect func(testing.TB) (net.Conn, net.Conn))) {
	t.Run("unix", func(t *testing.T) { f(t, socket) })
	t.Run("pipe", func(t *testing.T) {
		f(t, func(testing.TB) (net.Conn, net.Conn) { return net.Pipe() })
	})
}

// socket returns both ends of a Unix connection: the caller's and the worker's.
func socket(t testing.TB) (net.Conn, net.Conn) {
	t.Helper()
	l, err := Listen(filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	caller, err := net.Dial("unix", l.path)
	if err != nil {
		t.Fatal(err)
	}
	worker, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return caller, worker
}

// pair returns both ends of a connection over a real socket. The worker's end
// answers with handle until the test ends.
func pair(t testing.TB, handle Handler) (*Conn, *ServerConn) {
	t.Helper()
	return pairWith(t, socket, DialConfig{}, AcceptConfig{}, handle)
}

func pairWith(t testing.TB, connect func(testing.TB) (net.Conn, net.Conn), dial DialConfig, acc AcceptConfig, handle Handler) (*Conn, *ServerConn) {
	t.Helper()
	caller, worker := connect(t)
	sc := serve(t, worker, acc, handle)
	c, err := newConn(t.Context(), caller, dial)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, receiveFrom(t, "the worker's end", sc)
}

// serve answers calls on conn until the test ends.
func serve(t testing.TB, conn net.Conn, acc AcceptConfig, handle Handler) <-chan *ServerConn {
	accepted := make(chan *ServerConn, 1)
	served := make(chan struct{})
	go func() {
		defer close(served)
		sc, err := Accept(t.Context(), conn, acc)
		if err != nil {
			return
		}
		accepted <- sc
		if err := sc.Serve(context.Background(), handle); errors.Is(err, ErrProtocol) {
			t.Log("the worker:", err)
		}
	}()
	t.Cleanup(func() {
		conn.Close()
		receiveFrom(t, "the end of Serve", served)
	})
	return accepted
}

// handlers dispatches on the method's name.
type handlers map[string]Handler

func (h handlers) serve(ctx context.Context, call *Call) ([]byte, error) {
	if f := h[call.Method]; f != nil {
		return f(ctx, call)
	}
	return echo(ctx, call)
}

// echo has the methods that most tests need.
func echo(ctx context.Context, call *Call) ([]byte, error) {
	switch call.Method {
	case "echo":
		return call.Body, nil
	case "panic":
		panic("boom")
	case "goexit":
		runtime.Goexit()
	case "wait":
		<-ctx.Done()
		return nil, context.Cause(ctx)
	case "flood":
		for {
			if err := call.Send(call.Body); err != nil {
				return nil, err
			}
		}
	case "bidi":
		return nil, bounce(call)
	}
	return nil, Refuse(&Error{Code: CodeUnknownMethod, Message: "there is no such method"})
}

// bounce sends back what comes.
func bounce(call *Call) error {
	for {
		m, err := call.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := call.Send(m); err != nil {
			return err
		}
	}
}

// sound proves that a connection still works for small and large calls.
func sound(t testing.TB, c *Conn) {
	t.Helper()
	for _, n := range []int{10, laneMax + 1, laneMax + 1} {
		body := bytes.Repeat([]byte{3}, n)
		got, err := c.Call(within(t, patience), Request{Method: "echo", Body: body})
		if err != nil || !bytes.Equal(got, body) {
			t.Fatalf("a call of %d bytes afterwards: %d bytes, %v", n, len(got), err)
		}
	}
}

// idle waits until the worker's end has no call in flight.
func idle(t testing.TB, sc *ServerConn) {
	t.Helper()
	await(t, "no call in flight", func() bool {
		sc.mu.Lock()
		defer sc.mu.Unlock()
		return len(sc.calls) == 0
	})
}

func wantErr(t testing.TB, got error, want ...error) {
	t.Helper()
	for _, w := range want {
		if !errors.Is(got, w) {
			t.Errorf("got error %v, want one that is %v", got, w)
		}
	}
}

func wantNoErr(t testing.TB, got error, not ...error) {
	t.Helper()
	for _, n := range not {
		if errors.Is(got, n) {
			t.Errorf("got error %v, which must not be %v", got, n)
		}
	}
}

// rawCaller speaks the caller's side of the protocol frame by frame.
type rawCaller struct {
	t       testing.TB
	session *yamux.Session
	lane    *yamux.Stream
}

func newRawCaller(t testing.TB, acc AcceptConfig, handle Handler) (*rawCaller, *ServerConn) {
	t.Helper()
	caller, worker := socket(t)
	accepted := serve(t, worker, acc, handle)
	if _, _, err := greet(caller, Hello{MaxMessage: DefaultMaxMessage}); err != nil {
		t.Fatal(err)
	}
	session, err := newSession(caller)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { session.Close() })
	r := &rawCaller{t: t, session: session}
	r.lane = r.open()
	return r, receiveFrom(t, "the worker's end", accepted)
}

// newSession begins the caller's side of yamux.
func newSession(conn net.Conn) (*yamux.Session, error) {
	return yamux.Client(conn, yamuxConfig())
}

func (r *rawCaller) open() *yamux.Stream {
	r.t.Helper()
	s, err := r.session.OpenStream()
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

// rawWorker speaks the worker's side of the protocol frame by frame.
type rawWorker struct {
	t       testing.TB
	conn    net.Conn
	session *yamux.Session
	lane    *yamux.Stream
}

// newRawWorker returns a connection and its other end, which has only shaken
// hands and does not read until wake is called.
func newRawWorker(t testing.TB, cfg DialConfig) (*Conn, *rawWorker) {
	t.Helper()
	caller, worker := socket(t)
	t.Cleanup(func() { worker.Close() })
	shaken := make(chan error, 1)
	go func() {
		_, err := receive(worker, AcceptConfig{Self: Welcome{MaxMessage: DefaultMaxMessage}})
		shaken <- err
	}()
	c, err := newConn(t.Context(), caller, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := receiveFrom(t, "the handshake", shaken); err != nil {
		t.Fatal(err)
	}
	return c, &rawWorker{t: t, conn: worker}
}

// wake begins to read.
func (r *rawWorker) wake() *rawWorker {
	r.t.Helper()
	session, err := yamux.Server(r.conn, yamuxConfig())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { session.Close() })
	r.session = session
	r.lane = r.accept()
	return r
}

func (r *rawWorker) accept() *yamux.Stream {
	r.t.Helper()
	s, err := r.session.AcceptStreamWithContext(within(r.t, patience))
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

// put writes a frame.
func put(t testing.TB, w io.Writer, h header, payload ...byte) {
	t.Helper()
	if _, err := w.Write(newFrame(h, payload).frame()); err != nil {
		t.Fatal(err)
	}
}

// spoil writes a frame that may end the connection before the write returns.
func spoil(w io.Writer, h header, payload ...byte) { w.Write(newFrame(h, payload).frame()) }

// get reads a frame.
func get(t testing.TB, s *yamux.Stream) (header, []byte) {
	t.Helper()
	s.SetReadDeadline(time.Now().Add(patience))
	defer s.SetReadDeadline(time.Time{})
	h, err := readHeader(s)
	if err != nil {
		t.Fatalf("read a frame: %v\n%s", err, stacks())
	}
	payload, err := readPayload(s, h)
	if err != nil {
		t.Fatal(err)
	}
	return h, payload.bytes()
}

// request returns the payload of a request frame.
func request(method string, body ...byte) []byte {
	req := Request{Method: method}
	return append(req.appendHeader(context.Background(), nil), body...)
}
