package transport

import (
	"bytes"
	"sync"
	"sync/atomic"
	"testing"
)

func BenchmarkEcho(b *testing.B) {
	c, _ := pair(b, echo)
	body := make([]byte, 64)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Call(b.Context(), Request{Method: "echo", Body: body}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEcho64(b *testing.B) {
	c, _ := pair(b, echo)
	body := make([]byte, 64)
	b.SetParallelism(32)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := c.Call(b.Context(), Request{Method: "echo", Body: body}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkEchoLarge(b *testing.B) {
	c, _ := pair(b, echo)
	body := make([]byte, 1<<20)
	b.SetBytes(2 << 20)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Call(b.Context(), Request{Method: "echo", Body: body}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkStreamMessages(b *testing.B) {
	c, _ := pair(b, echo)
	s := open(b, c, "flood", make([]byte, 1000), true)
	b.SetBytes(1000)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Recv(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFrameEncode(b *testing.B) {
	head, body := request("echo"), make([]byte, 64)
	b.ReportAllocs()
	for b.Loop() {
		newFrame(header{typ: frameRequest, flags: flagEnd, id: 1}, head, body).free()
	}
}

func BenchmarkFrameParse(b *testing.B) {
	frame := newFrame(header{typ: frameRequest, flags: flagEnd, id: 1}, request("echo", make([]byte, 64)...)).frame()
	r := bytes.NewReader(nil)
	b.ReportAllocs()
	for b.Loop() {
		r.Reset(frame)
		h, _ := readHeader(r)
		payload, _ := readPayload(r, h)
		if _, _, err := decodeRequest(payload.bytes()); err != nil {
			b.Fatal(err)
		}
		payload.free()
	}
}

// sink takes everything that a lane sends, at once.
type sink struct{ n atomic.Int64 }

func (s *sink) offer(p []byte) (int, error)   { s.n.Add(int64(len(p))); return len(p), nil }
func (s *sink) finish(p []byte, _ bool) error { s.n.Add(int64(len(p))); return nil }

func benchmarkLane(b *testing.B, callers int) {
	var tasks tasks
	l, out := newLane(&tasks, nil), new(sink)
	l.out, l.window = out, 1<<60
	payload := make([]byte, 64)
	b.ReportAllocs()
	var sent atomic.Int64
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for sent.Add(1) <= int64(b.N) {
				_ = l.send(1, newFrame(header{typ: frameResult, id: 1}, payload), false)
			}
		})
	}
	all.Wait()
	if err := l.drain(b.Context()); err != nil {
		b.Fatal(err)
	}
	tasks.wait()
	if least := int64(b.N * (headerSize + len(payload))); out.n.Load() < least {
		b.Errorf("%d bytes were written, and %d frames have at least %d", out.n.Load(), b.N, least)
	}
}

func BenchmarkLane1(b *testing.B)  { benchmarkLane(b, 1) }
func BenchmarkLane64(b *testing.B) { benchmarkLane(b, 64) }

// What a call costs that is given up while the lane is stuck behind 1000
// others.
func BenchmarkTakeBack(b *testing.B) {
	var tasks tasks
	l := newLane(&tasks, nil)
	l.window = 0 // the other side does not read
	send := func(id uint64) { l.send(id, newFrame(header{typ: frameRequest, id: id}, make([]byte, 64)), false) }
	for id := range uint64(1000) {
		send(id)
	}
	b.ReportAllocs()
	for b.Loop() {
		send(1 << 40)
		if !l.takeBack(1 << 40) {
			b.Fatal("gone")
		}
	}
	tasks.wait()
}

type message struct {
	Path  string            `cbor:"path"`
	Lines []int             `cbor:"lines"`
	Meta  map[string]string `cbor:"meta"`
}

var benchMessage = message{"a/b/c.go", []int{1, 2, 3, 500}, map[string]string{"k": "v"}}

func BenchmarkCodecEncode(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := (Codec{}).Encode(&benchMessage); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCodecDecode(b *testing.B) {
	data := must(Codec{}.Encode(&benchMessage))
	b.ReportAllocs()
	for b.Loop() {
		var m message
		if err := (Codec{}).Decode(data, &m); err != nil {
			b.Fatal(err)
		}
	}
}
