package main

import (
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/detached-workers/unref/lifecycle"
)

func TestStopEndsWorkers(t *testing.T) {
	dir := newRuntimeDir(t)
	attach(t, "a", lifecycle.Self(tester))
	attach(t, "b", lifecycle.Self(tester))
	attach(t, "c", lifecycle.Self(tester))
	r := unref(t, "stop", "a", "ghost", "b")
	if r.status != exitNo || r.out != "stopped a\nstopped b\n" || !strings.Contains(r.errors, "ghost") {
		t.Errorf("got %+v", r)
	}
	if live := living(t, dir); len(live) != 1 || live[0].SharedName != "c" {
		t.Errorf("left are %v", live)
	}
	unref(t, "stop", "--all").want(t, exitOK, "stopped c\n")
	if live := living(t, dir); len(live) != 0 {
		t.Errorf("left are %v", live)
	}
	if r := unref(t, "stop", "--all"); r != (result{}) {
		t.Errorf("of none: got %+v", r)
	}
}

func TestKillEndsWorkersOfOneStarterToo(t *testing.T) {
	dir := newRuntimeDir(t)
	w := startAlone(t)
	unref(t, "kill", tester).want(t, exitOK, "killed "+tester)
	<-w.Done()
	if live := living(t, dir); len(live) != 0 {
		t.Errorf("left are %v", live)
	}
}

func TestAnAmbiguousNameIsRefused(t *testing.T) {
	dir := newRuntimeDir(t)
	a, b := startAlone(t), startAlone(t)
	for _, command := range []string{"stop", "kill", "logs", "methods"} {
		unref(t, command, tester).want(t, exitNo, "several workers", a.Process().ID(), b.Process().ID())
	}
	unref(t, "stop", a.Process().ID()).want(t, exitOK)
	<-a.Done()
	unref(t, "kill", strconv.Itoa(b.Pid())).want(t, exitOK)
	<-b.Done()
	if live := living(t, dir); len(live) != 0 {
		t.Errorf("left are %v", live)
	}
}

func TestRestartReplacesASharedWorker(t *testing.T) {
	dir := newRuntimeDir(t)
	cmd := lifecycle.Self(tester)
	cmd.Args = []string{"an argument"}
	old := attach(t, "web", cmd)
	unref(t, "restart", "web").want(t, exitOK, "restarted web", "was "+strconv.Itoa(old.Pid()))
	next := attach(t, "web", cmd)
	if next.Pid() == old.Pid() || next.Decision().Action != "reused" {
		t.Errorf("after the restart an attach was %v", next.Decision())
	}
	old.Close()
	await(t, "the end of the old one", func() bool { return len(living(t, dir)) == 1 })
	unref(t, "restart", "--all").want(t, exitOK, "was "+strconv.Itoa(next.Pid()))
}

// A worker that was replaced serves who is left. It is not what has the name, so there is nothing to replace.
func TestRestartLeavesAWorkerAloneThatIsReplacedAlready(t *testing.T) {
	newRuntimeDir(t)
	old := attach(t, "web", lifecycle.Self(tester))
	if r := unref(t, "restart", "web"); r.status != exitOK {
		t.Fatalf("got %+v", r)
	}
	next := attach(t, "web", lifecycle.Self(tester))
	await(t, "the leaving of the old one", func() bool { return regexp.MustCompile("leaving|draining").MatchString(unref(t, "ps").out) })
	r := unref(t, "restart", "--all")
	r.want(t, exitOK, "was "+strconv.Itoa(next.Pid()))
	if strings.Count(r.out, "\n") != 1 || old.Err() != nil {
		t.Errorf("got %q, and the old one has %v", r.out, old.Err())
	}
	unref(t, "restart", old.Process().ID()).want(t, exitNo, "no such worker")
}

func TestTheOwnNameOfASharedWorkerIsNotItsName(t *testing.T) {
	newRuntimeDir(t)
	w := attach(t, "web", lifecycle.Self(tester))
	unref(t, "methods", tester).want(t, exitNo, "no such worker")
	for _, name := range []string{"web", w.Process().ID(), strconv.Itoa(w.Pid())} {
		unref(t, "methods", name).want(t, exitOK, "echo")
	}
	alone := startAlone(t)
	unref(t, "kill", tester).want(t, exitOK)
	<-alone.Done()
}

func TestRestartRefusesAWorkerOfOneStarter(t *testing.T) {
	newRuntimeDir(t)
	startAlone(t)
	unref(t, "restart", tester).want(t, exitNo, "not shared")
	if r := unref(t, "restart", "--all"); r != (result{}) {
		t.Errorf("of none: got %+v", r)
	}
}
