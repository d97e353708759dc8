package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheWorkerIsFoundInThePath(t *testing.T) {
	path, err := findWorker(t.Context(), "", t.Logf)
	if want := filepath.Join(binDir, workerName+executableSuffix()); err != nil || path != want {
		t.Errorf("got %q, %v, want %q", path, err, want)
	}
}

func TestAWorkerThatIsNamedWins(t *testing.T) {
	other, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	if path, err := findWorker(t.Context(), other, t.Logf); err != nil || path != other {
		t.Errorf("got %q, %v, want %q", path, err, other)
	}
	if _, err := findWorker(t.Context(), "./no/such/program", t.Logf); err == nil {
		t.Error("one that does not exist is no error")
	}
}

// withoutWorker gives the test a path with the go command and no worker, of whatever directory, and a cache of its own.
func withoutWorker(t *testing.T) {
	t.Helper()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"GOCACHE", "GOMODCACHE"} {
		out, err := exec.Command("go", "env", name).Output()
		if err != nil {
			t.Fatal(err)
		}
		t.Setenv(name, strings.TrimSpace(string(out)))
	}
	t.Setenv("PATH", filepath.Join(strings.TrimSpace(string(root)), "bin"))
	for _, name := range []string{"XDG_CACHE_HOME", "HOME", "LocalAppData"} {
		t.Setenv(name, t.TempDir())
	}
}

func TestTheWorkerIsBuiltForThisMachineIfItIsNotFound(t *testing.T) {
	withoutWorker(t)
	t.Setenv("GOOS", "plan9")
	var told []string
	path, err := findWorker(t.Context(), "", func(format string, args ...any) { told = append(told, fmt.Sprintf(format, args...)) })
	if err != nil {
		t.Fatal(err)
	}
	if len(told) != 1 || !strings.HasPrefix(told[0], "building demo-worker from ") {
		t.Errorf("the user was told %q", told)
	}
	if out, err := exec.Command(path, "daemon", "too many arguments").CombinedOutput(); err == nil || !strings.Contains(string(out), "worker") {
		t.Errorf("what was built says %q, %v", out, err)
	}
}

func TestAWorkerThatCannotBeBuiltIsOneClearError(t *testing.T) {
	withoutWorker(t)
	t.Setenv("PATH", t.TempDir())
	_, err := findWorker(t.Context(), "", t.Logf)
	if err == nil || !strings.Contains(err.Error(), "-worker names one") || !strings.Contains(err.Error(), "executable file not found") {
		t.Errorf("got %v", err)
	}
}
