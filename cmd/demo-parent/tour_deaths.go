package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/cmd/demo-worker/api"
	"github.com/detached-workers/unref/lifecycle"
)

// lastWords is what a worker prints before it crashes.
const lastWords = "these are my last words"

func (t *tour) visitCrash(ctx context.Context) error {
	t.did("have a goroutine of the worker panic while another call is in flight")
	var others sync.WaitGroup
	var otherErr error
	others.Go(func() { otherErr = t.sleep(ctx, t.worker) })
	began := time.Now()
	_, err := client.Call(ctx, t.worker, api.Crash, api.CrashRequest{Kind: api.CrashStrayPanic, Message: lastWords})
	took := time.Since(began)
	others.Wait()
	if err := t.expect(err, client.ErrWorkerExited); err != nil {
		return err
	}
	t.saw("the call was settled after %s", short(took))
	exit, ok := errors.AsType[*lifecycle.ExitError](err)
	switch {
	case !ok || exit.Code != 2:
		return errors.New("the error has not the exit status of a panic, 2")
	case !strings.Contains(string(exit.Output), lastWords+"\n"):
		return errors.New("the error has not the last words")
	case !errors.Is(otherErr, client.ErrWorkerExited):
		return fmt.Errorf("the other call came to %w", otherErr)
	}
	t.saw("the other call was settled with the same")
	return t.gone(t.worker)
}

// sleep calls a worker for longer than it will live.
func (t *tour) sleep(ctx context.Context, w *client.Worker) error {
	_, err := client.Call(ctx, w, api.Sleep, api.SleepRequest{Duration: time.Hour}, client.Timeout(patience))
	return err
}

// gone checks that nothing is left of a worker that has ended.
func (t *tour) gone(w *client.Worker) error {
	select {
	case <-w.Done():
	case <-time.After(patience):
		return fmt.Errorf("the end of pid %d was not noticed", w.Pid())
	}
	if alive(w.Pid()) {
		return fmt.Errorf("pid %d is alive", w.Pid())
	}
	if _, err := os.Lstat(w.Process().Dir()); err == nil {
		return fmt.Errorf("%s is left", w.Process().Dir())
	}
	t.saw("pid %d, its socket and its directory are gone", w.Pid())
	return nil
}

func (t *tour) visitKill(ctx context.Context) error {
	w, err := t.start(ctx)
	if err != nil {
		return err
	}
	t.worker = w
	err = t.killDuringStream(ctx, w)
	if err := t.expect(err, client.ErrWorkerExited); err != nil {
		return err
	}
	exit, ok := errors.AsType[*lifecycle.ExitError](err)
	if !ok || exit.Signal != syscall.SIGKILL && exit.Code != 1 {
		return errors.New("the error has not the signal")
	}
	if err := t.gone(w); err != nil {
		return err
	}
	return t.restart(ctx)
}

// killDuringStream kills the worker after the first message of a stream, and returns how the stream ends.
func (t *tour) killDuringStream(ctx context.Context, w *client.Worker) error {
	var killed time.Time
	request := api.CountRequest{N: 1 << 40, Pause: time.Millisecond}
	for _, err := range client.Stream(ctx, w, api.Count, request, client.Timeout(patience)) {
		switch {
		case err != nil:
			t.saw("the stream ended after %s", short(time.Since(killed)))
			return err
		case killed.IsZero():
			t.did("kill pid %d in the middle of a stream", w.Pid())
			killed = time.Now()
			if err := kill(w.Pid()); err != nil {
				return err
			}
		}
	}
	return errors.New("the stream ended without an error")
}

// restart starts a worker in place of the one that was killed.
func (t *tour) restart(ctx context.Context) error {
	began := time.Now()
	w, err := t.start(ctx)
	if err != nil {
		return err
	}
	t.worker = w
	t.did("start another one")
	if err := t.answers(ctx, fmt.Sprintf("ready after %s; ", short(time.Since(began)))); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	t.did("close it")
	return t.gone(w)
}

// kill kills a process from outside, as anybody could.
func kill(pid int) error {
	p, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	return p.Kill()
}
