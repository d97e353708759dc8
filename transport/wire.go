package transport

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/detached-workers/unref/internal/failpoint"
)

// yamux's frames begin with version, type, flags (2 bytes), stream id (4) and
// length (4).
const (
	yamuxHeader       = 12
	yamuxData         = 0
	yamuxWindowUpdate = 1
	yamuxFIN          = 4
	yamuxRST          = 8

	yamuxInitialWindow = 256 << 10 // of every stream, before the first update
)

// laneStream is the id of the yamux stream that is the call lane: the first
// that the caller opens.
const laneStream = 1

// How much is read from a connection at once: at first, and once more has come
// at a time. Bulk data goes past this buffer.
const (
	readAheadIdle = 2 << 10
	readAhead     = 16 << 10
)

// wire is the connection under a yamux session. All that yamux reads and
// writes goes through it, and beside that the data of one stream, the call
// lane, which it takes from the lane and hands to it in the goroutines of those
// who send and in yamux's receive loop: a frame on the lane costs no change of
// goroutine on its way out and none on its way in. To the other side it is an
// ordinary stream.
//
// It hides from who writes that the other side has closed, because yamux would
// end the session, and with it what the other side sent before and nobody has
// read yet: the last answers of a worker that leaves. The reader finds the end
// behind them.
type wire struct {
	net.Conn
	lane   *lane
	ready  chan struct{} // closed when the lane takes frames
	once   sync.Once
	closed chan struct{} // closed by Close
	baton  baton

	// lend is asked by the receive loop before it goes on reading, more meaning
	// that something follows at once. It reports whether it has handed on the
	// baton.
	lend func(more bool) bool

	// What follows belongs to whoever has the baton.
	in      *bufio.Reader
	crowded bool   // a read has filled the buffer
	open    bool   // the lane takes frames
	fault   error  // what somebody found who then gave the baton back
	head    []byte // of a frame, for yamux to read
	laned   int    // bytes of the present frame that are the lane's
	pass    int    // bytes of the present frame that are yamux's
	ended   bool   // the other side has closed the lane

	// What follows is the send loop's.
	held [yamuxHeader]byte // a header that waits for its body
	hold bool

	turn   sync.Mutex // held by who writes, from the beginning of a frame to its end; protects what follows
	broken error      // what a write failed with
	buf    []byte
	raw    syscall.RawConn // nil where the connection has no descriptor
	try    attemptedWrite
}

// joinMost is the size of bodies up to which a copy costs less than a write of
// two pieces.
const joinMost = 64 << 10

func newWire(conn net.Conn, lane *lane, lend func(more bool) bool) *wire {
	w := &wire{
		Conn:   conn,
		lane:   lane,
		lend:   lend,
		ready:  make(chan struct{}),
		closed: make(chan struct{}),
	}
	w.in = bufio.NewReaderSize(input{w}, readAheadIdle)
	if sc, ok := conn.(syscall.Conn); ok {
		w.raw, _ = sc.SyscallConn() // without it writes are left to a goroutine
	}
	w.try.init()
	w.baton.back = make(chan struct{}, 1)
	lane.out = w
	return w
}

// input is what is read: before it waits, what the lane has queued goes out.
type input struct{ *wire }

func (in input) Read(p []byte) (int, error) {
	in.lane.flushQueued()
	n, err := in.Conn.Read(p)
	in.crowded = in.crowded || n == readAheadIdle
	return n, err
}

// Close closes the connection.
func (w *wire) Close() error {
	w.once.Do(func() { close(w.closed) })
	return w.Conn.Close()
}

// Read reads for yamux: everything but the data of the lane, which it hands to
// the lane as it comes.
func (w *wire) Read(p []byte) (int, error) {
	for {
		n, err := w.read(p)
		switch {
		case n > 0 || err != nil && !w.wasKicked(err):
			return n, err
		case w.lend(w.more()):
			select {
			case <-w.baton.back:
			case <-w.closed:
				return 0, net.ErrClosed
			}
		}
	}
}

// read reads for yamux what is yamux's, or for the lane.
func (w *wire) read(p []byte) (n int, err error) {
	switch {
	case w.fault != nil:
		return 0, w.fault
	case len(w.head) > 0:
		n = copy(p, w.head)
		w.head = w.head[n:]
		return n, nil
	case w.laned == 0 && w.pass > 0:
		n, err = w.in.Read(p[:min(len(p), w.pass)])
		w.pass -= n
		return n, err
	}
	_, err = w.step()
	return 0, err
}

// more reports whether something is to be read on without a wait for the next
// frame, or bytes of that have come already.
func (w *wire) more() bool {
	return w.laned > 0 || w.pass > 0 || len(w.head) > 0 || w.ended || w.in.Buffered() > 0
}

// step reads something for the lane, or the beginning of a frame. mine is false
// if yamux has to read on.
func (w *wire) step() (mine bool, err error) {
	switch {
	case len(w.head) > 0 || w.laned == 0 && w.pass > 0:
		return false, nil
	case w.laned > 0:
		return true, w.feed()
	case w.ended:
		return true, io.EOF
	default:
		return true, w.next()
	}
}

// readUntil reads, for somebody who has the baton, until done. It returns false
// if the baton had to be given back before.
func (w *wire) readUntil(done func() bool) bool {
	for !done() {
		if mine, err := w.step(); !mine || err != nil {
			w.giveBack(err)
			return false
		}
	}
	return true
}

// giveBack returns the baton to the receive loop, from somebody who has read
// until there was an error, or something that is not the lane's.
func (w *wire) giveBack(err error) {
	if err != nil && !w.wasKicked(err) {
		w.fault = err
	}
	w.lane.flushQueued()
	w.baton.move(reader, loop)
}

// kick makes whoever reads look up.
func (w *wire) kick() {
	_ = w.Conn.SetReadDeadline(past) // fails when the connection is closed, which also makes it look up
}

// wasKicked recognises a kick and makes reading possible again.
func (w *wire) wasKicked(err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	_ = w.Conn.SetReadDeadline(time.Time{}) // as in kick
	return true
}

// next decides whose the frame that begins is.
func (w *wire) next() error {
	if w.crowded && w.in.Buffered() == 0 && w.in.Size() < readAhead {
		w.in = bufio.NewReaderSize(input{w}, readAhead)
	}
	h, err := w.in.Peek(yamuxHeader)
	if err != nil {
		if len(h) > 0 {
			err = noEOF(err)
		}
		return err
	}
	length := binary.BigEndian.Uint32(h[8:])
	if binary.BigEndian.Uint32(h[4:]) == laneStream {
		w.ended = h[3]&(yamuxFIN|yamuxRST) != 0
		switch h[1] {
		case yamuxData:
			return w.nextOfLane(h, length)
		case yamuxWindowUpdate:
			w.lane.credit(length)
		}
	}
	w.pass = yamuxHeader
	if h[1] == yamuxData {
		w.pass += int(length)
		w.baton.noteBulk()
	}
	return nil
}

// nextOfLane leaves to yamux what flags say of the stream, and keeps the data.
func (w *wire) nextOfLane(h []byte, length uint32) error {
	if length > windowSize {
		return fmt.Errorf("%w: %d bytes at once on the call lane", ErrProtocol, length)
	}
	w.laned = int(length)
	w.lane.take(w.laned)
	if h[0] != 0 || h[2]|h[3] != 0 {
		w.head = append([]byte(nil), h...)
		clear(w.head[8:])
	}
	_, err := w.in.Discard(yamuxHeader)
	return err
}

// feed lets the lane read some of its data.
func (w *wire) feed() error {
	if !w.open {
		select {
		case <-w.ready:
			w.open = true
		case <-w.closed:
			return net.ErrClosed
		}
	}
	n, err := w.lane.receive(w.in, w.laned)
	w.laned -= n
	return noEOF(err)
}

// Write writes for yamux's send loop, which makes two writes of a data frame;
// the header waits for its body, so that each frame is one write.
func (w *wire) Write(p []byte) (int, error) {
	if !w.hold && announcesBody(p) {
		w.hold = true
		copy(w.held[:], p)
		return len(p), nil
	}
	w.turn.Lock()
	defer w.turn.Unlock()
	if w.hold {
		w.hold = false
		_ = w.write(w.held[:], p) // kept in broken
	} else {
		_ = w.write(p, nil)
	}
	return len(p), nil
}

// announcesBody recognises the header of a data frame with a length.
func announcesBody(p []byte) bool {
	return len(p) == yamuxHeader && p[1] == yamuxData && p[8]|p[9]|p[10]|p[11] != 0
}

// write writes a frame that is in one piece or two; turn is held.
func (w *wire) write(head, body []byte) error {
	if w.broken != nil {
		return w.broken
	}
	var err error
	switch {
	case len(body) == 0:
		_, err = w.Conn.Write(head)
	case len(body) <= joinMost:
		w.buf = append(append(w.buf[:0], head...), body...)
		_, err = w.Conn.Write(w.buf)
	default:
		buffers := net.Buffers{head, body}
		_, err = buffers.WriteTo(w.Conn)
	}
	return w.wrote(err)
}

// wrote keeps the error of a write; turn is held. Unless it says that the other
// side has closed, nobody else would find out about it.
func (w *wire) wrote(err error) error {
	if w.broken = err; err != nil && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.ErrClosedPipe) {
		_ = w.Conn.Close() // the reader finds the end
	}
	return err
}

// offer writes as much of p, whole frames, as the connection takes without
// waiting. If it has written a part, the rest must be given to finish.
func (w *wire) offer(p []byte) (int, error) {
	if w.raw == nil || !w.turn.TryLock() {
		return 0, nil
	}
	if w.broken != nil {
		defer w.turn.Unlock()
		return 0, w.broken
	}
	failpoint.After(failpoint.Frame, func() { _, _ = w.try.write(w.raw, p[:len(p)/2]) })
	n, err := w.try.write(w.raw, p)
	if w.wrote(err) != nil || n == 0 || n == len(p) {
		w.turn.Unlock()
	}
	return n, err
}

// finish writes what offer has left, however long it takes. begun says that
// offer has written a part of it.
func (w *wire) finish(p []byte, begun bool) error {
	if !begun {
		w.turn.Lock()
	}
	defer w.turn.Unlock()
	return w.write(p, nil)
}
