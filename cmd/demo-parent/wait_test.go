//go:build unix

package main

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/detached-workers/unref/client"
)

func TestTheUserIsToldWhichWorkerDoesNotAnswer(t *testing.T) {
	s, told := newSharedSlot(t)
	nothing := func(*client.Worker) error { return nil }
	if err := s.do(t.Context(), nothing); err != nil {
		t.Fatal(err)
	}
	first := s.worker.Pid()
	s.leave()
	if len(*told) != 0 {
		t.Errorf("the user was told %q of a quick start", *told)
	}
	if err := syscall.Kill(first, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	s.dialer.AnswerTimeout = attachPatience + 2*lookPatience
	if err := s.do(t.Context(), nothing); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("waiting for worker %d (", first)
	if len(*told) != 1 || !strings.HasPrefix((*told)[0], want) || s.worker.Pid() == first {
		t.Errorf("the user was told %q, want one line %q; the worker is %d", *told, want, s.worker.Pid())
	}
}

func TestNobodyIsNamedIfNoWorkerIsThere(t *testing.T) {
	s, _ := newSharedSlot(t)
	if got := s.waitsFor(t.Context()); got != "waiting for a worker ("+t.Name()+" #1)" {
		t.Errorf("got %q", got)
	}
}
