package transport

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net"
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
	cfg.AcceptBacklog = 1024
	cfg.EnableKeepAlive = false
	cfg.ConnectionWriteTimeout = math.MaxInt64
	cfg.MaxStreamWindowSize = windowSize
	cfg.StreamOpenTimeout = 0
	cfg.StreamCloseTimeout = time.Minute // then a stream that only this side has closed is reset
	cfg.LogOutput = io.Discard
	return cfg
}

// yamuxHeader is the length of yamux's frame header.
const yamuxHeader = 12

// joined is a connection for yamux that sends each frame's header and body in
// one write where yamux makes two. Only yamux's send loop writes to it.
//
// It hides that the other side has closed from who writes, because yamux would
// end the session, and with it what the other side sent before and nobody has
// read yet: the last answers of a worker that leaves. The reader finds the end
// behind them.
type joined struct {
	net.Conn
	held [yamuxHeader]byte // a header that waits for its body
	hold bool
	buf  []byte

	broken bool // the other side has closed
}

// Write keeps the header of a data frame back until its body comes.
func (j *joined) Write(p []byte) (int, error) {
	switch {
	case j.broken:
	case j.hold:
		j.hold = false
		j.broken = j.writeFrame(p) != nil
	case announcesBody(p):
		j.hold = true
		copy(j.held[:], p)
	default:
		_, err := j.Conn.Write(p)
		j.broken = err != nil
	}
	return len(p), nil
}

// announcesBody recognises the header of a data frame (type 0) with a length.
func announcesBody(p []byte) bool {
	return len(p) == yamuxHeader && p[1] == 0 && p[8]|p[9]|p[10]|p[11] != 0
}

func (j *joined) writeFrame(body []byte) error {
	if len(body) <= 2*laneMax {
		j.buf = append(append(j.buf[:0], j.held[:]...), body...)
		_, err := j.Conn.Write(j.buf)
		return err
	}
	buffers := net.Buffers{j.held[:], body}
	_, err := buffers.WriteTo(j.Conn)
	return err
}

// violations are yamux's errors for bytes that are not its protocol.
var violations = []error{
	yamux.ErrInvalidVersion, yamux.ErrInvalidMsgType, yamux.ErrDuplicateStream, yamux.ErrRecvWindowExceeded, yamux.ErrUnexpectedFlag,
}

// sessionFault returns how the other side broke yamux's protocol, if that is
// what ended the session, which must be closed.
func sessionFault(s *yamux.Session) error {
	_, err := s.AcceptStream() // says at once why the session was closed
	for _, violation := range violations {
		if errors.Is(err, violation) {
			return fmt.Errorf("%w: %w", ErrProtocol, err)
		}
	}
	return nil
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

// past is a deadline that interrupts what waits on a stream.
var past = time.Unix(1, 0)
