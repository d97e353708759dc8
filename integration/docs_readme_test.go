package integration_test

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The programs of the README do what it says they do.
func TestDocsProgramsOfTheReadmeRun(t *testing.T) {
	dir := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", dir, "./docs_readme/worker", "./docs_readme/parent")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	parent := exec.CommandContext(t.Context(), filepath.Join(dir, "parent"), filepath.Join(dir, "worker"))
	var log bytes.Buffer
	parent.Stderr = &log
	out, err := parent.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	if got, want := string(out), "6 words in 18 bytes\nto\nbe\nor\nnot\nto\nbe\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if !strings.Contains(log.String(), "counting") {
		t.Errorf("the worker's output did not arrive; got %q", log.String())
	}
}
