//go:build !race

package lifecycle

import "testing"

// A program that is tested for races runs out of memory in another way, before the Go runtime does.
func TestOutOfMemoryIsRecognised(t *testing.T) {
	p := start(t, role(t, "oom"))
	if e := awaitDone(t, p); !e.OutOfMemory || e.Code != 2 {
		t.Errorf("got %v", e)
	}
}
