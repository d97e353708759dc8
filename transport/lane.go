package transport

import (
	"bufio"
	"context"
	"io"
	"slices"
	"sync"
)

// batchSize is how many bytes of queued frames one write takes, at most a
// frame more.
const batchSize = 64 << 10

// lane is the stream that the small messages of all calls share. Sending never
// blocks: frames queue, and while one write is under way those that come ride
// together in the next. A frame that is still in the queue can be taken back,
// and is then known never to have left.
type lane struct {
	stream io.ReadWriter
	tasks  *tasks
	batch  []byte // the flusher's

	mu       sync.Mutex // protects what follows
	queue    []laneFrame
	bell     bool          // a bell frame is due
	flushing chan struct{} // closed when the flusher that runs has ended; nil if none runs
	err      error         // why the lane can't send any more
}

type laneFrame struct {
	id  uint64
	buf *[]byte
}

func newLane(stream io.ReadWriter, tasks *tasks) *lane {
	return &lane{stream: stream, tasks: tasks}
}

// send queues a frame of call id.
func (l *lane) send(id uint64, buf *[]byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.err
	}
	l.queue = append(l.queue, laneFrame{id, buf})
	return l.flush()
}

// ring sends a bell frame. However often the bell is rung while the other side
// does not read, one frame is due.
func (l *lane) ring() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.bell = true
		_ = l.flush() // a lane that has ended rings nobody
	}
}

// flush makes sure that a flusher runs; mu is held.
func (l *lane) flush() error {
	if l.flushing != nil {
		return nil
	}
	l.flushing = make(chan struct{})
	if !l.tasks.start(l.run) {
		l.flushing = nil
		l.err = ErrClosed
	}
	return l.err
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

// run writes until nothing is left to write. It ends in between, so that an
// idle lane has no goroutine.
func (l *lane) run() {
	for {
		batch := l.next()
		if len(batch) == 0 {
			return
		}
		if _, err := l.stream.Write(batch); err != nil {
			l.fail(err)
			return
		}
	}
}

// next takes frames from the queue, or ends the flusher if there are none.
func (l *lane) next() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.batch = l.batch[:0]
	if l.bell {
		l.bell = false
		l.batch = header{typ: frameBell}.append(l.batch)
	}
	taken := 0
	for taken < len(l.queue) && len(l.batch) < batchSize {
		buf := l.queue[taken].buf
		l.batch = append(l.batch, *buf...)
		putBuffer(buf)
		taken++
	}
	l.queue = slices.Delete(l.queue, 0, taken)
	if len(l.batch) == 0 {
		l.ended()
	}
	return l.batch
}

// ended tells who waits that the flusher has ended; mu is held.
func (l *lane) ended() {
	close(l.flushing)
	l.flushing = nil
}

func (l *lane) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
	l.ended()
}

// drain waits until everything that was queued has been written, or the lane
// has failed.
func (l *lane) drain(ctx context.Context) error {
	l.mu.Lock()
	flushing := l.flushing
	l.mu.Unlock()
	if flushing == nil {
		return nil
	}
	select {
	case <-flushing:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// read hands each frame that comes to handle, until the lane or handle fails.
// handle must not wait for anything, and owns the payload.
func (l *lane) read(handle func(header, []byte) error) error {
	r := bufio.NewReaderSize(l.stream, batchSize)
	for {
		h, err := readHeader(r)
		if err != nil {
			return err
		}
		if h.length > laneMax {
			return errOversizedLane(h)
		}
		payload, err := readPayload(r, h)
		if err != nil {
			return err
		}
		if err := handle(h, payload); err != nil {
			return err
		}
	}
}

// backlog returns how many frames wait to go out.
func (l *lane) backlog() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queue)
}
