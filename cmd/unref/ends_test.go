package main

import (
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

func TestRestartRefusesAWorkerOfOneStarter(t *testing.T) {
	newRuntimeDir(t)
	startAlone(t)
	unref(t, "restart", tester).want(t, exitNo, "not shared")
	if r := unref(t, "restart", "--all"); r != (result{}) {
		t.Errorf("of none: got %+v", r)
	}
}
