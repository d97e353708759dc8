package transport

import (
	"bytes"
	"io"
	"testing"

	"github.com/hashicorp/yamux"
)

func TestAHugeMessageLeavesNoHugeBufferBehind(t *testing.T) {
	c, _ := pair(t, echo)
	for range 4 {
		for _, size := range []int{1 << 20, maxKept, 8 << 20} {
			if _, err := c.Call(t.Context(), Request{Method: "echo", Body: make([]byte, size)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 100 {
		if b := getBuffer(); cap(b.b) > maxUsual {
			t.Fatalf("a pooled buffer has %d bytes", cap(b.b))
		}
		for i := range large {
			if b, _ := large[i].Get().(*buffer); b != nil && (cap(b.b) < minLarge<<i || cap(b.b) > maxKept) {
				t.Fatalf("a buffer of pool %d has %d bytes", i, cap(b.b))
			}
		}
	}
}

func TestABufferKeepsItsContentAsItGrows(t *testing.T) {
	b := getBuffer()
	var want []byte
	for _, n := range []int{10, 1000, maxUsual, 1, maxUsual, 1 << 20, 2 << 20, maxKept, 1} {
		p := b.grow(n)
		if len(p) != n {
			t.Fatalf("grown by %d bytes and not %d", len(p), n)
		}
		fill := bytes.Repeat([]byte{byte(n % 251)}, n)
		copy(p, fill)
		if want = append(want, fill...); !bytes.Equal(b.bytes(), want) {
			t.Fatalf("%d bytes have changed as %d were added", len(want)-n, n)
		}
	}
	b.free()
}

func TestAStreamsReceiveBufferIsFreedWhenItIsIdle(t *testing.T) {
	c, sc := pair(t, echo)
	if _, err := c.Call(t.Context(), Request{Method: "echo", Body: make([]byte, 1<<20)}); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*shrinker{&c.shrinker, &sc.shrinker} {
		await(t, "a buffer that is freed", func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.timer != nil && len(s.used) == 0
		})
	}
}

// LESSONS 29: a worker that stops in the middle of a frame holds up that stream
// and nothing else, at no time.
func TestAShrinkerThatHasToWaitHoldsUpNobody(t *testing.T) {
	c, w := newRawWorker(t, DialConfig{})
	w.wake()
	stuck, other := open(t, c, "stuck", nil, true), open(t, c, "other", nil, true)
	streams := map[string]*yamux.Stream{}
	for range 2 {
		stream := w.accept()
		_, payload := get(t, stream)
		head, _, err := decodeRequest(payload)
		if err != nil {
			t.Fatal(err)
		}
		streams[head.Method] = stream
	}
	c.shrinker.note(stuck.stream)
	half := []byte{0, yamuxData, 0, 0, 0, 0, 0, byte(stuck.stream.StreamID()), 0, 0, 1, 0, 1, 2, 3}
	put(t, streams["other"], header{typ: frameResult, id: other.id})
	if _, err := other.Recv(within(t, patience)); err != io.EOF {
		t.Fatalf("got %v", err)
	}
	if _, err := w.conn.Write(half); err != nil {
		t.Fatal(err)
	}
	await(t, "the shrinker", func() bool {
		c.shrinker.mu.Lock()
		defer c.shrinker.mu.Unlock()
		return len(c.shrinker.used) == 0
	})
	noted := make(chan struct{})
	go func() { defer close(noted); c.shrinker.note(other.stream); stuck.Cancel(false) }()
	receiveFrom(t, "who notes a message meanwhile", noted)
	c.Close()
}
