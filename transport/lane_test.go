package transport

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"
)

// gate is a connection whose writes wait until they are let through. It takes
// at once as many bytes as it has room for.
type gate struct {
	entered chan []byte // a write has begun
	proceed chan error  // lets it return
	room    int
	begun   []byte // what it took of a write at once
}

func newGate() *gate { return &gate{entered: make(chan []byte, 1), proceed: make(chan error)} }

func (g *gate) offer(p []byte) (int, error) {
	n := min(g.room, len(p))
	g.room -= n
	g.begun = bytes.Clone(p[:n])
	if n > 0 && n == len(p) {
		g.entered <- g.begun
	}
	return n, nil
}

func (g *gate) finish(p []byte, begun bool) error {
	if !begun {
		g.begun = nil
	}
	g.entered <- append(g.begun, p...)
	return <-g.proceed
}

// gated returns a lane that writes to a gate.
func gated(tasks *tasks) (*lane, *gate) {
	l, g := newLane(tasks, nil), newGate()
	l.out = g
	return l, g
}

// ids returns the calls whose frames p consists of; 0 stands for a bell.
func ids(t *testing.T, p []byte) (list []uint64) {
	t.Helper()
	if got, want := p[:yamuxHeader], appendYamux(nil, yamuxData, len(p)-yamuxHeader); !bytes.Equal(got, want) {
		t.Errorf("a yamux header of % x, want % x", got, want)
	}
	for r := bytes.NewReader(p[yamuxHeader:]); r.Len() > 0; {
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
	if err := l.send(id, newFrame(header{typ: frameResult, id: id}, make([]byte, size)), false); err != nil {
		t.Fatal(err)
	}
}

// feed gives p to the lane, which reads as much at once as it likes.
func feed(t *testing.T, l *lane, p []byte) {
	t.Helper()
	for r := bytes.NewReader(p); r.Len() > 0; {
		if _, err := l.receive(r, r.Len()); err != nil {
			t.Fatal(err)
		}
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
	var tasks tasks
	l, g := gated(&tasks)
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
	queue(t, l, 8, 1) // finds out that nobody writes any more
	if err := l.send(9, newFrame(header{typ: frameResult}), false); err != ErrClosed {
		t.Errorf("send after the end: %v", err)
	}
}

func TestAWriteTakesABoundedBatch(t *testing.T) {
	var tasks tasks
	l, g := gated(&tasks)
	l.window = windowSize
	queue(t, l, 1, 0)
	<-g.entered
	for id := range uint64(10) {
		queue(t, l, id+2, laneMax)
	}
	g.proceed <- nil
	total := 0
	for total < 10 {
		p := receiveFrom(t, "a write", g.entered)
		if len(p) > yamuxHeader+batchSize+laneMax+headerSize {
			t.Errorf("a write of %d bytes", len(p))
		}
		total += len(ids(t, p))
		g.proceed <- nil
	}
	tasks.wait()
}

func TestALaneThatFailedSaysSo(t *testing.T) {
	var tasks tasks
	l, g := gated(&tasks)
	queue(t, l, 1, 10)
	<-g.entered
	queue(t, l, 2, 10)
	broken := errors.New("broken")
	g.proceed <- broken
	if err := l.drain(t.Context()); err != nil {
		t.Errorf("drain: %v", err)
	}
	if err := l.send(3, newFrame(header{typ: frameResult}), false); err != broken {
		t.Errorf("got %v", err)
	}
	l.ring()
	if !l.takeBack(2) {
		t.Error("a frame that was left in the queue can't be taken back")
	}
	tasks.wait()
}

func TestAnIdleLaneHasNoGoroutine(t *testing.T) {
	var tasks tasks
	l, g := gated(&tasks)
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
			return !l.flushing
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

func TestAnotherGoroutineFinishesAWriteThatWouldWait(t *testing.T) {
	var tasks tasks
	l, g := gated(&tasks)
	g.room = 50
	queue(t, l, 1, 5) // fits
	if got := ids(t, receiveFrom(t, "the first write", g.entered)); !equal(got, []uint64{1}) {
		t.Errorf("got %v", got)
	}
	queue(t, l, 2, 100)
	queue(t, l, 3, 1)
	if got := ids(t, receiveFrom(t, "the rest", g.entered)); !equal(got, []uint64{2}) || len(g.begun) == 0 {
		t.Errorf("got %v after %d bytes", got, len(g.begun))
	}
	g.proceed <- nil
	if got := ids(t, receiveFrom(t, "the next write", g.entered)); !equal(got, []uint64{3}) {
		t.Errorf("got %v", got)
	}
	g.proceed <- nil
	tasks.wait()
}

func TestALaneKeepsToTheWindowOfTheOtherSide(t *testing.T) {
	var tasks tasks
	l, g := gated(&tasks)
	g.room = 1 << 30
	l.window = 100
	queue(t, l, 1, 50)
	if got := ids(t, receiveFrom(t, "the first write", g.entered)); !equal(got, []uint64{1}) {
		t.Errorf("got %v", got)
	}
	queue(t, l, 2, 50)
	l.ring()
	if err := l.drain(within(t, time.Millisecond)); err == nil {
		t.Error("drained, though a frame waits")
	}
	if len(g.entered) > 0 && !equal(ids(t, <-g.entered), []uint64{0}) {
		t.Error("more was written than the window allows")
	}
	l.credit(100)
	if got := ids(t, receiveFrom(t, "the write after an update", g.entered)); !equal(got, []uint64{2}) {
		t.Errorf("got %v", got)
	}
	if err := l.drain(t.Context()); err != nil {
		t.Error(err)
	}
	tasks.wait()
}

func TestALaneTakesFramesHoweverTheyAreCut(t *testing.T) {
	var frames []byte
	var want []uint64
	for id, size := range []int{0, 1, headerSize, laneMax, 3, laneMax} {
		frames = append(frames, newFrame(header{typ: frameResult, id: uint64(id)}, bytes.Repeat([]byte{byte(id)}, size)).frame()...)
		want = append(want, uint64(id))
	}
	for _, cut := range []int{1, 2, headerSize, 1000, laneMax, len(frames)} {
		var got []uint64
		l := newLane(new(tasks), func(h header, buf *buffer) error {
			if payload := buf.bytes(); len(payload) != int(h.length) || bytes.Count(payload, []byte{byte(h.id)}) != len(payload) {
				t.Errorf("cut every %d bytes: frame %d is damaged", cut, h.id)
			}
			got = append(got, h.id)
			return nil
		})
		for p := range slices.Chunk(frames, cut) {
			feed(t, l, p)
		}
		if !equal(got, want) || l.have > 0 {
			t.Errorf("cut every %d bytes: got %v and %d bytes more, want %v", cut, got, l.have, want)
		}
	}
}

func TestTheOtherSideIsToldWhatTheLaneHasTaken(t *testing.T) {
	var tasks tasks
	l, g := gated(&tasks)
	g.room = 1 << 30
	l.handle = func(header, *buffer) error { return nil }
	frame := newFrame(header{typ: frameResult, id: 1}, make([]byte, laneMax)).frame()
	told := 0
	for range 200 {
		l.take(len(frame))
		feed(t, l, frame)
		select {
		case p := <-g.entered:
			if len(p) != yamuxHeader || p[1] != yamuxWindowUpdate {
				t.Fatalf("got % x", p)
			}
			told += int(binary.BigEndian.Uint32(p[8:]))
		default:
		}
	}
	if missing := 200*len(frame) - told; missing < 0 || missing >= windowSize/2 {
		t.Errorf("told of %d bytes, %d are missing", told, missing)
	}
	tasks.wait()
}

// The connection under yamux gets header and body in one write, however large
// the body, and what it reports as written is the body.
func TestWireWritesWhatYamuxWrites(t *testing.T) {
	caller, worker := socket(t)
	defer caller.Close()
	j := newWire(caller, newLane(new(tasks), nil), func(bool) bool { return false })
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
		words := append([]byte{0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 10}, "last words"...)
		caller, worker := connect(t)
		defer caller.Close()
		if _, buffered := worker.(*net.UnixConn); buffered {
			caller.Write([]byte("unread"))
			worker.Write(words)
		}
		worker.Close()
		j := newWire(caller, newLane(new(tasks), nil), func(bool) bool { return false })
		for _, size := range []int{0, 1, 3 * laneMax} {
			h := []byte{0, 0, 0, 0, 0, 0, 0, 1, 0, byte(size >> 16), byte(size >> 8), byte(size)}
			for _, p := range [][]byte{h, make([]byte, size)} {
				if n, err := j.Write(p); len(p) > 0 && (n != len(p) || err != nil) {
					t.Errorf("write of %d bytes: %d, %v", len(p), n, err)
				}
			}
		}
		got, _ := io.ReadAll(j)
		if _, buffered := worker.(*net.UnixConn); buffered && !bytes.Equal(got, words) {
			t.Errorf("got %q", got)
		}
	})
}
