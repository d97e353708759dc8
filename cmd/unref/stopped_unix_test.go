//go:build unix

package main

import (
	"context"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/lifecycle"
)

// freeze starts a shared worker that does not answer.
func freeze(t *testing.T, name string, cmd *lifecycle.Command) *client.Worker {
	t.Helper()
	w := attach(t, name, cmd)
	if err := syscall.Kill(w.Pid(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	await(t, "the worker's silence", func() bool { // it stops a moment after the signal
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := w.Status(ctx)
		return err != nil
	})
	return w
}

func TestAWorkerThatDoesNotAnswerIsShownAndKilled(t *testing.T) {
	dir := newRuntimeDir(t)
	w := freeze(t, "web", lifecycle.Self(tester))
	unref(t, "ps").want(t, exitOK, "web", "does not answer")
	unref(t, "doctor").want(t, exitOK, "warn", "does not answer", "unref kill")
	unref(t, "methods", "web", "--answer-timeout", "50ms").want(t, exitNo, "web")
	unref(t, "kill", "web").want(t, exitOK)
	<-w.Done()
	if live := living(t, dir); len(live) != 0 {
		t.Errorf("left are %v", live)
	}
}

func TestStopUsesForceWhereItHasTo(t *testing.T) {
	newRuntimeDir(t)
	w := freeze(t, "web", lifecycle.Self(tester))
	r := unref(t, "stop", "--answer-timeout", "50ms", "--timeout", "100ms", "web")
	r.want(t, exitOK, "stopped web, by force")
	<-w.Done()
}

func TestWhyTellsOfAWorkerThatDoesNotAnswer(t *testing.T) {
	newRuntimeDir(t)
	cmd := testProgram(t)
	freeze(t, "web", cmd)
	r := unref(t, "why", "web", "--answer-timeout", "50ms", "--", cmd.Path)
	r.want(t, exitNo, "replaced", "does not answer")
	if strings.Count(r.out, "\n") != 1 {
		t.Errorf("got %q", r.out)
	}
}

func TestCompletionWaitsForNobody(t *testing.T) {
	newRuntimeDir(t)
	freeze(t, "web", lifecycle.Self(tester))
	unref(t, "__complete", "stop", "").want(t, exitOK, "web\t")
}
