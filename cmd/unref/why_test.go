package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/lifecycle"
)

// testProgram is the test's worker by the path of its program, as one says it on a command line.
func testProgram(t *testing.T) *lifecycle.Command {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return &lifecycle.Command{Path: self, Name: tester}
}

// altered returns a copy of a program that is another one.
func altered(t *testing.T, program string) string {
	t.Helper()
	data, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), filepath.Base(program))
	if err := os.WriteFile(path, append(data, 0), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestWhySaysWhichFieldDiffers(t *testing.T) {
	newRuntimeDir(t)
	t.Setenv("UNREF_TEST_VARIABLE", "one")
	cmd, dir := testProgram(t), t.TempDir()
	cmd.Args, cmd.Dir, cmd.FingerprintEnv = []string{"serve"}, dir, []string{"UNREF_TEST_VARIABLE"}
	cmd.Config = map[string]int{"level": 3}
	cmd.Limits = lifecycle.Limits{
		Memory: 1 << 50, CPU: 90 * time.Minute, OpenFiles: 500, GoMaxProcs: 3, GoMemory: 1 << 39,
	}
	w := attach(t, "web", cmd)

	same := []string{"why", "web", "--dir", dir, "--fingerprint-env", "UNREF_TEST_VARIABLE", "--config", `{"level": 3}`, "--worker-name", tester,
		"--limit-memory", "1125899906842624", "--limit-cpu", "90m", "--limit-open-files", "500",
		"--limit-go-max-procs", "3", "--limit-go-memory", "549755813888"}
	program := []string{"--", cmd.Path, "serve"}
	unref(t, slices.Concat(same, program)...).want(t, exitOK, "reused")

	for field, args := range map[string][]string{
		"executable":              slices.Concat(same, []string{"--", altered(t, cmd.Path), "serve"}),
		"args":                    slices.Concat(same, []string{"--", cmd.Path, "other"}),
		"dir":                     slices.Concat(same, []string{"--dir", t.TempDir()}, program),
		"limits":                  slices.Concat(same, []string{"--limit-nice", "1"}, program),
		"config":                  slices.Concat(same, []string{"--config", `{"level":4}`}, program),
		"env UNREF_TEST_OTHER":    slices.Concat(same, []string{"--fingerprint-env", "UNREF_TEST_OTHER"}, program),
		"env UNREF_TEST_VARIABLE": slices.Concat(same, program),
	} {
		t.Run(strings.ReplaceAll(field, " ", "_"), func(t *testing.T) {
			t.Setenv("UNREF_TEST_OTHER", "set")
			if field == "env UNREF_TEST_VARIABLE" {
				t.Setenv("UNREF_TEST_VARIABLE", "two")
			}
			r := unref(t, args...)
			r.want(t, exitNo, "replaced", "FIELD", field)
			if strings.Count(r.out, "\n") != 3 {
				t.Errorf("got %q, want one difference", r.out)
			}
		})
	}
	if err := w.Err(); err != nil {
		t.Errorf("asking has ended the worker: %v", err)
	}
}

func TestWhyTellsOfANameThatNobodyHas(t *testing.T) {
	newRuntimeDir(t)
	cmd := testProgram(t)
	unref(t, "why", "web", "--", cmd.Path).want(t, exitNo, "started: no worker has this name")
	unref(t, "why", "web", "--", "/no/such/program").want(t, exitNo)
}

func TestWhyPrintsJSON(t *testing.T) {
	newRuntimeDir(t)
	cmd := testProgram(t)
	w := attach(t, "web", cmd)
	r := unref(t, "why", "--json", "web", "--", cmd.Path, "extra")
	var d client.Decision
	if err := json.Unmarshal([]byte(r.out), &d); err != nil || r.status != exitNo || d.Action != client.Replaced ||
		d.Previous != w.Pid() || len(d.Differences) != 1 || d.Differences[0].Field != "args" {
		t.Errorf("got %+v, %v", r, err)
	}
}
