package harness

import (
	"fmt"
	"iter"
	"sync"
)

// stride is how far apart the bytes are that a receipt looks at. It is the size
// of a cache line, so that looking at them moves all of the data.
const stride = 64

// prime is that of the 32-bit FNV hash.
const prime = 16777619

// Receipt says what a worker has got of a push, or what its caller has sent:
// how many bytes, and a checksum over every 64th of them. It makes a push the
// same work for all systems: the data has to have reached the worker's code.
//
// The zero Receipt is of nothing. A Receipt is for one goroutine.
type Receipt struct {
	size int
	sum  uint32
}

// ReceiptOf returns the receipt of one message.
func ReceiptOf(data []byte) *Receipt {
	r := new(Receipt)
	r.Add(data)
	return r
}

// Add takes the next bytes. How they are cut does not matter.
func (r *Receipt) Add(data []byte) {
	for i := -r.size & (stride - 1); i < len(data); i += stride {
		r.sum = (r.sum ^ uint32(data[i])) * prime
	}
	r.size += len(data)
}

// Write is Add for an io.Writer, and never fails.
func (r *Receipt) Write(data []byte) (int, error) {
	r.Add(data)
	return len(data), nil
}

// String is how a worker confirms what it has got.
func (r *Receipt) String() string { return fmt.Sprintf("%d bytes with checksum %08x", r.size, r.sum) }

// Check returns an error unless the worker has confirmed what this receipt, the
// caller's, says.
func (r *Receipt) Check(confirmed string) error {
	if sent := r.String(); confirmed != sent {
		return fmt.Errorf("sent %s, and the worker has got %s", sent, confirmed)
	}
	return nil
}

// MaxChunk is the size of the largest chunk of a push.
const MaxChunk = 512 << 10

// content is what pushes send, again and again.
var content = sync.OnceValue(func() []byte { return payload(MaxChunk) })

// Chunks yields what a push of this size sends, in chunks of at most so many
// bytes, and of at most [MaxChunk]. They must not be changed, and stay as they
// are when the next one comes.
func Chunks(size, chunk int) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for left := size; left > 0; {
			next := content()[:min(left, chunk, MaxChunk)]
			if !yield(next) {
				return
			}
			left -= len(next)
		}
	}
}
