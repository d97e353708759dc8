package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// LESSONS 2, 34
func TestTheLastWordsOfAWorkerAreInItsError(t *testing.T) {
	for name, test := range map[string]struct {
		code int
		sig  syscall.Signal
		want []string
	}{
		"exit0":     {0, 0, []string{"bye"}},
		"exit3":     {3, 0, []string{"line one", "last words"}},
		"die":       {-1, syscall.SIGKILL, []string{"last words"}},
		"panic":     {2, 0, []string{"panic: the reason of the crash", "goroutine "}},
		"map-write": {2, 0, []string{"fatal error: concurrent map", "goroutine "}},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, role(t, name, "GOTRACEBACK=all"))
			if p.Err() != nil && p.isReady() {
				t.Error("an error before the end")
			}
			e := awaitDone(t, p)
			if e.Code != test.code || e.Signal != test.sig || e.Ready || e.OutOfMemory || e.Killed != "" || e.Pid != p.Pid() {
				t.Errorf("got %+v", *e)
			}
			for _, want := range test.want {
				if !strings.Contains(string(e.Output), want) {
					t.Errorf("no %q in the output of %d bytes", want, len(e.Output))
				}
				if !strings.Contains(e.Error(), want) {
					t.Errorf("no %q in %q", want, e.Error())
				}
			}
			if len(e.Output) > tailBytes || len(p.LastOutput()) > tailBytes {
				t.Errorf("got %d bytes of output", len(e.Output))
			}
		})
	}
}

func TestStopIsPoliteAndSaysIfForceWasNeeded(t *testing.T) {
	for name, test := range map[string]struct {
		grace  time.Duration
		forced bool
	}{
		"idle":     {0, false},
		"drain":    {0, false},
		"stubborn": {50 * time.Millisecond, false}, // leaves when its own grace is over
		"spin":     {50 * time.Millisecond, false},
		"hang":     {0, false}, // SIGTERM has its usual effect
	} {
		t.Run(name, func(t *testing.T) {
			c := role(t, name)
			c.Grace = test.grace
			p := startReady(t, c)
			forced, err := p.Stop(t.Context())
			if forced != test.forced || err != nil {
				t.Errorf("got %v, %v", forced, err)
			}
			e := awaitDone(t, p)
			if name == "hang" && (e.Signal != syscall.SIGTERM || e.Killed == "") {
				t.Errorf("got %v", e)
			}
			if name != "hang" && e.Code != 0 {
				t.Errorf("got %v", e)
			}
			if name == "drain" && !strings.Contains(string(e.Output), "draining true") {
				t.Errorf("did not drain: %v", e)
			}
			if forced, err := p.Stop(t.Context()); forced || err != nil {
				t.Errorf("second stop: got %v, %v", forced, err)
			}
			if err := p.Terminate(); !errors.Is(err, os.ErrProcessDone) {
				t.Errorf("terminate: got %v", err)
			}
		})
	}
}

func TestStopKillsWhatIgnoresIt(t *testing.T) {
	c := &Command{Path: "sh", Args: []string{"-c", `trap "" TERM; echo up; while true; do sleep 1000; done`}, RuntimeDir: runtimeDir(t)}
	c.Grace = time.Hour
	p := startReady(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	forced, err := p.Stop(ctx)
	if e := awaitDone(t, p); !forced || err != nil || e.Signal != syscall.SIGKILL || !strings.HasPrefix(e.Killed, "killed because") {
		t.Errorf("got %v, %v, %v", forced, err, e)
	}
}

func TestAfterExitAskedStopWaitsForTheExitFirst(t *testing.T) {
	c := wrapper(t, `echo up; read line <"$1"; exit 4`)
	fifo := t.TempDir() + "/fifo"
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	c.Args, c.Grace = append(c.Args, fifo), time.Minute
	p := startReady(t, c)
	p.ExitAsked()
	var asked sync.WaitGroup
	defer asked.Wait()
	asked.Go(func() { _ = os.WriteFile(fifo, []byte("leave\n"), 0) })
	forced, err := p.Stop(t.Context())
	if e := awaitDone(t, p); forced || err != nil || e.Code != 4 {
		t.Errorf("got %v, %v, %v", forced, err, e)
	}
}

func TestKillIsIdempotentFromManySides(t *testing.T) {
	p := startReady(t, role(t, "stubborn"))
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if err := p.KillBecause("the test is over"); err != nil {
				t.Error(err)
			}
		})
		all.Go(func() { _, _ = p.Stop(t.Context()) })
	}
	all.Wait()
	e := p.Err().(*ExitError)
	if _, err := os.Lstat(p.Dir()); err == nil {
		t.Error("the instance directory is still there")
	}
	if e.Code == 0 && e.Signal == 0 || e.Killed == "" {
		if e.Code != 0 { // the worker may have come before
			t.Errorf("got %v", e)
		}
	}
}

func TestAnExitOfTheWorkersOwnIsNotCalledAKill(t *testing.T) {
	p := start(t, role(t, "exit3"))
	awaitDone(t, p)
	if err := p.Kill(); err != nil {
		t.Error(err)
	}
	if e := p.Err().(*ExitError); e.Killed != "" || e.Code != 3 {
		t.Errorf("got %v", e)
	}
}

func TestTheFirstExitWins(t *testing.T) {
	p := start(t, role(t, "exit-twice"))
	if e := awaitDone(t, p); e.Signal != 0 || e.Code < 0 || e.Code > 10 {
		t.Errorf("got %v", e)
	}
}

// LESSONS 43
func TestAnIdleWorkerDoesNotRunAtAll(t *testing.T) {
	p := startReady(t, role(t, "idle"))
	await(t, "an interval without a context switch", func() bool {
		before := switches(t, p.Pid())
		meanwhile(500 * time.Millisecond)
		return switches(t, p.Pid()) == before
	})
}

// switches returns how often each thread of the process was given a processor.
func switches(t *testing.T, pid int) string {
	t.Helper()
	paths, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no threads: %v", err)
	}
	var all strings.Builder
	for _, path := range paths {
		data, _ := os.ReadFile(path)
		_, counts, _ := strings.Cut(string(data), "\nvoluntary_ctxt_switches:")
		all.WriteString(counts)
	}
	return all.String()
}

func TestTheWorkerTellsItsWatchersThatOutputGrew(t *testing.T) {
	p := startReady(t, role(t, "watch"))
	awaitLine(t, p.Output(), "grew 3")
}

func TestOutputIsReadWhileTheWorkerRuns(t *testing.T) {
	p := startReady(t, role(t, "entries"))
	r := p.Output()
	text, _ := r.Next()
	entry, _ := r.Next()
	if text.Text != "half a line" || entry.Entry == nil || entry.Entry.String() != "info: hello n=1" {
		t.Errorf("got %+v, %+v", text, entry)
	}
	if got := string(p.LastOutput()); got != "half a line\ninfo: hello n=1\nup\n" {
		t.Errorf("got %q", got)
	}
}
