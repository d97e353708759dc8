package main

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/cmd/demo-worker/api"
	"github.com/detached-workers/unref/lifecycle"
	"github.com/detached-workers/unref/transport"
)

// Work that workers die of is given up after a number of attempts, and the error says how they died.
// LESSONS 37
func TestWorkThatKillsWorkersIsGivenUpAfterAFewAttempts(t *testing.T) {
	s, told := newSlot(t)
	var pids []int
	err := s.do(t.Context(), func(w *client.Worker) error {
		pids = append(pids, w.Pid())
		_, err := client.Call(t.Context(), w, api.Crash, api.CrashRequest{Kind: api.CrashExit3, Message: "the reason"})
		return err
	})
	exit, ok := errors.AsType[*lifecycle.ExitError](err)
	if !ok || exit.Code != 3 || !strings.Contains(err.Error(), "the reason") {
		t.Errorf("got error %v, want one with exit status 3 and the last words", err)
	}
	if len(pids) != maxAttempts {
		t.Errorf("it was given to workers %v, want %d", pids, maxAttempts)
	}
	if len(*told) != maxAttempts-1 {
		t.Errorf("the user was told %q, want %d lines", *told, maxAttempts-1)
	}
	for _, line := range *told {
		if strings.Contains(line, "\n") || !strings.Contains(line, "exited with status 3") {
			t.Errorf("the user was told %q, want one line with the exit status", line)
		}
	}
}

func TestAnErrorThatIsNoDeathIsNotRetried(t *testing.T) {
	s, told := newSlot(t)
	calls := 0
	err := s.do(t.Context(), func(w *client.Worker) error {
		calls++
		_, err := client.Call(t.Context(), w, api.Crash, api.CrashRequest{Kind: api.CrashPanic})
		return err
	})
	if !errors.Is(err, transport.CodePanic) || calls != 1 || len(*told) != 0 {
		t.Errorf("got %v after %d calls, told %q; want a panic after one call", err, calls, *told)
	}
}

func TestAWorkerThatDiedBetweenTwoUsesIsReplacedSilently(t *testing.T) {
	s, told := newSlot(t)
	use := func() (pid int) {
		err := s.do(t.Context(), func(w *client.Worker) error {
			pid = w.Pid()
			_, err := client.Call(t.Context(), w, api.Square, api.SquareRequest{N: 2})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return pid
	}
	first, again := use(), use()
	if first != again {
		t.Errorf("the worker changed from %d to %d without a reason", first, again)
	}
	if err := kill(first); err != nil {
		t.Fatal(err)
	}
	<-s.worker.Done()
	if second := use(); second == first || len(*told) != 0 {
		t.Errorf("after the death of %d the worker is %d, told %q", first, second, *told)
	}
}

func TestWhatIsTriedAgainHasLostItsWorker(t *testing.T) {
	for _, test := range []struct {
		err  error
		want bool
	}{
		{fmt.Errorf("call: %w", client.ErrWorkerExited), true},
		{fmt.Errorf("call: %w: %w", transport.ErrNotSent, client.ErrNotListening), true},
		{fmt.Errorf("call: %w", client.ErrNotListening), false},
		{fmt.Errorf("call: %w", client.ErrConnectionLost), false},
		{&transport.Error{Code: transport.CodePanic}, false},
		{nil, false},
	} {
		if got := lost(test.err); got != test.want {
			t.Errorf("%v: got %v, want %v", test.err, got, test.want)
		}
	}
}

// A worker that somebody has stopped between two rounds of ours is not missed.
func TestASharedWorkerThatWasStoppedIsStartedAgain(t *testing.T) {
	s, told := newSharedSlot(t)
	square := func(w *client.Worker) error {
		_, err := client.Call(t.Context(), w, api.Square, api.SquareRequest{N: 2})
		return err
	}
	if err := s.do(t.Context(), square); err != nil {
		t.Fatal(err)
	}
	first := s.worker.Pid()
	if err := s.dialer.Stop(t.Context(), s.name); err != nil {
		t.Fatal(err)
	}
	if err := s.do(t.Context(), square); err != nil {
		t.Fatal(err)
	}
	list := slots{s}.takeArrivals()
	if len(list) != 2 || !list[1].isNew() || list[0].Pid != first || list[1].Pid == first {
		t.Errorf("the workers that came are %+v, told %q", list, *told)
	}
}

// A worker that is killed in the middle of a check costs time and nothing else.
// LESSONS 26
func TestAWorkerKilledInTheMiddleOfACheckChangesNoResult(t *testing.T) {
	for name, place := range map[string]func(*testing.T) (*slot, *[]string){"own": newSlot, "shared": newSharedSlot} {
		t.Run(name, func(t *testing.T) {
			s, told := place(t)
			killInTheMiddle(t, s)
			if len(*told) != 1 || !strings.Contains((*told)[0], "another worker goes on") {
				t.Errorf("the user was told %q, want one line about another worker", *told)
			}
		})
	}
}

// killInTheMiddle kills the worker of a check, and compares the results with those of any other.
func killInTheMiddle(t *testing.T, s *slot) {
	dir := newModule(t, map[string]string{
		"a/a.go": "package a\n\nvar A int = \"a\"\n",
		"b/b.go": "package b\n\nimport \"net/http\"\n\nvar B http.Client = 1\n",
	})
	c := &checker{request: api.PlanRequest{Dir: dir, Patterns: []string{"./..."}}, slots: slots{s}, display: &display{out: t.Output()}}
	plan, err := c.plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r := newResult(1, plan)
	events := make(chan api.CheckEvent)
	var check sync.WaitGroup
	check.Go(func() {
		err = s.check(t.Context(), plan, plan.Targets(), events)
		close(events)
	})
	victim := s.worker.Pid()
	for e := range events {
		if victim != 0 {
			if err := kill(victim); err != nil {
				t.Error(err)
			}
			victim = 0
		}
		r.add(e)
	}
	check.Wait()
	if err != nil {
		t.Fatal(err)
	}
	want := "a/a.go:3:13: cannot use \"a\" (untyped string constant) as int value in variable declaration\n" +
		"b/b.go:5:21: cannot use 1 (untyped int constant) as http.Client value in variable declaration\n"
	if got := string(r.text()); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
