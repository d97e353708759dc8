// Package server is the worker's side: it answers the calls of a parent.
//
// At any point in time a worker either serves or is on its way out: when its
// owner dies, when it is asked to stop, or when one of its lifetimes ends, it
// ends the calls in flight within a bounded grace and the process is gone. A
// handler can't prevent that, nor can it take the worker down with a panic.
//
// Start with [Mux], [Handle] and [Main]:
//
//	func main() {
//		var mux server.Mux
//		server.Handle(&mux, api.Check, check)
//		server.Main(&mux)
//	}
//
// With [Emit] a worker tells all its subscribers what happens.
package server

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/detached-workers/unref/lifecycle"
	"github.com/detached-workers/unref/transport"
)

// Server serves a [Mux] on a listener. The zero Server with a Mux works; its
// fields must not be changed once Serve runs. Most workers need only [Main].
type Server struct {
	// Mux has the handlers. Nil means none.
	Mux *Mux

	// Name is the worker's name. Empty means whatever name the parent gave it;
	// otherwise a parent that asks for another is refused.
	Name string

	// Build is the build identity that the worker claims in handshakes. Empty
	// means the executable's own, which is derived from its content.
	Build string

	// MaxMessage limits, in bytes, each message in either direction. Zero
	// means [transport.DefaultMaxMessage], 16 MiB; negative means none but the
	// format's, 2 GiB.
	MaxMessage int

	// MaxCalls limits the calls in flight on one connection; more are refused
	// with [transport.CodeExhausted]. Zero means [transport.DefaultMaxCalls];
	// negative means none.
	MaxCalls int

	// HandshakeTimeout is how long a new connection may take for its
	// handshake. Zero means [transport.DefaultHandshakeTimeout], 5 s; negative
	// means no limit.
	HandshakeTimeout time.Duration

	// Teardown, if not nil, runs once when the worker is on its way out, after
	// the handlers have ended or their grace is over. ctx ends with the grace.
	Teardown func(ctx context.Context)

	// Logger takes the server's own remarks, at debug level, and at warning
	// level the errors of notifications, which have no caller. Nil means
	// logrus's standard logger.
	Logger logrus.FieldLogger

	// What the handshake says and wants, and the lifetime. [Server.Run] sets
	// them.
	worker   *lifecycle.Worker // nil outside of Run
	identity transport.Welcome
	secret   []byte
	idle     time.Duration
	quit     func(reason string) // ends the worker; does not wait

	quitting atomic.Bool // quit was called

	inFlight atomic.Int64  // calls
	ended    atomic.Uint64 // calls

	once     sync.Once
	ctx      context.Context // of all calls, which the server outlives
	abort    context.CancelFunc
	open     context.Context    // until the server is asked to stop, which the subscriptions have to know of
	close    context.CancelFunc // of open
	served   chan struct{}      // closed by Run when Serve has returned
	tornDown sync.Once
	tasks    sync.WaitGroup // goroutines of Run

	mu        sync.Mutex // protects what follows
	listener  net.Listener
	pending   []net.Conn // connections in handshake, oldest first
	conns     map[*transport.ServerConn]struct{}
	refused   int // connections refused since the last look
	rung      int // how often ring was called
	idleTimer *time.Timer

	greeting int           // connections that were welcomed and are not in conns yet
	greeted  chan struct{} // closed when there are none, nil if nobody wants to know

	clients    int // connections that were welcomed, but for those of observers
	started    time.Time
	idleSince  time.Time // since then there has been no client, if there is none
	retiring   string    // why no new clients are taken
	drainTimer *time.Timer
	stopping   bool
}

// maxPending bounds the connections in handshake. When another comes the
// oldest is dropped: who means it has shaken hands long before.
const maxPending = 128

// ErrServerClosed is what Serve returns after Shutdown or Close.
var ErrServerClosed = errors.New("server closed")

func (s *Server) init() {
	s.once.Do(func() {
		s.ctx, s.abort = context.WithCancel(context.Background())
		s.open, s.close = context.WithCancel(context.Background())
		s.served = make(chan struct{})
		s.conns = make(map[*transport.ServerConn]struct{})
		if s.Mux == nil {
			s.Mux = new(Mux)
		}
		if s.Logger == nil {
			s.Logger = logrus.StandardLogger()
		}
	})
}

// Serve accepts connections on l and answers their calls until Shutdown or
// Close is called or ctx ends, which acts like Close. It returns when all
// handlers have returned, with [ErrServerClosed]. Closing l ends it too; other
// troubles of l are waited out.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	s.init()
	var wg sync.WaitGroup
	defer s.Close()
	defer wg.Wait()
	defer context.AfterFunc(ctx, s.Close)()
	if !s.listen(l) {
		l.Close()
		return ErrServerClosed
	}
	for {
		conn, err := s.accept(l)
		if err != nil {
			if !s.isStopping() { // else calls in flight may finish
				s.Close()
			}
			return err
		}
		wg.Go(func() { s.serveConn(conn) })
	}
}

func (s *Server) listen(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return false
	}
	s.listener = l
	s.started = time.Now()
	s.idleSince = s.started
	if s.worker != nil && s.worker.SharedName != "" {
		s.armIdle(max(s.idle, firstClient))
	} else {
		s.armIdle(s.idle)
	}
	return true
}

// refusalPause is the pause before the next connection is accepted when some
// have been refused: whoever floods the worker with them shall not get the time
// that calls need.
const refusalPause = time.Millisecond

// accept outlasts passing troubles such as a full descriptor table.
func (s *Server) accept(l net.Listener) (net.Conn, error) {
	if s.refusals() > 0 {
		s.sleep(refusalPause)
	}
	for delay := time.Millisecond; ; delay = min(2*delay, time.Second) {
		conn, err := l.Accept()
		if err == nil {
			return conn, nil
		}
		if s.isStopping() || errors.Is(err, net.ErrClosed) {
			return nil, ErrServerClosed
		}
		s.Logger.WithError(err).Debug("accept a connection")
		s.checkFiles()
		s.sleep(delay)
	}
}

// checkFiles has a worker leave that has been out of descriptors for some time.
func (s *Server) checkFiles() {
	if s.worker != nil {
		s.worker.CheckFiles()
	}
}

// sleep waits, but not for a server that is stopping.
func (s *Server) sleep(d time.Duration) {
	select {
	case <-time.After(d):
	case <-s.open.Done():
	}
}

func (s *Server) isStopping() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopping
}

func (s *Server) serveConn(conn net.Conn) {
	rung := s.knock(conn)
	client, welcome := false, false
	c, err := s.handshake(conn, func(hello transport.Hello) (err error) {
		client, err = s.welcome(conn, hello)
		welcome = err == nil
		return err
	})
	s.shaken(conn, c, rung)
	if welcome {
		s.greet()
	}
	defer func() { s.part(c, client) }()
	if err != nil {
		s.Logger.WithError(err).Debug("connection refused")
		return
	}
	if err := c.Serve(s.ctx, s.handle); err != nil && !errors.Is(err, io.EOF) {
		s.Logger.WithError(err).Debug("connection ended")
	}
}

func (s *Server) handshake(conn net.Conn, admit func(transport.Hello) error) (*transport.ServerConn, error) {
	timeout := s.HandshakeTimeout
	if timeout == 0 {
		timeout = transport.DefaultHandshakeTimeout
	}
	ctx := s.ctx
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	cfg := transport.AcceptConfig{
		Self:       s.identity,
		Secret:     s.secret,
		MaxMessage: s.MaxMessage,
		MaxCalls:   s.MaxCalls,
		Admit:      admit,
		Failed:     s.notificationFailed,
	}
	if s.worker != nil {
		cfg.Output = s.worker.Spool()
	}
	return transport.Accept(ctx, conn, cfg)
}

// ring tells every parent that output was written.
func (s *Server) ring() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rung++
	for c := range s.conns {
		c.Ring()
	}
}

// Shutdown takes no new connections and calls, waits for the calls in flight,
// notifications included, and closes the connections. When ctx ends first the contexts of the calls
// are cancelled, the connections closed, and ctx's error returned.
func (s *Server) Shutdown(ctx context.Context) error {
	s.init()
	s.stop()
	s.awaitGreeted(ctx)
	conns := s.stop()
	defer s.Close()
	var wg sync.WaitGroup
	errs := make([]error, len(conns))
	for i, c := range conns {
		wg.Go(func() {
			errs[i] = c.Drain(ctx)
			s.linger(ctx)
			c.Close()
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// awaitGreeted waits until who was welcomed has a connection that can be drained:
// what it asks for is then refused in a way that lets it ask somebody else.
func (s *Server) awaitGreeted(ctx context.Context) {
	s.mu.Lock()
	if s.greeting == 0 {
		s.mu.Unlock()
		return
	}
	if s.greeted == nil {
		s.greeted = make(chan struct{})
	}
	greeted := s.greeted
	s.mu.Unlock()
	select {
	case <-greeted: // which a handshake's time limit bounds
	case <-ctx.Done():
	}
}

// lingerTime is how long a shared worker goes on refusing calls after it has said
// that it takes no more: those that were on their way by then would be cut off
// without an answer, and nobody could tell whether they had run.
const lingerTime = 10 * time.Millisecond

func (s *Server) linger(ctx context.Context) {
	if s.worker == nil || s.worker.SharedName == "" {
		return
	}
	timer := time.NewTimer(lingerTime)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// Close stops the server at once: the contexts of calls are cancelled and the
// connections closed. It does not wait for handlers; Serve does.
func (s *Server) Close() {
	s.init()
	conns := s.stop()
	s.abort()
	for _, c := range conns {
		c.Close()
	}
}

// stop closes the door and returns the connections that are left.
func (s *Server) stop() []*transport.ServerConn {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shut()
	for _, timer := range []*time.Timer{s.idleTimer, s.drainTimer} {
		if timer != nil {
			timer.Stop()
		}
	}
	conns := make([]*transport.ServerConn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	return conns
}
