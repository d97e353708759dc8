package main

import (
	"os"
	"testing"
	"time"
)

// A process that computes for some ticks is seen to do so.
func TestActivityIsSeen(t *testing.T) {
	needsLinux(t)
	w := watch{pids: [...]int{os.Getpid(), os.Getpid()}}
	w.begin()
	deadline := time.Now().Add(10 * time.Second)
	for w.end(1)["worker.ticks"] < 3 {
		if time.Now().After(deadline) {
			t.Fatal("no ticks after 10 s of computing")
		}
	}
	for !(w.end(1)["parent.switches"] > 0) {
		if time.Now().After(deadline) {
			t.Fatal("no context switches after 10 s")
		}
		time.Sleep(time.Millisecond) // which is a context switch
	}
}
