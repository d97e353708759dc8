package integration

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/detached-workers/unref/internal/failpoint"
)

// LESSONS 6, 8, 14: whoever is killed at whatever step of an attach or of a
// worker's life, the next program works at once, and nothing is left over.
func TestKillAtEveryStepOfAnAttachLeavesNothing(t *testing.T) {
	program := buildFailpoints(t)
	for _, c := range []struct {
		name   string
		before bool   // an earlier program has left a warm worker
		config bool   // the program asks for another configuration
		cli    string // the point at which the program is killed
		worker string // and its worker
		lives  bool   // the program is not affected
		dies   bool   // the worker ends there by itself, later
	}{
		{name: "program has claimed the name", cli: failpoint.Claimed},
		{name: "program has started the worker", cli: failpoint.Started},
		{name: "program has seen the worker answer", cli: failpoint.Answered},
		{name: "program is about to publish", cli: failpoint.Publishing},
		{name: "program has published", cli: failpoint.Published},
		{name: "program is in mid-frame", cli: failpoint.Frame},
		{name: "program is in mid-frame to a warm worker", before: true, cli: failpoint.Frame},
		{name: "program has claimed the name to replace", before: true, config: true, cli: failpoint.Claimed},
		{name: "program has started what is to replace", before: true, config: true, cli: failpoint.Started},
		{name: "program is about to replace", before: true, config: true, cli: failpoint.Publishing},
		{name: "program has replaced", before: true, config: true, cli: failpoint.Published},
		{name: "worker is armed", worker: failpoint.Armed},
		{name: "worker listens", worker: failpoint.Bound},
		{name: "worker has counted its starter", worker: failpoint.Welcoming},
		{name: "worker has counted another client", before: true, worker: failpoint.Welcoming + "=2", lives: true},
		{name: "worker is in mid-frame", worker: failpoint.Frame},
		{name: "worker has claimed its name to leave", worker: failpoint.Claimed, lives: true, dies: true},
		{name: "worker is about to withdraw its name", worker: failpoint.Withdrawing, lives: true, dies: true},
		{name: "worker is about to remove its directory", worker: failpoint.Removing, lives: true, dies: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := failpoints{t: t, program: program, dir: shortDir(t), env: []string{"WORKER_FAILPOINT=" + c.worker}}
			if c.before {
				f.mustRun()
				f.env[0] = "WORKER_FAILPOINT="
			}
			if c.config {
				f.env = append(f.env, "WORKER_CONFIG=other")
			}
			pid, err := f.run("UNREF_FAILPOINT=" + c.cli)
			switch exit, ok := errors.AsType[*exec.ExitError](err); {
			case c.lives && err != nil:
				t.Errorf("the program: %v", err)
			case c.cli != "" && (!ok || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL):
				t.Fatalf("the program did not come to %s: %v", c.cli, err)
			case c.worker != "" && !c.lives && err == nil:
				t.Fatalf("the worker did not come to %s", c.worker)
			}
			if c.dies {
				await(t, "the end of the worker", func() bool { return !alive(pid) })
			}
			f.env[0] = "WORKER_FAILPOINT="
			f.mustRun()
			f.awaitNothing()
		})
	}
}

// failpoints runs the program of that name in a runtime directory of its own.
type failpoints struct {
	t       *testing.T
	program string
	dir     string
	env     []string
}

func buildFailpoints(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "failpoints")
	out, err := exec.Command("go", "build", "-tags", "unref_failpoints", "-o", program, "./failpoints").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

// shortDir returns a private directory whose name is short enough for sockets.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "r")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// run runs the program once and returns the pid of the worker that it found.
func (f *failpoints) run(env ...string) (int, error) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, f.program)
	cmd.Env = append(append(os.Environ(), "UNREF_RUNTIME_DIR="+f.dir, "WORKER_IDLE=200ms"), append(f.env, env...)...)
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &log
	err := cmd.Run()
	f.t.Logf("%v: %s%s%v", env, log.String(), out.String(), err)
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(out.String()))
	if err != nil {
		f.t.Fatal(err)
	}
	return pid, nil
}

func (f *failpoints) mustRun() int {
	f.t.Helper()
	pid, err := f.run()
	if err != nil {
		f.t.Fatalf("the next program: %v", err)
	}
	return pid
}

// awaitNothing waits until no worker is left and nothing of any, but for lock
// files.
func (f *failpoints) awaitNothing() {
	f.t.Helper()
	defer func() {
		if f.t.Failed() {
			f.t.Logf("left: %v, processes %v", leftIn(f.dir), processesWith("UNREF_RUNTIME_DIR="+f.dir))
		}
	}()
	await(f.t, "an empty runtime directory", func() bool { return len(leftIn(f.dir)) == 0 })
	await(f.t, "the end of all processes", func() bool { return len(processesWith("UNREF_RUNTIME_DIR="+f.dir)) == 0 })
}

// leftIn returns what is in a runtime directory that should not stay there.
func leftIn(dir string) []string {
	var left []string
	_ = filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		name := entry.Name()
		if path != dir && name != "names" && !strings.HasSuffix(name, ".lock") {
			left = append(left, path)
		}
		return nil
	})
	return left
}

// processesWith returns the processes that were started with this variable.
func processesWith(variable string) []string {
	var list []string
	environs, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range environs {
		data, err := os.ReadFile(path)
		if err == nil && bytes.Contains(data, []byte(variable+"\x00")) {
			list = append(list, filepath.Base(filepath.Dir(path)))
		}
	}
	return list
}

// A program that is killed when it has replaced a worker, and before that knows,
// leaves one worker behind and not two.
func TestReplacedWorkerLeavesThoughItsReplacerWasKilled(t *testing.T) {
	f := failpoints{t: t, program: buildFailpoints(t), dir: shortDir(t), env: []string{"WORKER_IDLE=1h"}}
	old := f.mustRun()
	f.env = append(f.env, "WORKER_CONFIG=other")
	if _, err := f.run("UNREF_FAILPOINT=" + failpoint.Published); err == nil {
		t.Fatal("the program did not come to the point")
	}
	await(t, "the end of the old worker", func() bool { return !alive(old) })
	current := f.mustRun()
	if current == old {
		t.Errorf("the old worker %d was found again", old)
	}
	if err := syscall.Kill(current, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	f.awaitNothing()
}
