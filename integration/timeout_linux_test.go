package integration

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/transport"
)

func TestTimeoutNamesMethodWorkerPidTimeAndLimitAndEndsTheHandler(t *testing.T) {
	w := start(t)
	_, err := client.Call(t.Context(), w, wait, waitRequest{}, client.Timeout(50*time.Millisecond))
	checkTimeout(t, err, "wait", w)
	if !strings.Contains(err.Error(), "limit 50ms") {
		t.Errorf("the limit is not named: %v", err)
	}
	awaitEnded(t, w, "wait: context deadline exceeded")
}

func checkTimeout(t *testing.T, err error, method string, w *client.Worker) {
	t.Helper()
	if !errors.Is(err, transport.CodeDeadline) || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v, want a deadline error", err)
	}
	for _, part := range []string{method, w.Name(), fmt.Sprint(w.Pid()), "limit"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error does not name %q: %v", part, err)
		}
	}
}

func TestTimeoutsAreSetPerDialerPerMethodAndPerCall(t *testing.T) {
	d := &client.Dialer{Timeout: 40 * time.Millisecond, MethodTimeout: map[string]time.Duration{"stall": 45 * time.Millisecond}}
	w := startWith(t, d, self())
	_, err := client.Call(t.Context(), w, wait, waitRequest{})
	if checkTimeout(t, err, "wait", w); !strings.Contains(err.Error(), "limit 40ms") {
		t.Errorf("want the dialer's limit: %v", err)
	}
	for _, err = range client.Stream(t.Context(), w, stall, 0) {
	}
	if checkTimeout(t, err, "stall", w); !strings.Contains(err.Error(), "limit 45ms") {
		t.Errorf("want the method's limit: %v", err)
	}
	_, err = client.Call(t.Context(), w, wait, waitRequest{}, client.Timeout(30*time.Millisecond))
	if checkTimeout(t, err, "wait", w); !strings.Contains(err.Error(), "limit 30ms") {
		t.Errorf("want the call's limit: %v", err)
	}
}

func TestTimeoutCanBeSwitchedOff(t *testing.T) {
	w := startWith(t, &client.Dialer{Timeout: time.Millisecond}, self())
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() {
		_, err := client.Call(ctx, w, wait, waitRequest{}, client.Timeout(-1))
		result <- err
	}()
	// Calls with a limit come and go meanwhile.
	await(t, "the waiting call", func() bool {
		client.Call(t.Context(), w, echo, nil, client.Timeout(-1))
		stacks, err := client.Call(t.Context(), w, transport.MethodStacks, struct{}{}, client.Timeout(-1))
		return err == nil && strings.Contains(stacks, "handleWait")
	})
	select {
	case err := <-result:
		t.Fatalf("the call ended early: %v", err)
	default:
	}
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) || !errors.Is(err, transport.CodeCanceled) {
		t.Fatalf("got %v, want canceled", err)
	}
}

func TestTimeoutBetweenMessagesEndsAStreamThatStalls(t *testing.T) {
	w := start(t)
	n := 0
	for _, err := range client.Stream(t.Context(), w, stall, 5, client.Timeout(100*time.Millisecond)) {
		if err != nil {
			checkTimeout(t, err, "stall", w)
			break
		}
		n++
	}
	if n != 5 {
		t.Errorf("%d messages before the timeout, want 5", n)
	}
	awaitEnded(t, w, "stall: context deadline exceeded")
}

func TestTimeoutBoundsWritesToAWorkerThatDoesNotRead(t *testing.T) {
	w := start(t)
	s, err := client.Open(t.Context(), w, deaf, client.Timeout(100*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	chunk := make([]byte, 1<<20)
	for err == nil {
		err = s.Send(chunk)
	}
	checkTimeout(t, err, "deaf", w)
	if _, again := s.Recv(); !errors.Is(again, transport.CodeDeadline) {
		t.Errorf("what follows the timeout: %v", again)
	}
	if _, err := client.Call(t.Context(), w, echo, []byte("still there")); err != nil {
		t.Fatal(err)
	}
}

func TestTimeoutBoundsCallsOnAStoppedWorkerHoweverFullItsSocketIs(t *testing.T) {
	w := start(t)
	suspend(t, w.Pid())
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			_, err := client.Call(t.Context(), w, echo, make([]byte, (i%4)<<20), client.Timeout(200*time.Millisecond))
			if !errors.Is(err, transport.CodeDeadline) {
				t.Errorf("got %v, want a deadline error", err)
			}
		})
	}
	wg.Wait()
	syscall.Kill(w.Pid(), syscall.SIGCONT)
	if _, err := client.Call(t.Context(), w, echo, []byte("again")); err != nil {
		t.Fatal(err)
	}
}

func TestTimeoutBoundsTheOpeningOfStreamsOnAStoppedWorker(t *testing.T) {
	w := start(t)
	suspend(t, w.Pid())
	for _, n := range []int{10, 1 << 20, 8 << 20} {
		big := transport.StreamMethod[[]byte, int](stall)
		var err error
		for _, err = range client.Stream(t.Context(), w, big, make([]byte, n), client.Timeout(100*time.Millisecond)) {
		}
		checkTimeout(t, err, "stall", w)
	}
	cut(t, w)
	s, err := client.Open(t.Context(), w, double, client.Timeout(100*time.Millisecond))
	if err == nil { // the end of the connection was not known yet
		_, err = s.Recv()
	}
	checkTimeout(t, err, "double", w)
	syscall.Kill(w.Pid(), syscall.SIGCONT)
	if _, err := client.Call(t.Context(), w, echo, []byte("again")); err != nil {
		t.Fatal(err)
	}
}

func TestStreamMayTakeLongerThanThePerMessageTimeout(t *testing.T) {
	w := start(t)
	s, err := client.Open(t.Context(), w, double, client.Timeout(500*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for began := time.Now(); time.Since(began) < time.Second; {
		if err := s.Send(1); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Recv(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestStoppedWorkerIsATimeoutAndWorksAgainAfterwards(t *testing.T) {
	w := start(t)
	_, err := client.Call(t.Context(), w, end, "stop", client.Timeout(200*time.Millisecond))
	checkTimeout(t, err, "end", w)
	if client.SafeToRetry(err) {
		t.Error("it ran, and is said to be safe to retry")
	}
	pid := w.Pid()
	syscall.Kill(pid, syscall.SIGCONT)
	if _, err := client.Call(t.Context(), w, echo, nil); err != nil || w.Pid() != pid {
		t.Fatal(err)
	}
}
