package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/detached-workers/unref/client"
)

// The test binary is its own worker, as the tool is.
func TestMain(m *testing.M) {
	serveIfWorker()
	os.Exit(m.Run())
}

// ownWorkers gives a test a runtime directory, so that it finds no workers but its own, and ends them. The directory is
// not below t.TempDir, because the path of a socket has to be short.
func ownWorkers(t *testing.T) {
	t.Helper()
	dir, err := os.MkdirTemp("", "mt") // mode 0700, which is required
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("UNREF_RUNTIME_DIR", dir)
	t.Cleanup(func() {
		if out := mytool(t, "daemon", "stop"); t.Failed() {
			t.Log(out)
		}
		os.RemoveAll(dir)
	})
}

// mytool runs the tool in this process, and returns what it prints.
func mytool(t *testing.T, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	if err := run(context.Background(), args, &out, t.Output()); err != nil {
		t.Error(err)
	}
	return out.String()
}

func TestTheSecondRunReadsNothing(t *testing.T) {
	ownWorkers(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.txt"), []byte("to be or not to be"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"6 words in 1 files (1 read)\n", "6 words in 1 files (0 read)\n"} {
		if got := mytool(t, "-v", dir); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestTheToolWorksWithoutAWorker(t *testing.T) {
	ownWorkers(t)
	if got, want := mytool(t, "-no-daemon", t.TempDir()), "0 words in 0 files (0 read)\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if list, err := client.List(t.Context()); err != nil || len(list) > 0 {
		t.Errorf("there are the workers %v (%v)", list, err)
	}
}

func TestStatusNamesTheWorkersOfAllDirectories(t *testing.T) {
	ownWorkers(t)
	mytool(t, t.TempDir())
	mytool(t, t.TempDir())
	if got := mytool(t, "daemon", "status"); strings.Count(got, "\n") != 2 {
		t.Errorf("got %q, want two workers", got)
	}
}
