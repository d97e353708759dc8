package integration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/lifecycle"
	"github.com/detached-workers/unref/transport"
)

func TestUnaryCallsOfEverySizeReturnWhatTheySent(t *testing.T) {
	w := start(t)
	for _, n := range []int{0, 1, 1000, 32 << 10, 33 << 10, 1 << 20, 15 << 20} {
		got, err := client.Call(t.Context(), w, echo, make([]byte, n))
		if err != nil || len(got) != n {
			t.Fatalf("echo of %d bytes: %d bytes, %v", n, len(got), err)
		}
	}
}

func TestMethodsCanBeCalledByPlainName(t *testing.T) {
	w := start(t)
	var got any
	err := w.Invoke(t.Context(), &client.Request{Method: "checked", Body: map[string]any{"N": 4}}, &got)
	if err != nil || got != int64(4) {
		t.Fatalf("got %v (%T), %v", got, got, err)
	}
}

func TestManyCallsAreInFlightAtOnce(t *testing.T) {
	w := start(t)
	var wg sync.WaitGroup
	errs := make(chan error, 500)
	for i := range 500 {
		wg.Go(func() {
			want := fmt.Sprint(i)
			got, err := client.Call(t.Context(), w, echo, []byte(want))
			if err == nil && string(got) != want {
				err = fmt.Errorf("got %q, want %q", got, want)
			}
			errs <- err
		})
	}
	wg.Wait()
	for range 500 {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
}

func TestStreamYieldsEveryMessageInOrder(t *testing.T) {
	w := start(t)
	next := 3
	for got, err := range client.Stream(t.Context(), w, count, countReq{3, 5000}) {
		if err != nil || got != next {
			t.Fatalf("got %d, %v; want %d", got, err, next)
		}
		next++
	}
	if next != 5000 {
		t.Fatalf("stream ended before %d", next)
	}
}

func TestLeavingTheLoopCancelsTheStreamOnTheWorker(t *testing.T) {
	w := start(t)
	for range client.Stream(t.Context(), w, stall, 1) {
		break
	}
	awaitEnded(t, w, "stall: context canceled")
}

// awaitEnded waits until the worker has noted the end of a call's context.
func awaitEnded(t *testing.T, w client.Caller, want string) {
	t.Helper()
	var seen []string
	await(t, "note of "+want, func() bool {
		list, err := client.Call(t.Context(), w, calls, struct{}{})
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, list...)
		for _, s := range seen {
			if s == want {
				return true
			}
		}
		return false
	})
}

func TestBidirectionalStreamEchoesAndEnds(t *testing.T) {
	w := start(t)
	s, err := client.Open(t.Context(), w, double)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i := range 100 {
		if err := s.Send(i); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Recv(); err != nil || got != 2*i {
			t.Fatalf("got %d, %v", got, err)
		}
	}
	if err := s.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); err != io.EOF {
		t.Fatalf("got %v, want io.EOF", err)
	}
}

// A 64 MiB stream that is not read stands still in its own window, while small
// calls come and go. LESSONS 30
func TestSlowReaderOfABigStreamDoesNotHoldUpSmallCalls(t *testing.T) {
	w := start(t)
	chunks := 0
	for chunk, err := range client.Stream(t.Context(), w, bulk, bulkReq{Messages: 1024, Size: 64 << 10}) {
		if err != nil || len(chunk) != 64<<10 {
			t.Fatalf("%d bytes, %v", len(chunk), err)
		}
		if chunks++; chunks == 1 {
			for range 200 {
				if _, err := client.Call(t.Context(), w, echo, []byte("x")); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if chunks != 1024 {
		t.Fatalf("%d chunks, want 1024", chunks)
	}
}

// LESSONS 29
// LESSONS 29
// The per-message timeout bounds the opening of a stream and each wait for a
// message, and not the whole call.
// LESSONS 26
func TestPendingCallSettlesThoughTheWorkerLivesOnWithoutListening(t *testing.T) {
	for how, want := range map[string]error{"vanish": client.ErrConnectionLost, "garble": transport.ErrProtocol} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			cmd := self()
			cmd.Env = append(os.Environ(), roleEnv+"=fake "+how)
			w := startWith(t, &client.Dialer{}, cmd)
			_, err := client.Call(t.Context(), w, echo, nil, client.Timeout(-1))
			if !errors.Is(err, client.ErrConnectionLost) || !errors.Is(err, want) || client.SafeToRetry(err) {
				t.Errorf("got %v, want %v, which is not safe to retry", err, want)
			}
		})
	}
}

func TestRequestOfTheWrongKindIsRefused(t *testing.T) {
	w := start(t)
	checkRefused(t, w.Invoke(t.Context(), &client.Request{Method: "echo", Kind: transport.KindBidi}, nil), transport.CodeInvalid)
	_, err := w.Open(t.Context(), &client.Request{Method: "count"})
	checkRefused(t, err, transport.CodeInvalid)
}

// LESSONS 26, 34
func TestEveryPendingCallSettlesWhenTheWorkerEnds(t *testing.T) {
	tests := []struct {
		how    string
		code   int
		signal syscall.Signal
		output string
	}{
		{"exit 0", 0, 0, "last words"},
		{"exit 3", 3, 0, "last words"},
		{"kill", -1, syscall.SIGKILL, "last words"},
		{"stray panic", 2, 0, "panic: stray"},
		{"panic among many", 2, 0, "panic: among many"},
		{"map writes", 2, 0, "fatal error: concurrent map writes"},
	}
	for _, tt := range tests {
		t.Run(tt.how, func(t *testing.T) {
			w := start(t)
			pending := make(chan error, 20)
			for range 10 {
				go func() {
					_, err := client.Call(t.Context(), w, wait, waitRequest{})
					pending <- err
				}()
				go func() {
					var err error
					for _, err = range client.Stream(t.Context(), w, stall, 1) {
					}
					pending <- err
				}()
			}
			awaitHandlers(t, w, "handleWait", "handleStall")
			_, err := client.Call(t.Context(), w, end, tt.how)
			checkExited(t, err, tt.code, tt.signal, tt.output)
			for range 20 {
				checkExited(t, <-pending, tt.code, tt.signal, tt.output)
			}
			_, err = client.Call(t.Context(), w, echo, nil)
			if !errors.Is(err, client.ErrWorkerExited) || !client.SafeToRetry(err) {
				t.Errorf("a call after the end: %v (safe to retry: %v)", err, client.SafeToRetry(err))
			}
			awaitDone(t, "the worker's Done", w.Done())
		})
	}
}

func checkExited(t *testing.T, err error, code int, signal syscall.Signal, output string) {
	t.Helper()
	exit, ok := errors.AsType[*lifecycle.ExitError](err)
	switch {
	case !errors.Is(err, client.ErrWorkerExited) || !ok:
		t.Errorf("got %v, want ErrWorkerExited", err)
	case exit.Code != code || exit.Signal != signal:
		t.Errorf("got status %d, signal %v; want %d, %v", exit.Code, exit.Signal, code, signal)
	case !strings.Contains(string(exit.Output), output):
		t.Errorf("the output does not contain %q:\n%s", output, exit.Output)
	case strings.Count(err.Error(), fmt.Sprintf("(pid %d)", exit.Pid)) != 1:
		t.Errorf("the worker is not named once: %v", err)
	case client.SafeToRetry(err) && strings.Contains(err.Error(), "call end"):
		t.Errorf("safe to retry, and it ran: %v", err)
	}
}

func TestPanicFailsItsCallOnlyAndKeepsTheStack(t *testing.T) {
	w := start(t)
	_, err := client.Call(t.Context(), w, fail, "panic")
	e, ok := errors.AsType[*transport.Error](err)
	if !ok || e.Code != transport.CodePanic || e.Message != "boom" || !strings.Contains(e.Stack, "failBy") {
		t.Fatalf("got %v with stack %q", err, e.Stack)
	}
	_, err = client.Call(t.Context(), w, fail, "goexit")
	if !errors.Is(err, transport.CodeAborted) || client.SafeToRetry(err) {
		t.Fatalf("got %v, want aborted", err)
	}
	if _, err := client.Call(t.Context(), w, echo, nil); err != nil {
		t.Fatal(err)
	}
}

// LESSONS 31
func TestErrorsKeepCodeMessageDetailsAndCauses(t *testing.T) {
	w := start(t)
	_, err := client.Call(t.Context(), w, fail, "missing file")
	if !errors.Is(err, fs.ErrNotExist) || !errors.Is(err, transport.CodeUnknown) || !strings.Contains(err.Error(), "read the config: open /nonexistent/file") {
		t.Errorf("got %v", err)
	}
	_, err = client.Call(t.Context(), w, fail, "coded")
	if !errors.Is(err, transport.Code("app.busy")) || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v", err)
	}
	_, err = client.Call(t.Context(), w, fail, "joined")
	if !errors.Is(err, fs.ErrExist) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	_, err = client.Call(t.Context(), w, fail, "panic with error")
	if !errors.Is(err, fs.ErrNotExist) || !errors.Is(err, transport.CodePanic) {
		t.Errorf("got %v", err)
	}
	_, err = client.Call(t.Context(), w, fail, "details")
	var details fieldError
	e, _ := errors.AsType[*transport.Error](err)
	if e == nil || e.DecodeDetails(&details) != nil || details.Line != 7 || e.Kind != "*integration.fieldError" {
		t.Errorf("got %v with details %+v", err, details)
	}
}

// LESSONS 27
func TestUnknownMethodAndWrongKindAreErrorsAtOnce(t *testing.T) {
	w := start(t)
	_, err := client.Call(t.Context(), w, transport.Method[int, int]("nope"), 1)
	checkRefused(t, err, transport.CodeUnknownMethod)
	_, err = client.Call(t.Context(), w, transport.Method[countReq, int](count), countReq{})
	checkRefused(t, err, transport.CodeUnknownMethod)
	for _, err = range client.Stream(t.Context(), w, transport.StreamMethod[[]byte, []byte](echo), nil) {
	}
	checkRefused(t, err, transport.CodeUnknownMethod)
}

func checkRefused(t *testing.T, err error, code transport.Code) {
	t.Helper()
	if !errors.Is(err, code) || !client.SafeToRetry(err) {
		t.Errorf("got %v (safe to retry: %v), want %s and safe", err, client.SafeToRetry(err), code)
	}
}

func TestOversizedMessagesFailTheirCallOnly(t *testing.T) {
	w := startWith(t, &client.Dialer{MaxMessage: 1 << 20}, self())
	_, err := client.Call(t.Context(), w, echo, make([]byte, 2<<20))
	checkRefused(t, err, transport.CodeTooLarge)
	_, err = client.Call(t.Context(), w, size, 2<<20)
	if !errors.Is(err, transport.CodeTooLarge) || client.SafeToRetry(err) {
		t.Errorf("a reply over the limit: %v", err)
	}
	for _, err = range client.Stream(t.Context(), w, bulk, bulkReq{Messages: 1, Size: 2 << 20}) {
	}
	if !errors.Is(err, transport.CodeTooLarge) {
		t.Errorf("a message over the limit: %v", err)
	}
	if got, err := client.Call(t.Context(), w, size, 1<<19); err != nil || len(got) != 1<<19 {
		t.Error(err)
	}
}

func TestValuesThatCannotBeEncodedAreErrorsAndTheWorkerLives(t *testing.T) {
	w := start(t)
	for _, how := range []string{"func", "chan", "ring"} {
		_, err := client.Call(t.Context(), w, unenc, how)
		if !errors.Is(err, transport.CodeEncode) || client.SafeToRetry(err) {
			t.Errorf("%s in a reply: %v", how, err)
		}
		_, err = client.Call(t.Context(), w, transport.Method[any, any]("echo"), unencodable(how))
		checkRefused(t, err, transport.CodeEncode)
	}
	if _, err := client.Call(t.Context(), w, echo, nil); err != nil {
		t.Fatal(err)
	}
}

func TestRequestsAreValidated(t *testing.T) {
	w := start(t)
	_, err := client.Call(t.Context(), w, checked, evenRequest{3})
	if checkRefused(t, err, transport.CodeInvalid); !strings.Contains(err.Error(), "3 is odd") {
		t.Error(err)
	}
	_, err = client.Call(t.Context(), w, transport.Method[string, int](checked), "no struct")
	checkRefused(t, err, transport.CodeInvalid)
}

func TestUnknownFieldsAreAcceptedByDefaultAndRefusedInStrictMode(t *testing.T) {
	type newer struct{ N, Added int }
	method := transport.Method[newer, int](checked)
	if _, err := client.Call(t.Context(), start(t), method, newer{2, 1}); err != nil {
		t.Error(err)
	}
	t.Setenv("INTEGRATION_STRICT", "1")
	_, err := client.Call(t.Context(), start(t), method, newer{2, 1})
	if checkRefused(t, err, transport.CodeInvalid); !strings.Contains(err.Error(), "unknown field") {
		t.Error(err)
	}
}
