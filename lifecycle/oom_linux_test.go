//go:build !race

package lifecycle

import (
	"strings"
	"testing"
)

// A program that is tested for races runs out of memory in another way, before the Go runtime does.
func TestOutOfMemoryIsRecognised(t *testing.T) {
	p := start(t, role(t, "oom"))
	if e := awaitDone(t, p); !e.OutOfMemory || e.Code != 2 || e.Limit != "" {
		t.Errorf("got %v", e)
	}
}

// LESSONS 34
func TestAWorkerOverItsMemorySaysSo(t *testing.T) {
	c := role(t, "grow")
	c.Limits.Memory = 128 << 20
	e := awaitDone(t, start(t, c))
	if !e.OutOfMemory || e.Code != 2 || e.Limit != LimitMemory {
		t.Errorf("got %v", e)
	}
	if want := "exited with status 2 (out of memory: over its limit of 128 MiB of memory)"; !strings.Contains(e.Error(), want) {
		t.Errorf("no %q in %v", want, e)
	}
}

// A thread's stack is memory as well, and C's part of a program asks for it before Go's runtime runs out of any.
func TestAWorkerThatGetsNoThreadWithinItsMemorySaysSo(t *testing.T) {
	c := role(t, "no-thread")
	c.Limits.Memory = 1 << 30
	if e := awaitDone(t, start(t, c)); e.Limit != LimitMemory || !e.OutOfMemory || !strings.Contains(e.Error(), "pthread_create failed") {
		t.Errorf("got %v", e)
	}
	c = role(t, "no-thread")
	if e := awaitDone(t, start(t, c)); e.Limit != "" || e.OutOfMemory {
		t.Errorf("without a limit: got %v", e)
	}
}

func TestAMemoryLimitIsInheritedByWhatTheWorkerStarts(t *testing.T) {
	c := role(t, "data")
	c.Limits.Memory = 512 << 20
	p := startReady(t, c)
	if got, want := awaitLine(t, p.Output(), "child "), "524288"; got != want { // KiB
		t.Errorf("got %s, want %s", got, want)
	}
}
