package lifecycle

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
)

// ExitError describes how a worker ended, a status of 0 included.
type ExitError struct {
	Name string
	Pid  int
	// Code is the exit status, -1 if a signal ended the process.
	Code int
	// Signal is the signal that ended the process, 0 if it exited, and -1 with Code -1 if it is not known how the process
	// ended: it was started by another one.
	Signal syscall.Signal
	// Elapsed is the time from start to end.
	Elapsed time.Duration
	// Ready is whether [Process.Ready] had been called.
	Ready bool
	// OutOfMemory is whether the Go runtime or the kernel (cgroup v2) is known to have ended the process for want of
	// memory. False also means not known.
	OutOfMemory bool
	// Limit is the one of the worker's [Limits] that it ended for: [LimitMemory], [LimitCPU] or [LimitOpenFiles]. Empty means
	// that none is known.
	Limit string
	// Killed says why this starter killed the process, empty if it did not.
	Killed string
	// Output is the last output as plain text lines, log entries rendered as "level: message key=value". It is at most
	// 64 KiB. Of a Go crash the beginning matters as much as the end: then it is the first 32 KiB of the crash and the
	// newest rest.
	Output []byte

	limits Limits // of the worker, as far as known
	left   bool   // by Worker.Exit, as it has to: it has cleared away its directory
}

// unknownSignal stands for an end of which nothing is known.
const unknownSignal syscall.Signal = -1

const (
	errorLines     = 20  // how many lines of output Error shows
	errorLineBytes = 512 // how much of each
)

// Orderly is whether the worker left by itself as it should: because it was asked to, its time or its owner's was over, or it
// was over one of its limits. It has cleared away what belonged to it.
func (e *ExitError) Orderly() bool { return e.left && e.Code == 0 }

// Error says what happened and shows the last 20 lines of output, or the first 20 of a Go crash.
func (e *ExitError) Error() string {
	text := fmt.Sprintf("worker %s (pid %d) %s after %s", e.Name, e.Pid, e.cause(), round(e.Elapsed))
	if !e.Ready {
		text += ", before it was ready"
		if e.Code == 0 && !e.left {
			text += " (a worker's main ends in server.Main)"
		}
	}
	if excerpt := e.Excerpt(); excerpt != "" {
		text += "; last output:\n" + excerpt
	}
	return text
}

func (e *ExitError) cause() string {
	text := fmt.Sprintf("exited with status %d", e.Code)
	switch {
	case e.Signal == unknownSignal:
		text = "has ended, in a way that only its starter knows,"
	case e.Signal != 0:
		text = fmt.Sprintf("was ended by signal %v", e.Signal)
	}
	if e.OutOfMemory && e.Limit != LimitMemory {
		text += " (out of memory)"
	}
	if e.Limit != "" {
		text += " (" + e.limits.over(e.Limit) + ")"
	}
	if e.Killed != "" {
		text += " (" + e.Killed + ")"
	}
	return text
}

// Excerpt returns what Error shows of the output: the last 20 lines, or the first 20 of a Go crash, long ones cut.
func (e *ExitError) Excerpt() string {
	out := bytes.TrimRight(e.Output, "\n")
	if len(out) == 0 {
		return ""
	}
	lines := strings.Split(string(out), "\n")
	first := max(len(lines)-errorLines, 0)
	if crashed(e.Code, e.Signal) {
		first = min(crashStart(lines), first)
	}
	lines = lines[first:min(first+errorLines, len(lines))]
	for i, line := range lines {
		if len(line) > errorLineBytes {
			lines[i] = line[:errorLineBytes] + "..."
		}
	}
	return strings.Join(lines, "\n")
}

// crashStart returns the index of the line that begins the last crash, or len(lines).
func crashStart(lines []string) int {
	var crash crashHead
	start, at := len(lines), 0
	for i, line := range lines {
		switch {
		case crash.begins(line, int64(at)):
			start = i
		case strings.HasPrefix(line, "goroutine 1 [") && start < i && strings.HasPrefix(lines[start], "SIGQUIT"):
			start = i // what comes before is the runtime, asleep
		}
		at += len(line) + 1
	}
	return start
}

// crashed is whether a Go program that ends like this may have printed a crash.
func crashed(code int, sig syscall.Signal) bool {
	switch sig {
	case 0:
		return code == 2
	case syscall.SIGABRT, syscall.SIGSEGV, syscall.SIGBUS, syscall.SIGILL, syscall.SIGFPE, syscall.SIGTRAP, syscall.SIGQUIT:
		return true
	}
	return false
}

func round(d time.Duration) time.Duration {
	if d < time.Second {
		return d.Round(100 * time.Microsecond)
	}
	return d.Round(time.Millisecond)
}

// status splits a process state into exit status and signal.
func status(state *os.ProcessState) (code int, sig syscall.Signal) {
	if state == nil {
		return -1, 0
	}
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return -1, ws.Signal()
	}
	return state.ExitCode(), 0
}

var outOfMemoryTexts = [][]byte{
	[]byte("fatal error: runtime: out of memory"),
	[]byte("fatal error: runtime: cannot allocate memory"),
	[]byte("fatal error: out of memory"),
}

// noThread is what a Go program that is linked with C says at its end when it can't have another thread: its stack is memory
// too, but it may also be that there are too many.
var noThread = [][]byte{
	[]byte("runtime/cgo: pthread_create failed: Resource temporarily unavailable"),
	[]byte("runtime/cgo: out of memory in thread_start"),
}

// saysOutOfMemory understands the Go runtime's last words. limited is whether the process had a limit of memory.
func saysOutOfMemory(output []byte, limited bool) bool {
	says := func(text []byte) bool { return bytes.Contains(output, text) }
	return limited && slices.ContainsFunc(noThread, says) || slices.ContainsFunc(outOfMemoryTexts, says)
}
