package lifecycle

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestAnExitErrorSaysWhatHappened(t *testing.T) {
	for _, test := range []struct {
		err  ExitError
		want string
	}{
		{
			ExitError{Name: "demo", Pid: 12, Code: 3, Elapsed: 1234 * time.Millisecond, Ready: true},
			"worker demo (pid 12) exited with status 3 after 1.234s",
		},
		{
			ExitError{Name: "demo", Pid: 12, Code: -1, Signal: syscall.SIGKILL, Killed: "killed because of x", Elapsed: time.Minute},
			"worker demo (pid 12) was ended by signal killed (killed because of x) after 1m0s, before it was ready",
		},
		{
			ExitError{Name: "demo", Pid: 12, Code: 2, OutOfMemory: true, Ready: true, Output: []byte("one\ntwo\n")},
			"worker demo (pid 12) exited with status 2 (out of memory) after 0s; last output:\none\ntwo",
		},
		{
			ExitError{Name: "demo", Pid: 12, Code: 2, OutOfMemory: true, Limit: LimitMemory, limits: Limits{Memory: 1 << 20}, Ready: true},
			"worker demo (pid 12) exited with status 2 (out of memory: over its limit of 1 MiB of memory) after 0s",
		},
		{
			ExitError{Name: "demo", Pid: 12, Limit: LimitCPU, limits: Limits{CPU: time.Minute}, Ready: true},
			"worker demo (pid 12) exited with status 0 (over its limit of 1m0s of CPU time) after 0s",
		},
		{
			ExitError{Name: "demo", Pid: 12, Limit: LimitOpenFiles, Ready: true},
			"worker demo (pid 12) exited with status 0 (over its limit of open files) after 0s",
		},
		{
			ExitError{Name: "demo", Pid: 12, Elapsed: time.Second, Output: []byte("bye\n")},
			"worker demo (pid 12) exited with status 0 after 1s, before it was ready (a worker's main ends in server.Main); last output:\nbye",
		},
		{
			ExitError{Name: "demo", Pid: 12, Elapsed: time.Second, Output: []byte("debug: leaving: x\n"), left: true},
			"worker demo (pid 12) exited with status 0 after 1s, before it was ready; last output:\ndebug: leaving: x",
		},
	} {
		if got := test.err.Error(); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}

func TestAnExitErrorIsShortHoweverMuchWasWritten(t *testing.T) {
	var b strings.Builder
	for i := range 1000 {
		fmt.Fprintln(&b, i, strings.Repeat("x", 2000))
	}
	e := &ExitError{Code: 1, Ready: true, Output: []byte(b.String())}
	got := e.Error()
	if len(got) > (errorLines+1)*(errorLineBytes+10) || !strings.Contains(got, "\n999 ") || strings.Contains(got, "\n979 ") {
		t.Errorf("got %d bytes: %.200q", len(got), got)
	}
}

func TestTheRuntimesVerdictOfOutOfMemoryIsUnderstood(t *testing.T) {
	for text, want := range map[string]struct{ limited, not bool }{
		"runtime: out of memory: cannot allocate 4194304-byte block\nfatal error: out of memory\n": {true, true},
		"fatal error: runtime: out of memory\n":                                                    {true, true},
		"fatal error: runtime: cannot allocate memory\n":                                           {true, true},
		"panic: out of memory said somebody\n":                                                     {false, false},
		"runtime/cgo: pthread_create failed: Resource temporarily unavailable\nSIGABRT: abort\n":   {true, false},
		"runtime/cgo: out of memory in thread_start\nSIGABRT: abort\n":                             {true, false},
	} {
		if got := saysOutOfMemory([]byte(text), true); got != want.limited {
			t.Errorf("%q: got %v with a limit", text, got)
		}
		if got := saysOutOfMemory([]byte(text), false); got != want.not {
			t.Errorf("%q: got %v without a limit", text, got)
		}
	}
}
