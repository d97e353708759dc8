package main

import (
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/lifecycle"
	"github.com/detached-workers/unref/transport"
)

func TestPsShowsEveryWorker(t *testing.T) {
	newRuntimeDir(t)
	shared, alone := attach(t, "web", lifecycle.Self(tester)), startAlone(t)
	r := unref(t, "ps")
	r.want(t, exitOK, "NAME", "web", tester, strconv.Itoa(shared.Pid()), strconv.Itoa(alone.Pid()), "in use")
	if lines := strings.Split(strings.TrimSpace(r.out), "\n"); len(lines) != 3 {
		t.Errorf("got %d lines", len(lines))
	}
}

func TestPsOfNothingIsATableWithoutRows(t *testing.T) {
	newRuntimeDir(t)
	if r := unref(t, "ps"); r.status != exitOK || strings.Count(r.out, "\n") != 1 {
		t.Errorf("got %+v", r)
	}
	if r := unref(t, "ps", "--json"); r.out != "[]\n" {
		t.Errorf("got %q", r.out)
	}
}

func TestPsPrintsJSON(t *testing.T) {
	newRuntimeDir(t)
	w := attach(t, "web", lifecycle.Self(tester))
	tell(t, w, say, "x")
	var list []client.Info
	if err := json.Unmarshal([]byte(unref(t, "ps", "--json").out), &list); err != nil {
		t.Fatal(err)
	}
	if len(list) != 1 || list[0].Name != "web" || !list[0].Shared || list[0].Status == nil || list[0].Status.Done != 1 ||
		list[0].Fingerprint == "" {
		t.Errorf("got %+v", list)
	}
}

func TestPsSaysWhichWorkersAreOnTheirWayOut(t *testing.T) {
	for want, info := range map[string]client.Info{
		"draining":                  {Displaced: true, Status: &transport.Status{Clients: 1}},
		"draining, does not answer": {Displaced: true, Trouble: "does not answer"},
		"leaving: it was replaced":  {Displaced: true, Status: &transport.Status{Leaving: "it was replaced"}},
		"in use":                    {Status: &transport.Status{Clients: 1}},
	} {
		if got := (row{Info: info}).state(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestTheRuntimeDirectoryCanBeNamed(t *testing.T) {
	dir := newRuntimeDir(t)
	attach(t, "web", lifecycle.Self(tester))
	t.Setenv("UNREF_RUNTIME_DIR", t.TempDir())
	if err := os.Chmod(os.Getenv("UNREF_RUNTIME_DIR"), 0o700); err != nil {
		t.Fatal(err)
	}
	if r := unref(t, "ps"); strings.Contains(r.out, "web") {
		t.Errorf("got %q from another directory", r.out)
	}
	unref(t, "ps", "--runtime-dir", dir).want(t, exitOK, "web")
	unref(t, "methods", "--runtime-dir", dir, "web").want(t, exitOK, "echo")
	t.Setenv("UNREF_RUNTIME_DIR", dir) // for what the test clears away
}
