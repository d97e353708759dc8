package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"github.com/detached-workers/unref/client"
)

// The programs that the tests run, built once, and the directory for all workers, which must be empty in the end.
var (
	binDir     string
	runtimeDir string
)

func TestMain(m *testing.M) {
	dir, err := prepare()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if !emptyInTime(runtimeDir) {
			fmt.Fprintln(os.Stderr, "workers have left something in the runtime directory, or are still there")
			code = max(code, 1)
		}
		os.RemoveAll(dir)
		os.Exit(code)
	}))
}

// prepare builds the programs and sets the environment. It returns the directory that everything is in.
func prepare() (string, error) {
	dir, err := os.MkdirTemp("", "dp")
	if err != nil {
		return "", err
	}
	binDir, runtimeDir = filepath.Join(dir, "bin"), filepath.Join(dir, "run")
	for _, name := range []string{"demo-parent", workerName} {
		build := exec.Command("go", "build", "-o", filepath.Join(binDir, name+executableSuffix()), "../"+name)
		if out, err := build.CombinedOutput(); err != nil {
			return "", fmt.Errorf("build %s: %w\n%s", name, err, out)
		}
	}
	for name, value := range map[string]string{
		"UNREF_RUNTIME_DIR": runtimeDir,
		"PATH":              binDir + string(filepath.ListSeparator) + os.Getenv("PATH"),
		"GOFLAGS":           "", "GOPROXY": "off", "GOTOOLCHAIN": "local", "GOWORK": "off", "GOOS": "", "GOARCH": "",
	} {
		if err := os.Setenv(name, value); err != nil {
			return "", err
		}
	}
	return dir, nil
}

// emptyInTime waits until a directory is empty or gone. Workers whose parent was killed leave a moment later.
func emptyInTime(dir string) bool {
	return await(context.Background(), func() bool {
		entries, err := os.ReadDir(dir)
		return len(entries) == 0 || os.IsNotExist(err)
	})
}

func TestScripts(t *testing.T) {
	cache, err := exec.Command("go", "env", "GOCACHE", "GOMODCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	dirs := strings.Fields(string(cache))
	testscript.Run(t, testscript.Params{
		Dir:  "testdata/script",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"pids": scriptPids, "kill9": scriptKill},
		Setup: func(env *testscript.Env) error {
			env.Setenv("GOCACHE", dirs[0])
			env.Setenv("GOMODCACHE", dirs[1])
			for _, name := range []string{"PATH", "GOPROXY", "GOTOOLCHAIN", "GOWORK"} {
				env.Setenv(name, os.Getenv(name))
			}
			return setRuntimeDir(env)
		},
	})
}

// setRuntimeDir gives a script a directory for its workers, which are ended with it.
func setRuntimeDir(env *testscript.Env) error {
	dir, err := os.MkdirTemp("", "dp")
	if err != nil {
		return err
	}
	env.Setenv("UNREF_RUNTIME_DIR", dir)
	env.Defer(func() {
		if err := endWorkers(dir); err != nil {
			env.T().Log(err)
			env.T().FailNow()
		}
	})
	return nil
}

// newRuntimeDir gives the test a directory for its workers, which are ended with it. Its path is short, since that of a
// socket has to be.
func newRuntimeDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "dp")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("UNREF_RUNTIME_DIR", dir)
	t.Cleanup(func() {
		if err := endWorkers(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// endWorkers ends all workers in a runtime directory and removes it.
func endWorkers(dir string) error {
	d := client.Dialer{RuntimeDir: dir}
	list, err := d.List(context.Background())
	for _, info := range list {
		if err := d.Stop(context.Background(), info.ID); err != nil && !errors.Is(err, client.ErrNoWorker) {
			return err
		}
	}
	if err != nil {
		return err
	}
	if list, err := d.List(context.Background()); err != nil || len(list) > 0 {
		return fmt.Errorf("workers are left: %v, %v", list, err)
	}
	return os.RemoveAll(dir)
}

// workersIn returns the workers in a runtime directory.
func workersIn(t *testing.T, dir string) []client.Info {
	t.Helper()
	d := client.Dialer{RuntimeDir: dir}
	list, err := d.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// scriptPids is the command "pids NAME": it sets a variable to the pids of all workers, as the summary lists them.
func scriptPids(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: pids NAME")
	}
	var pids []string
	for _, info := range scriptWorkers(ts) {
		pids = append(pids, strconv.Itoa(info.Pid))
	}
	ts.Setenv(args[0], strings.Join(pids, ", "))
}

// scriptKill is the command "kill9": it kills all workers and waits until they are gone.
func scriptKill(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: kill9")
	}
	for _, info := range scriptWorkers(ts) {
		ts.Check(kill(info.Pid))
		if !await(context.Background(), func() bool { return !alive(info.Pid) }) {
			ts.Fatalf("worker %d does not die", info.Pid)
		}
	}
}

func scriptWorkers(ts *testscript.TestScript) []client.Info {
	d := client.Dialer{RuntimeDir: ts.Getenv("UNREF_RUNTIME_DIR")}
	list, err := d.List(context.Background())
	ts.Check(err)
	return list
}

// newModule writes the files of a module into a directory of its own, all an hour old.
func newModule(t *testing.T, files map[string]string) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		write(t, filepath.Join(dir, name), text)
	}
	write(t, filepath.Join(dir, "go.mod"), "module example.com/m\n\ngo 1.26\n")
	age(t, dir)
	return dir
}

// age makes a directory and everything in it an hour old.
func age(t *testing.T, dir string) {
	t.Helper()
	old := time.Now().Add(-time.Hour)
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chtimes(path, old, old)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}

// chain is a module in which c imports b, which imports a; d is by itself.
func chain(t *testing.T) string {
	return newModule(t, map[string]string{
		"a/a.go": "package a\n\nfunc A() int { return 1 }\n",
		"b/b.go": "package b\n\nimport \"example.com/m/a\"\n\nfunc B() int { return a.A() }\n",
		"c/c.go": "package c\n\nimport \"example.com/m/b\"\n\nfunc C() int { return b.B() }\n",
		"d/d.go": "package d\n\nfunc D() int { return 1 }\n",
	})
}
