package transport

import (
	"context"
	"encoding/binary"
	"io"
	"runtime"
	"slices"
	"sync"
)

// batchSize is how many bytes of queued frames one write takes, at most a
// frame more.
const batchSize = 64 << 10

// lane is the yamux stream that the small messages of all calls share. Sending
// never blocks: the sender writes itself, as long as the connection takes it at
// once, and what it does not take is left to a goroutine. While one writes,
// frames queue, and ride together in the next write. A frame that is still in
// the queue can be taken back, and is then known never to have left.
type lane struct {
	out   outlet
	tasks *tasks

	// handle takes each frame that comes, in yamux's receive loop. It must not
	// wait for anything, and owns the payload.
	handle func(header, *buffer) error

	// What follows is the receive loop's: the frame that comes.
	head    [headerSize]byte
	have    int // bytes of head that have come; all of them while the payload comes
	frame   header
	payload *buffer

	mu       sync.Mutex // protects what follows
	queue    []laneFrame
	bell     bool          // a bell frame is due
	window   int64         // bytes that the other side still takes
	taken    int           // bytes that have come since the other side was last told so
	flushing bool          // somebody writes
	batch    *buffer       // what is being written; nil if nothing is
	idle     chan struct{} // closed when nothing is left to write; nil if nobody waits for that
	err      error         // why the lane can't send any more
}

// outlet is the lane's view of the connection.
type outlet interface {
	offer(p []byte) (int, error)
	finish(p []byte, begun bool) error
}

type laneFrame struct {
	id  uint64
	buf *buffer
}

func newLane(tasks *tasks, handle func(header, *buffer) error) *lane {
	return &lane{tasks: tasks, handle: handle, window: yamuxInitialWindow}
}

// send queues a frame of call id and sees to it that it is written. crowded
// says that others will probably send just now too.
func (l *lane) send(id uint64, buf *buffer, crowded bool) error {
	l.mu.Lock()
	if l.err != nil {
		l.mu.Unlock()
		return l.err
	}
	l.queue = append(l.queue, laneFrame{id, buf})
	l.flush(crowded)
	return nil
}

// postMost is how many answers who reads collects before it sends them: so many
// that the write and the wake-up of the other side are shared, so few that the
// other side has something to do meanwhile.
const postMost = 16

// post queues a frame of call id for who reads, and who sends what is queued
// before it waits for input.
func (l *lane) post(id uint64, buf *buffer) {
	l.mu.Lock()
	if l.err != nil {
		l.mu.Unlock()
		return
	}
	l.queue = append(l.queue, laneFrame{id, buf})
	if len(l.queue) < postMost {
		l.mu.Unlock()
		return
	}
	l.flush(false)
}

// flushQueued writes what is queued.
func (l *lane) flushQueued() {
	l.mu.Lock()
	if len(l.queue) == 0 {
		l.mu.Unlock()
		return
	}
	l.flush(false)
}

// ring sends a bell frame. However often the bell is rung while the other side
// does not read, one frame is due.
func (l *lane) ring() {
	l.mu.Lock()
	l.bell = true
	l.flush(false)
}

// credit lets the lane send n bytes more.
func (l *lane) credit(n uint32) {
	l.mu.Lock()
	l.window += int64(n)
	l.flush(false)
}

// flushMost is how many batches a sender writes for others before it leaves
// the rest to a goroutine.
const flushMost = 4

// flush writes what is queued, unless somebody does already; mu is held and
// released. Where others are about to send it lets them go first, so that
// their frames ride along.
func (l *lane) flush(crowded bool) {
	if l.flushing || l.err != nil {
		l.mu.Unlock()
		return
	}
	l.flushing = true
	for range flushMost {
		if crowded {
			l.mu.Unlock()
			runtime.Gosched()
			l.mu.Lock()
		}
		batch := l.next()
		l.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		n, err := l.out.offer(batch)
		if err != nil {
			l.fail(err)
			return
		}
		if n < len(batch) {
			l.leave(batch[n:], n > 0)
			return
		}
		l.mu.Lock()
	}
	l.mu.Unlock()
	l.leave(nil, false)
}

// leave leaves the writing to a goroutine: first the rest of a batch, then
// what is queued.
func (l *lane) leave(rest []byte, begun bool) {
	if !l.tasks.start(func() { l.run(rest, begun) }) {
		l.fail(ErrClosed)
	}
}

func (l *lane) run(rest []byte, begun bool) {
	for {
		if len(rest) > 0 {
			if err := l.out.finish(rest, begun); err != nil {
				l.fail(err)
				return
			}
		}
		l.mu.Lock()
		rest, begun = l.next(), false
		l.mu.Unlock()
		if len(rest) == 0 {
			return
		}
	}
}

// next takes frames from the queue, as a yamux frame, or ends the flushing if
// there are none that may be sent; mu is held.
func (l *lane) next() []byte {
	l.batch.free()
	if l.batch = l.alone(); l.batch != nil {
		return l.batch.b
	}
	l.batch = getBuffer()
	if l.taken >= windowSize/2 {
		l.batch.b = appendYamux(l.batch.b, yamuxWindowUpdate, l.taken)
		l.taken = 0
	}
	l.batch.b = l.frames(l.batch.b)
	if len(l.batch.b) == 0 {
		l.ended()
		return nil
	}
	return l.batch.b
}

// alone returns a frame that has nobody to ride with, made a yamux frame.
func (l *lane) alone() *buffer {
	if len(l.queue) != 1 || l.bell || l.taken >= windowSize/2 {
		return nil
	}
	buf := l.queue[0].buf
	size := len(buf.frame())
	if int64(size) > l.window {
		return nil
	}
	l.window -= int64(size)
	l.queue = slices.Delete(l.queue, 0, 1)
	appendYamux(buf.b[:0], yamuxData, size)
	return buf
}

// frames appends a yamux frame with what may be sent, if anything may; mu is
// held.
func (l *lane) frames(b []byte) []byte {
	empty := len(b)
	b = appendYamux(b, yamuxData, 0)
	start := len(b)
	if l.bell && l.window >= headerSize {
		l.bell = false
		b = header{typ: frameBell}.append(b)
	}
	count := 0
	for _, f := range l.queue {
		frame := f.buf.frame()
		if len(b)-start >= batchSize || int64(len(b)-start+len(frame)) > l.window {
			break
		}
		b = append(b, frame...)
		f.buf.free()
		count++
	}
	l.queue = slices.Delete(l.queue, 0, count)
	if len(b) == start {
		return b[:empty]
	}
	l.window -= int64(len(b) - start)
	binary.BigEndian.PutUint32(b[start-4:], uint32(len(b)-start))
	return b
}

func appendYamux(b []byte, typ byte, length int) []byte {
	b = append(b, 0, typ, 0, 0)
	b = binary.BigEndian.AppendUint32(b, laneStream)
	return binary.BigEndian.AppendUint32(b, uint32(length))
}

// ended says that nobody writes any more; mu is held.
func (l *lane) ended() {
	l.flushing = false
	l.batch.free()
	l.batch = nil
	if l.idle != nil && (len(l.queue) == 0 || l.err != nil) {
		close(l.idle)
		l.idle = nil
	}
}

func (l *lane) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
	l.ended()
}

// takeBack removes the frames of call id that have not begun to go out, and
// reports whether there were any.
func (l *lane) takeBack(id uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := len(l.queue)
	l.queue = slices.DeleteFunc(l.queue, func(f laneFrame) bool { return f.id == id })
	return len(l.queue) < before
}

// drain waits until everything that was queued has been written, or the lane
// has failed.
func (l *lane) drain(ctx context.Context) error {
	l.mu.Lock()
	if !l.flushing && (len(l.queue) == 0 || l.err != nil) {
		l.mu.Unlock()
		return nil
	}
	if l.idle == nil {
		l.idle = make(chan struct{})
	}
	idle := l.idle
	l.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// backlog returns how many frames wait to go out.
func (l *lane) backlog() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queue)
}

// receive reads at most n bytes of the stream's data, and hands on the frame
// that is complete with them. It returns how many it has read.
func (l *lane) receive(r io.Reader, n int) (int, error) {
	if l.have < headerSize {
		got, err := r.Read(l.head[l.have:min(headerSize, l.have+n)])
		l.have += got
		if err == nil && l.have == headerSize {
			err = l.begin()
		}
		return got, err
	}
	p := l.payload.b
	got, err := r.Read(p[len(p):min(int(l.frame.length), len(p)+n)])
	l.payload.b = p[:len(p)+got]
	if err == nil && len(l.payload.b) == int(l.frame.length) {
		err = l.deliver()
	}
	return got, err
}

// begin looks at a header that is complete.
func (l *lane) begin() (err error) {
	if l.frame, err = parseHeader(l.head[:]); err != nil {
		return err
	}
	if l.frame.length > laneMax {
		return errOversizedLane(l.frame)
	}
	l.payload = getBuffer()
	l.payload.reserve(int(l.frame.length))
	if l.frame.length == 0 {
		return l.deliver()
	}
	return nil
}

func (l *lane) deliver() error {
	payload := l.payload
	l.have, l.payload = 0, nil
	return l.handle(l.frame, payload)
}

// take counts data of the stream that comes, and tells the other side when
// that is half of what it may send.
func (l *lane) take(n int) {
	l.mu.Lock()
	l.taken += n
	if l.taken < windowSize/2 {
		l.mu.Unlock()
		return
	}
	l.flush(false)
}
