package integration

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

	"github.com/sirupsen/logrus"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/lifecycle"
	"github.com/detached-workers/unref/transport"
)

// awaitHandlers waits until the worker is in all of these functions.
func awaitHandlers(t *testing.T, w *client.Worker, names ...string) {
	t.Helper()
	await(t, strings.Join(names, " and "), func() bool {
		running, err := client.Call(t.Context(), w, transport.MethodStacks, struct{}{})
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if !strings.Contains(running, name) {
				return false
			}
		}
		return true
	})
}

// suspend stops a process and returns when all its threads have stopped.
func suspend(t *testing.T, pid int) {
	t.Helper()
	syscall.Kill(pid, syscall.SIGSTOP)
	await(t, "the stop of all threads", func() bool {
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		for _, task := range tasks {
			stat, _ := os.ReadFile(task)
			if !strings.Contains(string(stat), ") T ") {
				return false
			}
		}
		return true
	})
}

func TestCloseStopAndKillMayBeCalledInAnyStateFromManySides(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(*client.Worker){
		"idle": func(*client.Worker) {},
		"busy": func(w *client.Worker) {
			go client.Call(t.Context(), w, wait, waitRequest{})
			awaitHandler(w, "handleWait")
		},
		"spinning":  func(w *client.Worker) { occupy(w, "spins") },
		"stopped":   func(w *client.Worker) { suspend(t, w.Pid()) },
		"dying":     func(w *client.Worker) { syscall.Kill(w.Pid(), syscall.SIGKILL) },
		"dead":      func(w *client.Worker) { client.Call(t.Context(), w, end, "exit 3"); <-w.Done() },
		"closed":    func(w *client.Worker) { w.Close() },
		"killed":    func(w *client.Worker) { w.Kill() },
		"unlinked":  func(w *client.Worker) { client.Call(t.Context(), w, shell, "rm -r "+w.Process().Dir()) },
		"connected": func(w *client.Worker) { client.Call(t.Context(), w, echo, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := newRoot(t)
			cmd := within(root, self())
			cmd.Grace = 100 * time.Millisecond
			w := startWith(t, &client.Dialer{}, cmd)
			prepare(w)
			endFromManySides(t, w)
			if !errors.Is(w.Err(), client.ErrWorkerExited) || alive(w.Pid()) {
				t.Errorf("the end is %v, alive %v", w.Err(), alive(w.Pid()))
			}
			for _, end := range []func() error{w.Close, w.Kill, func() error { return w.Stop(t.Context()) }} {
				if err := end(); err != nil {
					t.Errorf("again: %v", err)
				}
			}
		})
	}
}

func endFromManySides(t *testing.T, w *client.Worker) {
	t.Helper()
	var wg sync.WaitGroup
	defer wg.Wait()
	for range 3 {
		wg.Go(func() { polite(t, w.Close()) })
		wg.Go(func() { polite(t, w.Stop(t.Context())) })
	}
	wg.Go(func() {
		if err := w.Kill(); err != nil {
			t.Error(err)
		}
	})
}

// polite checks the outcome of a stop while others may use force.
func polite(t *testing.T, err error) {
	t.Helper()
	if err != nil && !errors.Is(err, client.ErrForced) {
		t.Error(err)
	}
}

func TestStopOfAStoppedWorkerKillsItAndSaysSo(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		stop func(*client.Worker) error
	}{
		{"Close", (*client.Worker).Close},
		{"Stop within a time", func(w *client.Worker) error {
			ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
			defer cancel()
			return w.Stop(ctx)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			root := newRoot(t)
			cmd := within(root, self())
			cmd.Grace = 100 * time.Millisecond
			w := startWith(t, &client.Dialer{}, cmd)
			pids, err := client.Call(t.Context(), w, offspr, struct{}{})
			if err != nil {
				t.Fatal(err)
			}
			suspend(t, w.Pid())
			if err := tt.stop(w); !errors.Is(err, client.ErrForced) {
				t.Errorf("got %v, want ErrForced", err)
			}
			exit, ok := errors.AsType[*lifecycle.ExitError](w.Err())
			if !ok || exit.Signal != syscall.SIGKILL || exit.Killed == "" {
				t.Errorf("the end is %v", w.Err())
			}
			gone(t, w.Process().Dir(), append(pids, w.Pid())...)
		})
	}
}

func TestCloseLetsCallsInFlightFinishWithinTheGrace(t *testing.T) {
	t.Parallel()
	cmd := self()
	cmd.Grace = time.Minute
	w := startWith(t, &client.Dialer{}, cmd)
	result := make(chan error, 1)
	go func() {
		out, err := client.Call(t.Context(), w, shell, "sleep 0.3; echo done")
		if err == nil && out != "done\n" {
			err = errors.New("got " + out)
		}
		result <- err
	}()
	awaitHandlers(t, w, "exec.(*Cmd).Wait")
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if err := <-result; err != nil {
		t.Errorf("the call in flight: %v", err)
	}
}

// LESSONS 26
func TestCloseSettlesCallsThatDoNotFinish(t *testing.T) {
	t.Parallel()
	for name, req := range map[string]waitRequest{"patient": {}, "stubborn": {Stubborn: true}, "spinning": {Spin: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := self()
			cmd.Grace = 200 * time.Millisecond
			w := startWith(t, &client.Dialer{}, cmd)
			pending := make(chan error, 10)
			for range 10 {
				go func() {
					_, err := client.Call(t.Context(), w, wait, req)
					pending <- err
				}()
			}
			awaitHandlers(t, w, "handleWait")
			// Among spinning handlers the way out may get too little of a busy machine, and force is right then.
			if err := w.Close(); err != nil && !(req.Spin && errors.Is(err, client.ErrForced)) {
				t.Error(err)
			}
			for range 10 {
				if err := <-pending; err == nil {
					t.Error("a call that can't have ended has succeeded")
				}
			}
		})
	}
}

func TestCallsAfterCloseWereNotMade(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*client.Worker) error{
		"Close": (*client.Worker).Close,
		"Kill":  (*client.Worker).Kill,
		"Stop":  func(w *client.Worker) error { return w.Stop(t.Context()) },
	} {
		w := start(t)
		if err := end(w); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		_, err := client.Call(t.Context(), w, echo, nil)
		checkClosed(t, name, err)
		for _, err = range client.Stream(t.Context(), w, stall, 1) {
		}
		checkClosed(t, name, err)
		_, err = client.Open(t.Context(), w, double)
		checkClosed(t, name, err)
	}
}

func checkClosed(t *testing.T, how string, err error) {
	t.Helper()
	if !errors.Is(err, client.ErrClosed) || !client.SafeToRetry(err) {
		t.Errorf("after %s: got %v (safe to retry: %v), want ErrClosed and safe", how, err, client.SafeToRetry(err))
	}
}

// LESSONS 42
func TestWorkerWithoutAClientLeavesAfterItsIdleTimeout(t *testing.T) {
	t.Parallel()
	root := newRoot(t)
	launch(t, root, "200ms").gone(t)
	cmd := within(root, self())
	cmd.IdleTimeout = 500 * time.Millisecond
	w := startWith(t, &client.Dialer{}, cmd)
	meanwhile(3 * cmd.IdleTimeout / 2)
	if pid, err := workerPid(t.Context(), w); err != nil || pid != w.Pid() {
		t.Errorf("a worker with a client: got worker %d, %v", pid, err)
	}
}

// LESSONS 26, 42
func TestWorkerLeavesAfterItsMaxLifetimeAndSettlesItsCalls(t *testing.T) {
	t.Parallel()
	cmd := self()
	cmd.MaxLifetime = 500 * time.Millisecond
	cmd.Grace = 200 * time.Millisecond
	w := startWith(t, &client.Dialer{}, cmd)
	_, err := client.Call(t.Context(), w, wait, waitRequest{Stubborn: true}, client.Timeout(patience))
	if !errors.Is(err, client.ErrWorkerExited) {
		t.Errorf("the call in flight: got %v, want ErrWorkerExited", err)
	}
	awaitDone(t, "the worker's end", w.Done())
	if exit, ok := errors.AsType[*lifecycle.ExitError](w.Err()); !ok || exit.Code != 0 || exit.Signal != 0 || exit.Killed != "" {
		t.Errorf("the end is %v, want status 0", w.Err())
	}
}

func TestWorkerThatLeavesSaysWhy(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		max   time.Duration
		leave func(*client.Worker) error
		want  string
	}{
		{300 * time.Millisecond, nil, "MaxLifetime of 300ms is over"},
		{0, (*client.Worker).Close, "a client asked for it"},
		{0, func(w *client.Worker) error { return w.Process().Terminate() }, "signal terminated"},
	} {
		cmd, log := self(), newLog()
		cmd.MaxLifetime = tt.max
		w := startWith(t, &client.Dialer{Logger: log.logger}, cmd)
		if tt.leave != nil {
			if err := tt.leave(w); err != nil {
				t.Errorf("%s: %v", tt.want, err)
			}
		}
		awaitDone(t, "the worker's end", w.Done())
		if got := w.Err().Error(); !strings.Contains(got, "; last output:\ndebug: leaving: "+tt.want) {
			t.Errorf("got %q, want one that says %q", got, tt.want)
		}
		await(t, "the entry "+tt.want, func() bool {
			e := log.find("leaving: " + tt.want)
			return e != nil && e.Level == logrus.DebugLevel
		})
	}
}

// Nobody ever connects.
func TestWorkerThatLeavesBeforeItIsReadyIsNotTakenForAnotherProgram(t *testing.T) {
	t.Parallel()
	for want, cmd := range map[string]*lifecycle.Command{
		"no client for the IdleTimeout of 50ms": {IdleTimeout: 50 * time.Millisecond},
		"MaxLifetime of 60ms is over":           {MaxLifetime: 60 * time.Millisecond},
	} {
		described := within(newRoot(t), self())
		described.IdleTimeout, described.MaxLifetime = cmd.IdleTimeout, cmd.MaxLifetime
		p, err := described.Start(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		awaitDone(t, "the worker's end", p.Done())
		if got := p.Err().Error(); !strings.HasSuffix(got, ", before it was ready; last output:\ndebug: leaving: "+want) {
			t.Errorf("got %q, want one that ends with %q", got, want)
		}
	}
}
