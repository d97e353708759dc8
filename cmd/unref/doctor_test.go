package main

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/detached-workers/unref/lifecycle"
)

func TestDoctorFindsNothingWrongAndAsksTheWorkers(t *testing.T) {
	newRuntimeDir(t)
	attach(t, "web", lifecycle.Self(tester))
	unref(t, "doctor").want(t, exitOK, "runtime directory", "socket path", "leftovers", "locks", "1 worker, which answers")
}

func TestDoctorPrintsJSON(t *testing.T) {
	newRuntimeDir(t)
	var checks []lifecycle.Check
	if err := json.Unmarshal([]byte(unref(t, "doctor", "--json").out), &checks); err != nil || len(checks) < 6 ||
		checks[0].Name != "runtime directory" || checks[0].Status != lifecycle.CheckOK {
		t.Errorf("got %+v, %v", checks, err)
	}
}

func TestDoctorFailsForADirectoryThatOthersCanRead(t *testing.T) {
	dir := newRuntimeDir(t)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	unref(t, "doctor").want(t, exitNo, "fail", "runtime directory", "-> ", "chmod 700")
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
}
