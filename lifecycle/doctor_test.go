package lifecycle

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// checkNamed returns the check of that name.
func checkNamed(t *testing.T, checks []Check, name string) Check {
	t.Helper()
	i := slices.IndexFunc(checks, func(c Check) bool { return c.Name == name })
	if i < 0 {
		t.Fatalf("no check %q among %v", name, checks)
	}
	return checks[i]
}

// healthy is a runtime directory in which everything is as it should be.
func healthy(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "dr")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestDiagnoseOfAHealthyDirectoryFailsNothingAndLeavesNothing(t *testing.T) {
	dir := healthy(t)
	for _, c := range Diagnose(dir) {
		if c.Status == CheckFail {
			t.Errorf("%s: %s", c.Name, c.Detail)
		}
		if c.Detail == "" || (c.Status == CheckOK) != (c.Remedy == "") {
			t.Errorf("%+v: each check has a detail, and a remedy if something is wrong", c)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != registryName {
		t.Errorf("it left %v, %v", entries, err)
	}
}

func TestDiagnoseMakesTheDirectory(t *testing.T) {
	dir := filepath.Join(healthy(t), "new")
	if c := checkNamed(t, Diagnose(dir), "runtime directory"); c.Status != CheckOK || !strings.Contains(c.Detail, dir) {
		t.Errorf("got %+v", c)
	}
}

func TestDiagnoseRefusesADirectoryThatOthersCanRead(t *testing.T) {
	dir := healthy(t)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	checks := Diagnose(dir)
	if len(checks) != 1 || checks[0].Status != CheckFail || !strings.Contains(checks[0].Remedy, "chmod 700") {
		t.Errorf("got %+v", checks)
	}
}

func TestDiagnoseRefusesARegistryThatOthersCanRead(t *testing.T) {
	dir := healthy(t)
	if err := os.Mkdir(filepath.Join(dir, registryName), 0o755); err != nil {
		t.Fatal(err)
	}
	if c := checkNamed(t, Diagnose(dir), "registry"); c.Status != CheckFail || !strings.Contains(c.Remedy, registryName) {
		t.Errorf("got %+v", c)
	}
}

func TestDiagnoseTellsOfTheFallbackForLongPaths(t *testing.T) {
	short := healthy(t)
	before := fallbackDir
	fallbackDir = func() string { return short }
	defer func() { fallbackDir = before }()
	long := filepath.Join(healthy(t), strings.Repeat("x", maxSocketPath))
	if c := checkNamed(t, Diagnose(long), "socket path"); c.Status != CheckWarn || !strings.Contains(c.Detail, short) {
		t.Errorf("got %+v", c)
	}
	fallbackDir = func() string { return long }
	if c := checkNamed(t, Diagnose(long), "socket path"); c.Status != CheckFail {
		t.Errorf("without a fallback: got %+v", c)
	}
}

func TestDiagnoseSweepsAndSaysWhat(t *testing.T) {
	dir := healthy(t)
	id := newID()
	if err := os.Mkdir(filepath.Join(dir, id), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := (&launch{Version: launchVersion, Name: "gone", RuntimeDir: rawText(dir)}).write(filepath.Join(dir, id)); err != nil {
		t.Fatal(err)
	}
	if c := checkNamed(t, Diagnose(dir), "leftovers"); c.Status != CheckOK || c.Detail != "swept "+id {
		t.Errorf("got %+v", c)
	}
	if c := checkNamed(t, Diagnose(dir), "leftovers"); c.Detail != "none" {
		t.Errorf("the second time: got %+v", c)
	}
}

// What says nothing of itself is left behind all the same: its starter ended while it made it.
func TestDiagnoseSweepsWhatSaysNothingOfItself(t *testing.T) {
	dir := healthy(t)
	var made []string
	for range 2 * sweepLimit {
		id := newID()
		made = append(made, id)
		if err := os.Mkdir(filepath.Join(dir, id), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	c := checkNamed(t, Diagnose(dir), "leftovers")
	for _, id := range made {
		if _, err := os.Lstat(filepath.Join(dir, id)); err == nil || !strings.Contains(c.Detail, id) {
			t.Fatalf("%s: %v after %+v", id, err, c)
		}
	}
}

func TestDiagnoseLeavesAnInstanceThatSomebodyCaresFor(t *testing.T) {
	dir := healthy(t)
	in, err := newInstance(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer in.remove()
	if c := checkNamed(t, Diagnose(dir), "leftovers"); c.Detail != "none" {
		t.Errorf("got %+v", c)
	}
	if _, err := os.Lstat(in.dir); err != nil {
		t.Error(err)
	}
}

func TestDiagnoseCountsTheNamesThatAreLeftAfterTheSweep(t *testing.T) {
	dir := healthy(t)
	registry, err := OpenRegistry(dir)
	if err != nil {
		t.Fatal(err)
	}
	claim, err := registry.TryClaim("gone")
	if err != nil || claim == nil {
		t.Fatal(claim, err)
	}
	err = claim.Publish(&Record{Address: Address{ID: newID(), Dir: filepath.Join(dir, newID())}, SharedName: "gone"})
	claim.Release()
	if err != nil {
		t.Fatal(err)
	}
	checks := Diagnose(dir)
	if c := checkNamed(t, checks, "leftovers"); c.Detail != "swept gone" {
		t.Errorf("got %+v", c)
	}
	if c := checkNamed(t, checks, "registry"); c.Detail != "0 shared names" {
		t.Errorf("got %+v", c)
	}
}

func TestDiagnoseRefusesAFileWhereADirectoryShouldBe(t *testing.T) {
	dir := healthy(t)
	file := filepath.Join(dir, registryName)
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	checks := Diagnose(dir)
	for _, c := range []Check{
		checkNamed(t, checks, "registry"), Diagnose(file)[0], Diagnose(filepath.Join(file, "below"))[0],
	} {
		if c.Status != CheckFail || !strings.Contains(c.Remedy, "remove the file") || strings.Contains(c.Remedy, "chmod") {
			t.Errorf("got %+v", c)
		}
		if !strings.Contains(c.Detail, file) || strings.Contains(c.Detail, "chmod") || strings.Contains(c.Detail, envRuntimeDir) {
			t.Errorf("the detail has the remedy, or not the path: %+v", c)
		}
	}
	if c := checkNamed(t, checks, "leftovers"); c.Status != CheckWarn || !strings.Contains(c.Remedy, "registry") {
		t.Errorf("got %+v", c)
	}
}

func TestRemediesFitTheCause(t *testing.T) {
	dir := healthy(t)
	missing := filepath.Join(dir, "missing")
	for _, tt := range []struct {
		path      string
		cause     error
		want, not string
	}{
		{missing, syscall.ENOSPC, "free space", "chmod"},
		{dir, syscall.ENOSPC, "free space", "chmod"},
		{missing, syscall.EROFS, "can be written to", "chmod"},
		{missing, syscall.EACCES, "right to write in " + dir, "free space"},
		{missing, syscall.EIO, anotherDir, "chmod"},
		{dir, errors.New("is open to others"), "chmod 700 " + dir, "another"},
	} {
		err := fmt.Errorf("runtime directory: %w", &fs.PathError{Op: "mkdir", Path: tt.path, Err: tt.cause})
		if got := remedyFor(tt.path, err); !strings.Contains(got, tt.want) || strings.Contains(got, tt.not) {
			t.Errorf("%s, %v: got %q", tt.path, tt.cause, got)
		}
	}
}

func TestDiagnoseLooksAtTheKernel(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux differs between versions in what matters")
	}
	checks := Diagnose(healthy(t))
	for _, name := range []string{"file system", "output files", "inotify", "pidfd", "exit status of others", "locks"} {
		checkNamed(t, checks, name)
	}
}
