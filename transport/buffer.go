package transport

import (
	"bytes"
	"slices"
	"sync"
)

// maxKept is the capacity, in bytes, up to which buffers are used again, so
// that one huge message leaves no huge buffer behind.
const maxKept = 256 << 10

// buffer holds a message or a frame for a while. Whoever has it last frees it,
// or leaves it to the garbage collector.
type buffer struct {
	b []byte
	w bytes.Buffer // b while something is encoded into it
}

var buffers = sync.Pool{New: func() any { return &buffer{b: make([]byte, 0, 1024)} }}

func getBuffer() *buffer {
	b := buffers.Get().(*buffer)
	b.b = b.b[:0]
	return b
}

// free allows the buffer to be used again. What was read from it must not be
// looked at any more. Freeing none is harmless.
func (b *buffer) free() {
	if b != nil && cap(b.b) <= maxKept {
		buffers.Put(b)
	}
}

// detach frees the buffer and returns what was in it, for good.
func (b *buffer) detach() []byte {
	if b == nil || cap(b.b) > maxKept {
		return b.bytes()
	}
	defer b.free()
	return bytes.Clone(b.b)
}

// grow appends n bytes of any content and returns them.
func (b *buffer) grow(n int) []byte {
	start := len(b.b)
	b.b = slices.Grow(b.b, n)[:start+n]
	return b.b[start:]
}

// bytes returns what is in the buffer, nothing if there is none.
func (b *buffer) bytes() []byte {
	if b == nil {
		return nil
	}
	return b.b
}
