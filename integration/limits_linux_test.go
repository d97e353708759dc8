package integration

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/lifecycle"
	"github.com/detached-workers/unref/transport"
)

// hoard takes every descriptor that the worker may still have: at once, or
// while no call runs, when the file named has come.
const hoard transport.Method[string, struct{}] = "hoard"

func handleHoard(_ context.Context, gate string) (struct{}, error) {
	if gate == "" {
		takeFiles()
		return struct{}{}, nil
	}
	go func() {
		awaitFile(gate)
		takeFiles()
	}()
	return struct{}{}, nil
}

func takeFiles() {
	for fd := 0; fd >= 0; {
		fd, _ = syscall.Open(os.DevNull, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	}
}

// selfWithin is the test binary as a worker with these limits.
func selfWithin(limits lifecycle.Limits) *lifecycle.Command {
	cmd := self()
	cmd.Limits, cmd.Grace = limits, 200*time.Millisecond
	return cmd
}

// awaitLimit waits for the worker's end, which has to be for this limit.
func awaitLimit(t *testing.T, w *client.Worker, limit, text string) {
	t.Helper()
	awaitDone(t, "the worker's end", w.Done())
	err := w.Err()
	if exit, ok := errors.AsType[*lifecycle.ExitError](err); !ok || exit.Limit != limit || !strings.Contains(err.Error(), "("+text+")") {
		t.Errorf("got %v, want one for the limit %q", err, limit)
	}
}

// LESSONS 9, 26, 34
func TestHandlerThatSpinsBeyondTheWorkersProcessorTimeFailsItsCallWithTheReason(t *testing.T) {
	t.Parallel()
	w := startWith(t, quiet(), selfWithin(lifecycle.Limits{CPU: time.Second}))
	_, err := client.Call(limited(t), w, wait, waitRequest{Spin: true})
	if !errors.Is(err, client.ErrWorkerExited) {
		t.Errorf("got %v, want one of the worker's end", err)
	}
	awaitLimit(t, w, lifecycle.LimitCPU, "over its limit of 1s of CPU time")
	checkExited(t, w.Err(), 0, 0, "error: leaving: over its limit of 1s of CPU time")
}

// LESSONS 34
func TestWorkerThatHasNoDescriptorsLeftLeavesWithTheReason(t *testing.T) {
	const text = "over its limit of 80 open files"
	t.Run("after a call", func(t *testing.T) {
		t.Parallel()
		w := startWith(t, quiet(), selfWithin(lifecycle.Limits{OpenFiles: 80}))
		if _, err := client.Call(limited(t), w, hoard, ""); err != nil {
			t.Fatal(err)
		}
		awaitLimit(t, w, lifecycle.LimitOpenFiles, text)
	})
	t.Run("when somebody wants to connect", func(t *testing.T) {
		t.Parallel()
		w, gate := startWith(t, quiet(), selfWithin(lifecycle.Limits{OpenFiles: 80})), t.TempDir()+"/gate"
		if _, err := client.Call(limited(t), w, hoard, gate); err != nil {
			t.Fatal(err)
		}
		must(os.WriteFile(gate, nil, 0o600))
		await(t, "the worker's descriptors to be taken", func() bool {
			files, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", w.Pid()))
			return len(files) >= 80
		})
		if conn, err := net.Dial("unix", w.Process().Socket()); err == nil {
			defer conn.Close()
		}
		awaitLimit(t, w, lifecycle.LimitOpenFiles, text)
	})
}

func TestHandlersOwnErrorIsNotTakenForAWantOfDescriptors(t *testing.T) {
	t.Parallel()
	w := startWith(t, quiet(), selfWithin(lifecycle.Limits{OpenFiles: 200}))
	for range 3 {
		if _, err := client.Call(limited(t), w, fail, "too many files"); err == nil {
			t.Error("the call did not fail")
		}
		meanwhile(500 * time.Millisecond)
	}
	if _, err := client.Call(limited(t), w, echo, nil); err != nil {
		t.Error(err)
	}
}

// LESSONS 2, 34
func TestLimitThatTheWorkerMayNotHaveIsAnErrorOfTheStart(t *testing.T) {
	t.Parallel()
	root := newRoot(t)
	cmd := within(root, self())
	cmd.Limits.OpenFiles = math.MaxInt32
	const want = "apply the limits: Limits.OpenFiles of 2147483647: operation not permitted"
	_, err := quiet().Start(limited(t), cmd)
	checkExited(t, err, 2, 0, want)
	checkStartError(t, err, want)
	nothingLeft(t, root)
}

func TestLimitsHoldBehindAWrapper(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`exec "$0"`, `"$0"; true`} {
		cmd := &lifecycle.Command{Path: "sh", Args: []string{"-c", text, executable()}, Limits: lifecycle.Limits{OpenFiles: 99}}
		w := startWith(t, quiet(), cmd)
		if out, err := client.Call(limited(t), w, shell, "ulimit -n"); err != nil || out != "99\n" {
			t.Errorf("%s: got %q, %v", text, out, err)
		}
		if _, err := client.Call(limited(t), w, hoard, ""); err != nil {
			t.Fatal(err)
		}
		awaitLimit(t, w, lifecycle.LimitOpenFiles, "over its limit of 99 open files")
	}
}

// LESSONS 34
func TestClientThatFoundTheWorkerLearnsForWhichLimitItLeft(t *testing.T) {
	t.Parallel()
	o := order{Root: newSharedRoot(t), Name: "limited", Limits: lifecycle.Limits{OpenFiles: 90}}
	leaveBehind(t, o)
	w := join(t, quiet(), o.Name, o.command())
	if w.Decision().Action != client.Reused {
		t.Errorf("got %+v, want the worker reused", w.Decision())
	}
	if _, err := client.Call(limited(t), w, hoard, ""); err != nil {
		t.Fatal(err)
	}
	awaitLimit(t, w, lifecycle.LimitOpenFiles, "over its limit of 90 open files")
}
