package transport

import (
	"bytes"
	"testing"
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
			if b, _ := large[i].Get().(*buffer); b != nil && (cap(b.b) < maxUsual<<i || cap(b.b) > maxKept) {
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
