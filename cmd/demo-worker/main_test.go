package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/detached-workers/unref/cmd/demo-worker/api"
	"github.com/detached-workers/unref/cmd/demo-worker/typecheck"
	"github.com/detached-workers/unref/server"
	"github.com/detached-workers/unref/transport"
)

// crashVariable has this program crash in the way that it names.
const crashVariable = "DEMO_WORKER_TEST_CRASH"

// survived is the exit status of a program that was to crash and did not.
const survived = 100

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && playChild(os.Args[1]) {
		return
	}
	if kind := os.Getenv(crashVariable); kind != "" {
		fmt.Println(crashNow(api.CrashRequest{Kind: kind, Message: "on purpose"}))
		os.Exit(survived)
	}
	goleak.VerifyTestMain(m)
}

// await waits until a condition holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for tick := time.NewTicker(5 * time.Millisecond); !holds(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

func TestAllMethodsCanBeRegistered(t *testing.T) {
	var mux server.Mux
	register(&mux)
}

func TestAnUnusableRequestHasItsCode(t *testing.T) {
	var checker typecheck.Checker
	_, err := checker.Plan(t.Context(), api.PlanRequest{Dir: "relative"})
	if !errors.Is(coded(err), transport.CodeInvalid) {
		t.Errorf("got %v", coded(err))
	}
	if coded(nil) != nil || coded(context.Canceled) != context.Canceled {
		t.Error("other errors are not left as they are")
	}
}

func TestSmallMethodsAnswer(t *testing.T) {
	ctx := t.Context()
	if got, err := echo(ctx, api.EchoRequest{Text: "x", Data: []byte("y")}); err != nil || got.Text != "x" || string(got.Data) != "y" {
		t.Errorf("echo: got %v, %v", got, err)
	}
	if got, err := square(ctx, api.SquareRequest{N: -7}); err != nil || got.N != 49 {
		t.Errorf("square: got %v, %v", got, err)
	}
	if _, err := sleep(ctx, api.SleepRequest{Duration: -1}); err != nil {
		t.Errorf("sleep: got %v", err)
	}
	if _, err := print(ctx, api.PrintRequest{Level: "loud"}); !errors.Is(err, transport.CodeInvalid) {
		t.Errorf("print: got %v", err)
	}
	if _, err := crash(ctx, api.CrashRequest{Kind: "strange"}); !errors.Is(err, transport.CodeInvalid) {
		t.Errorf("crash: got %v", err)
	}
}

func TestCountSendsWhatIsAskedFor(t *testing.T) {
	var got []api.CountMessage
	send := func(m api.CountMessage) error { got = append(got, m); return nil }
	if err := count(t.Context(), api.CountRequest{N: 3, Size: 2, Pause: 1}, send); err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 || got[2].I != 2 || !bytes.Equal(got[2].Data, []byte{2, 2}) {
		t.Errorf("got %v", got)
	}
	enough := errors.New("enough")
	err := count(t.Context(), api.CountRequest{N: 3}, func(api.CountMessage) error { return enough })
	if !errors.Is(err, enough) {
		t.Errorf("got %v", err)
	}
}

func TestWaitingObeysTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := sleep(ctx, api.SleepRequest{Duration: time.Hour}); !errors.Is(err, context.Canceled) {
		t.Errorf("sleep: got %v", err)
	}
	err := count(ctx, api.CountRequest{N: 2, Pause: time.Hour}, func(api.CountMessage) error { return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("count: got %v", err)
	}
	if _, err := crash(ctx, api.CrashRequest{Kind: api.CrashExit3, After: time.Hour}); !errors.Is(err, context.Canceled) {
		t.Errorf("crash: got %v", err)
	}
}

func TestCrashEndsTheProcess(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there are no signals to tell apart on windows")
	}
	for kind, want := range map[string]struct{ state, output string }{
		api.CrashExit0:      {"exit status 0", ""},
		api.CrashExit3:      {"exit status 3", ""},
		api.CrashPanic:      {"exit status 2", "panic: crash: on purpose"},
		api.CrashStrayPanic: {"exit status 2", "panic: crash: on purpose"},
		api.CrashSegv:       {"exit status 2", "SIGSEGV"},
		api.CrashKill:       {"signal: killed", ""},
		api.CrashMapWrite:   {"exit status 2", "concurrent map writes"},
		api.CrashStack:      {"exit status 2", "stack overflow"},
		api.CrashOOM:        {"", ""}, // the race detector's runtime ends in many ways
	} {
		t.Run(kind, func(t *testing.T) {
			if kind == api.CrashOOM && runtime.GOOS != "linux" {
				t.Skip("only Linux can limit one process to be sure")
			}
			t.Parallel()
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), self)
			cmd.Env = append(os.Environ(), crashVariable+"="+kind, "GORACE=exitcode=2")
			output, _ := cmd.CombinedOutput()
			if code := cmd.ProcessState.ExitCode(); code == survived {
				t.Error("the crash did not work")
			}
			if got := cmd.ProcessState.String(); got != want.state && want.state != "" {
				t.Errorf("got %s, want %s", got, want.state)
			}
			if !strings.Contains(string(output), want.output) {
				t.Errorf("the output does not contain %q:\n%.2000s", want.output, output)
			}
		})
	}
}
