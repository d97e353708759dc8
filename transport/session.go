package transport

import (
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
	"time"

	"github.com/hashicorp/yamux"
)

// windowSize is how much of a stream may be on its way unread. 1 MiB is where
// the throughput of bulk data stops to grow; it also bounds what a reader that
// has stopped keeps in memory, per stream.
const windowSize = 1 << 20

// yamuxConfig switches off every limit of yamux that would mistake a slow or
// stopped process for a dead one: each call has its own deadline, and the end
// of a process closes the socket.
func yamuxConfig() *yamux.Config {
	cfg := yamux.DefaultConfig()
	cfg.EnableKeepAlive = false
	cfg.ConnectionWriteTimeout = math.MaxInt64
	cfg.MaxStreamWindowSize = windowSize
	cfg.StreamOpenTimeout = 0
	cfg.StreamCloseTimeout = time.Minute // then a stream that only this side has closed is reset
	cfg.LogOutput = io.Discard
	return cfg
}

// violations are yamux's errors for bytes that are not its protocol.
var violations = []error{
	yamux.ErrInvalidVersion, yamux.ErrInvalidMsgType, yamux.ErrDuplicateStream, yamux.ErrRecvWindowExceeded, yamux.ErrUnexpectedFlag,
}

// sessionFault returns why the session, which must be closed, has ended: an
// error that wraps [ErrProtocol] if the other side broke the protocol.
func sessionFault(s *yamux.Session) error {
	_, err := s.AcceptStream() // says at once why the session was closed
	for _, violation := range violations {
		if errors.Is(err, violation) {
			return fmt.Errorf("%w: %w", ErrProtocol, err)
		}
	}
	return err
}

// tasks runs the goroutines of a connection, which waits for them as it
// closes.
type tasks struct {
	mu     sync.Mutex // protects closed against a concurrent wait
	closed bool
	wg     sync.WaitGroup
}

// start runs f in a goroutine, unless the connection is closing.
func (t *tasks) start(f func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.wg.Go(f)
	return true
}

// wait lets no further task start and waits for those that run.
func (t *tasks) wait() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.wg.Wait()
}

// idleBuffers is for how long yamux's receive buffers of streams, up to
// windowSize each, wait for the next message.
const idleBuffers = time.Second

// shrinker frees the receive buffers of streams on which no more has come for a
// while. To free and grow them for each message would cost more than to fill
// them.
type shrinker struct {
	tasks *tasks

	mu      sync.Mutex                 // protects what follows
	used    map[*yamux.Stream]struct{} // since the timer was set; nil while it is not
	timer   *time.Timer
	stopped bool
}

// note says that a message has come on a stream.
func (s *shrinker) note(stream *yamux.Stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return
	}
	if s.used == nil {
		s.used = make(map[*yamux.Stream]struct{})
		s.timer = rearm(s.timer, idleBuffers, s.shrink)
	}
	s.used[stream] = struct{}{}
}

// shrink leaves the work to a goroutine, because yamux holds a stream for as long
// as the other side takes to write a frame.
func (s *shrinker) shrink() {
	s.mu.Lock()
	used := s.used
	s.used = nil
	s.mu.Unlock()
	s.tasks.start(func() {
		for stream := range used {
			stream.Shrink()
		}
	})
}

func (s *shrinker) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	if s.timer != nil {
		s.timer.Stop()
	}
}

// past is a deadline that interrupts what waits on a stream.
var past = time.Unix(1, 0)
