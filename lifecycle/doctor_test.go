package lifecycle

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
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
	if err := (&launch{Version: launchVersion, Name: "gone"}).write(filepath.Join(dir, id)); err != nil {
		t.Fatal(err)
	}
	if c := checkNamed(t, Diagnose(dir), "leftovers"); c.Status != CheckOK || c.Detail != "swept "+id {
		t.Errorf("got %+v", c)
	}
	if c := checkNamed(t, Diagnose(dir), "leftovers"); c.Detail != "none" {
		t.Errorf("the second time: got %+v", c)
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
