package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/detached-workers/unref/client"
)

func TestTheUserIsToldWhichWorkerDoesNotAnswer(t *testing.T) {
	s, told := newSharedSlot(t)
	nothing := func(*client.Worker) error { return nil }
	if err := s.do(t.Context(), nothing); err != nil {
		t.Fatal(err)
	}
	first := s.worker.Pid()
	s.leave()
	if len(*told) != 0 {
		t.Errorf("the user was told %q of a quick start", *told)
	}
	suspend(t, first)
	s.dialer.AnswerTimeout = attachPatience + 2*lookPatience
	if err := s.do(t.Context(), nothing); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("waiting for worker %d (", first)
	if len(*told) != 1 || !strings.HasPrefix((*told)[0], want) || s.worker.Pid() == first {
		t.Errorf("the user was told %q, want one line %q; the worker is %d", *told, want, s.worker.Pid())
	}
}

// suspend stops a process and returns when all of its threads have stopped, which takes the kernel a moment.
func suspend(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	pause := time.NewTicker(time.Millisecond)
	defer pause.Stop()
	for deadline := time.Now().Add(time.Minute); !isStopped(pid); <-pause.C {
		if time.Now().After(deadline) {
			t.Fatalf("process %d does not stop", pid)
		}
	}
}

func isStopped(pid int) bool {
	stats, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	for _, path := range stats {
		data, err := os.ReadFile(path)
		if err != nil || !bytes.HasPrefix(data[bytes.LastIndexByte(data, ')')+1:], []byte(" T")) {
			return false
		}
	}
	return len(stats) > 0
}

func TestNobodyIsNamedIfNoWorkerIsThere(t *testing.T) {
	s, _ := newSharedSlot(t)
	if got := s.waitsFor(t.Context()); got != "waiting for a worker ("+t.Name()+" #1)" {
		t.Errorf("got %q", got)
	}
}
