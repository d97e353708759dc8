package transport

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// gate is a lane's stream whose writes wait until they are let through.
type gate struct {
	entered chan []byte // a write has begun
	proceed chan error  // lets it return
}

func newGate() *gate { return &gate{make(chan []byte, 1), make(chan error)} }

func (g *gate) Write(p []byte) (int, error) {
	g.entered <- bytes.Clone(p)
	if err := <-g.proceed; err != nil {
		return 0, err
	}
	return len(p), nil
}

func (g *gate) Read([]byte) (int, error) { return 0, io.EOF }

// ids returns the calls whose frames p consists of; 0 stands for a bell.
func ids(t *testing.T, p []byte) (list []uint64) {
	t.Helper()
	for r := bytes.NewReader(p); r.Len() > 0; {
		h, err := readHeader(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := readPayload(r, h); err != nil {
			t.Fatal(err)
		}
		list = append(list, h.id)
	}
	return list
}

func queue(t *testing.T, l *lane, id uint64, size int) {
	t.Helper()
	if err := l.send(id, newFrame(header{typ: frameResult, id: id}, make([]byte, size))); err != nil {
		t.Fatal(err)
	}
}

func equal(a, b []uint64) bool { return bytes.Equal(u64(a), u64(b)) }

func u64(a []uint64) (b []byte) {
	for _, v := range a {
		b = header{id: v}.append(b)
	}
	return b
}

func TestFramesThatComeDuringAWriteRideTogetherInTheNext(t *testing.T) {
	g := newGate()
	var tasks tasks
	l := newLane(g, &tasks)
	queue(t, l, 1, 10)
	if got := ids(t, receiveFrom(t, "the first write", g.entered)); !equal(got, []uint64{1}) {
		t.Errorf("got %v", got)
	}
	for id := range uint64(4) {
		queue(t, l, id+2, 10)
	}
	for range 100 {
		l.ring()
	}
	if !l.takeBack(3) || l.takeBack(3) || l.takeBack(1) || l.takeBack(99) {
		t.Error("takeBack is wrong about what is in the queue")
	}
	g.proceed <- nil
	if got := ids(t, receiveFrom(t, "the second write", g.entered)); !equal(got, []uint64{0, 2, 4, 5}) {
		t.Errorf("got %v, want one bell and the frames that were left", got)
	}
	drained := make(chan error, 1)
	go func() { drained <- l.drain(t.Context()) }()
	if err := l.drain(within(t, time.Millisecond)); err != context.DeadlineExceeded {
		t.Errorf("drain with an ended context: %v", err)
	}
	g.proceed <- nil
	if err := receiveFrom(t, "the drain", drained); err != nil {
		t.Error(err)
	}
	tasks.wait()
	if err := l.send(9, newFrame(header{typ: frameResult})); err != ErrClosed {
		t.Errorf("send after the end: %v", err)
	}
}

func TestAWriteTakesABoundedBatch(t *testing.T) {
	g := newGate()
	var tasks tasks
	l := newLane(g, &tasks)
	queue(t, l, 1, 0)
	<-g.entered
	for id := range uint64(10) {
		queue(t, l, id+2, laneMax)
	}
	g.proceed <- nil
	total := 0
	for total < 10 {
		p := receiveFrom(t, "a write", g.entered)
		if len(p) > batchSize+laneMax+headerSize {
			t.Errorf("a write of %d bytes", len(p))
		}
		total += len(ids(t, p))
		g.proceed <- nil
	}
	tasks.wait()
}

func TestALaneThatFailedSaysSo(t *testing.T) {
	g := newGate()
	var tasks tasks
	l := newLane(g, &tasks)
	queue(t, l, 1, 10)
	<-g.entered
	queue(t, l, 2, 10)
	broken := errors.New("broken")
	g.proceed <- broken
	if err := l.drain(t.Context()); err != nil {
		t.Errorf("drain: %v", err)
	}
	if err := l.send(3, newFrame(header{typ: frameResult})); err != broken {
		t.Errorf("got %v", err)
	}
	l.ring()
	if !l.takeBack(2) {
		t.Error("a frame that was left in the queue can't be taken back")
	}
	tasks.wait()
}

func TestAnIdleLaneHasNoGoroutine(t *testing.T) {
	g := newGate()
	var tasks tasks
	l := newLane(g, &tasks)
	if err := l.drain(t.Context()); err != nil {
		t.Error(err)
	}
	for range 3 {
		queue(t, l, 1, 1)
		<-g.entered
		g.proceed <- nil
		await(t, "the end of the flusher", func() bool {
			l.mu.Lock()
			defer l.mu.Unlock()
			return l.flushing == nil
		})
	}
	tasks.wait()
}

func TestTasksDoNotStartAfterTheWait(t *testing.T) {
	var tasks tasks
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(tasks.wait)
	}
	wg.Wait()
	if tasks.start(func() { t.Error("ran") }) {
		t.Error("a task was started")
	}
}

// The connection under yamux gets header and body in one write, however large
// the body, and what it reports as written is the body.
func TestJoinedWritesWhatYamuxWrites(t *testing.T) {
	caller, worker := socket(t)
	defer caller.Close()
	j := &joined{Conn: caller}
	var want bytes.Buffer
	frame := func(typ byte, body []byte) {
		h := make([]byte, yamuxHeader)
		h[1], h[9], h[10], h[11] = typ, byte(len(body)>>16), byte(len(body)>>8), byte(len(body))
		for _, p := range [][]byte{h, body} {
			if len(p) == 0 {
				continue
			}
			want.Write(p)
			if n, err := j.Write(p); n != len(p) || err != nil {
				t.Errorf("write of %d bytes: %d, %v", len(p), n, err)
			}
		}
	}
	got := make(chan []byte, 1)
	go func() {
		defer worker.Close()
		b, _ := io.ReadAll(worker)
		got <- b
	}()
	frame(1, nil)
	frame(0, []byte("x"))
	frame(0, make([]byte, yamuxHeader)) // a body that looks like a header
	frame(0, make([]byte, 2*laneMax))
	frame(2, nil)
	frame(0, bytes.Repeat([]byte{1}, 1<<20))
	caller.Close()
	if b := receiveFrom(t, "the bytes", got); !bytes.Equal(b, want.Bytes()) {
		t.Errorf("%d bytes arrived, want %d, or they differ", len(b), want.Len())
	}
}

// What the other side said before it closed can be read after a write that
// came too late.
func TestALateWriteDoesNotLoseWhatWasSaidBefore(t *testing.T) {
	modes(t, func(t *testing.T, connect func(testing.TB) (net.Conn, net.Conn)) {
		caller, worker := connect(t)
		defer caller.Close()
		if _, buffered := worker.(*net.UnixConn); buffered {
			caller.Write([]byte("unread"))
			worker.Write([]byte("last words"))
		}
		worker.Close()
		j := &joined{Conn: caller}
		for _, size := range []int{0, 1, 3 * laneMax} {
			h := []byte{0, 0, 0, 0, 0, 0, 0, 1, 0, byte(size >> 16), byte(size >> 8), byte(size)}
			for _, p := range [][]byte{h, make([]byte, size)} {
				if n, err := j.Write(p); len(p) > 0 && (n != len(p) || err != nil) {
					t.Errorf("write of %d bytes: %d, %v", len(p), n, err)
				}
			}
		}
		got, _ := io.ReadAll(j)
		if _, buffered := worker.(*net.UnixConn); buffered && string(got) != "last words" {
			t.Errorf("got %q", got)
		}
	})
}
