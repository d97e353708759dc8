// Package integration tests unref with real processes. The test binary plays
// all parts: it is the parent that the tests run in, it starts itself again as
// the worker, and it starts itself again as other parents, whose deaths the
// tests look at.
package integration

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"go.uber.org/goleak"

	"github.com/detached-workers/unref/lifecycle"
	"github.com/detached-workers/unref/server"
)

// roleEnv makes the test binary play another part than the tests.
const roleEnv = "INTEGRATION_ROLE"

// maxCallsEnv sets the worker's limit of calls in flight for each client.
const maxCallsEnv = "INTEGRATION_MAX_CALLS"

// runEnv makes the worker call Server.Run and not Main.
const runEnv = "INTEGRATION_RUN"

func TestMain(m *testing.M) {
	if role := os.Getenv(roleEnv); role != "" {
		os.Exit(play(role))
	}
	mux := newMux()
	if w, _ := lifecycle.Current(); w != nil && os.Getenv(maxCallsEnv) != "" {
		n, err := strconv.Atoi(os.Getenv(maxCallsEnv))
		must(err)
		(&server.Server{Mux: mux, MaxCalls: n}).Main()
	}
	if w, _ := lifecycle.Current(); w != nil && os.Getenv(runEnv) != "" {
		if err := (&server.Server{Mux: mux}).Run(context.Background()); err != nil {
			fmt.Println(err)
		}
		os.Exit(0) // what comes after Run must not cut short what a worker does as it leaves
	}
	server.MainIfWorker("worker", mux)
	if w, _ := lifecycle.Current(); w != nil {
		server.Main(mux) // started by path and not as itself
	}
	os.Exit(runTests(m))
}

// runTests runs the tests with a runtime directory of their own, and fails if
// anything is left: a goroutine, a process, a file.
func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "unref-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	defer os.RemoveAll(dir)
	os.Setenv("UNREF_RUNTIME_DIR", filepath.Join(dir, "run"))
	os.Setenv("GORACE", "atexit_sleep_ms=0") // else every worker takes a second to exit when tested for races
	code := m.Run()
	if code != 0 {
		return code
	}
	return checkNothingLeft(dir)
}

func checkNothingLeft(dir string) int {
	code := 0
	complain := func(what string, err error) {
		fmt.Fprintf(os.Stderr, "after the tests %s is left: %v\n", what, err)
		code = 1
	}
	if err := goleak.Find(); err != nil {
		complain("a goroutine", err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "run", "*")); len(left) > 0 {
		complain("a file", fmt.Errorf("%q", left))
	}
	if pids := descendants(os.Getpid()); len(pids) > 0 {
		complain("a process", fmt.Errorf("%v", pids))
	}
	return code
}
