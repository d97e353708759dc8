package transport

import (
	"bytes"
	"math/bits"
	"slices"
	"sync"
)

// Buffers are used again up to a capacity of maxKept bytes, so that one huge
// message leaves no huge buffer behind. Those up to maxUsual are one pool;
// above, there is one for each power of two.
const (
	maxUsual = 256 << 10
	maxKept  = 4 << 20
)

// buffer holds a message or a frame for a while. Whoever has it last frees it,
// or leaves it to the garbage collector.
type buffer struct {
	b []byte
	w bytes.Buffer // b while something is encoded into it
}

var (
	usual = sync.Pool{New: func() any { return &buffer{b: make([]byte, 0, 1024)} }}
	large [4]sync.Pool // of buffers with a capacity of minLarge<<i or more
)

const minLarge = 2 * maxUsual

// class returns which of the large pools is for n bytes, the next lower power of
// two, and is negative if none is.
func class(n int) int { return bits.Len(uint(n/minLarge)) - 1 }

func getBuffer() *buffer {
	b := usual.Get().(*buffer)
	b.b = b.b[:0]
	return b
}

// free allows the buffer to be used again. What was read from it must not be
// looked at any more. Freeing none is harmless.
func (b *buffer) free() {
	if b == nil {
		return
	}
	switch size := cap(b.b); {
	case size <= maxUsual:
		usual.Put(b)
	case size >= minLarge && size <= maxKept:
		large[class(size)].Put(b)
	}
}

// reserve makes room for n bytes more.
func (b *buffer) reserve(n int) {
	size := len(b.b) + n
	switch {
	case size <= cap(b.b):
	case size <= maxUsual || size > maxKept:
		b.b = slices.Grow(b.b, n)
	default:
		c := class(size-1) + 1
		other, _ := large[c].Get().(*buffer)
		if other == nil {
			other = &buffer{b: make([]byte, 0, minLarge<<c)}
		}
		b.b, other.b = append(other.b[:0], b.b...), b.b
		other.free()
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
	b.reserve(n)
	start := len(b.b)
	b.b = b.b[:start+n]
	return b.b[start:]
}

// bytes returns what is in the buffer, nothing if there is none.
func (b *buffer) bytes() []byte {
	if b == nil {
		return nil
	}
	return b.b
}
