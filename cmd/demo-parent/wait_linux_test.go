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
)

func TestTheUserIsToldWhichWorkerDoesNotAnswer(t *testing.T) {
	cfg, told := sharedCrew(t, 1)
	use := func() (pid int) {
		t.Helper()
		c := startCrew(t, cfg)
		defer c.close(t.Context())
		if err := c.square(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		return c.arrived(0)[0].Pid
	}
	first := use()
	if lines := told.all(); len(lines) != 0 {
		t.Errorf("the user was told %q of a quick start", lines)
	}
	suspend(t, first)
	cfg.dialer.AnswerTimeout = attachPatience + 2*lookPatience
	second := use()
	want := fmt.Sprintf("waiting for worker %d (", first)
	if lines := told.all(); len(lines) != 1 || !strings.HasPrefix(lines[0], want) || second == first {
		t.Errorf("the user was told %q, want one line %q; the worker is %d", lines, want, second)
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
	cfg, _ := sharedCrew(t, 2)
	if got := startCrew(t, cfg).waitsFor(t.Context(), 1); got != "waiting for a worker ("+t.Name()+" #2)" {
		t.Errorf("got %q", got)
	}
}
