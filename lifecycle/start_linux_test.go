package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestStartFailsWithACauseAndLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	garbage := filepath.Join(dir, "garbage")
	os.WriteFile(plain, []byte("x"), 0o600)
	os.WriteFile(garbage, []byte("\x00\x01\x02 no program"), 0o700)
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	for name, test := range map[string]struct {
		ctx  context.Context
		c    Command
		want error
	}{
		"not in PATH":     {t.Context(), Command{Path: "no-such-program-anywhere"}, exec.ErrNotFound},
		"no path":         {t.Context(), Command{}, exec.ErrNotFound},
		"no such file":    {t.Context(), Command{Path: dir + "/none"}, fs.ErrNotExist},
		"not executable":  {t.Context(), Command{Path: plain}, fs.ErrPermission},
		"a directory":     {t.Context(), Command{Path: dir}, fs.ErrPermission},
		"no program":      {t.Context(), Command{Path: garbage}, syscall.ENOEXEC},
		"no such dir":     {t.Context(), Command{Path: "sleep", Dir: dir + "/none"}, fs.ErrNotExist},
		"dir is a file":   {t.Context(), Command{Path: "sleep", Dir: plain}, syscall.ENOTDIR},
		"context is done": {canceled, Command{Path: "sleep", Args: []string{"1000"}}, context.Canceled},
		"bad config":      {t.Context(), Command{Path: "sleep", Config: func() {}}, nil},
		"owner is gone":   {t.Context(), Command{Path: "sleep", Owner: impostor(t)}, ErrOwnerGone},
	} {
		t.Run(name, func(t *testing.T) {
			test.c.RuntimeDir = runtimeDir(t)
			p, err := test.c.Start(test.ctx)
			if err == nil {
				p.Kill()
				t.Fatal("started")
			}
			if test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
			if got := err.Error(); !strings.HasPrefix(got, "start ") || strings.Count(got, "start ") != 1 {
				t.Errorf("got message %q", got)
			}
		})
	}
}

// impostor is an owner whose pid now belongs to somebody else: this process.
func impostor(t *testing.T) Owner {
	t.Helper()
	id, err := identify(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	id.Start = "1"
	return Owner{id: id}
}

func TestTheWorkerIsToldWhatTheCommandSays(t *testing.T) {
	c := role(t, "facts")
	c.Name, c.Build, c.LogLevel = "other", "b1", "debug"
	c.IdleTimeout, c.MaxLifetime, c.Grace = time.Minute, -1, 3*time.Second
	c.Config = map[string]int{"A": 1, "B": 2}
	p := startReady(t, c)
	r := p.Output()
	want := []string{
		"config 1 2 <nil>",
		"worker other b1 debug 1m0s 0s 3s false true false",
		fmt.Sprintf("place %s %s %s 32", p.ID(), p.Dir(), p.Socket()),
		"mark false true",
		"spool true",
		"up",
	}
	for _, want := range want {
		if line, ok := r.Next(); !ok || line.Text != want {
			t.Errorf("got %q, want %q", line.Text, want)
		}
	}
	if len(p.Secret()) != 32 {
		t.Error("no secret")
	}
}

// LESSONS 1, 5
func TestTheWorkerInheritsNoDescriptorAndNoTerminal(t *testing.T) {
	var pipe [2]int
	if err := syscall.Pipe(pipe[:]); err != nil { // without close-on-exec, as a grandparent's would be
		t.Fatal(err)
	}
	defer syscall.Close(pipe[0])
	p := startReady(t, role(t, "fds"))
	syscall.Close(pipe[1])
	_ = unix.SetNonblock(pipe[0], true)
	await(t, "end of the pipe", func() bool {
		n, err := syscall.Read(pipe[0], make([]byte, 1))
		return n == 0 && err == nil
	})
	var got []string
	for r := p.Output(); ; {
		line, ok := r.Next()
		if !ok || line.Text == "up" {
			break
		}
		got = append(got, line.Text)
	}
	if len(got) != 4 || got[0] != "fd 0 /dev/null" || got[3] != "leader true" {
		t.Errorf("got %q", got)
	}
}

func TestSelfStartsTheRunningExecutableEvenIfItsFileWasDeleted(t *testing.T) {
	copied := filepath.Join(t.TempDir(), "copy")
	data, err := os.ReadFile(executable())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(copied, data, 0o700); err != nil {
		t.Fatal(err)
	}
	c := &Command{Path: "/bin/sh", RuntimeDir: runtimeDir(t), Env: append(os.Environ(), envRole+"=self-start")}
	// The shell waits until the file is gone, then goes on as the program that it still has open.
	c.Args = []string{"-c", `exec 9<"$0"; rm "$0"; exec /proc/self/fd/9`, copied}
	p := startReady(t, c)
	r := p.Output()
	awaitLine(t, r, "self false")
	awaitLine(t, r, "after <nil>")
}

// LESSONS 25
func TestASelfWorkerThatDoesNotServeYetCannotStartWorkers(t *testing.T) {
	c := Self("self-start")
	c.RuntimeDir = runtimeDir(t)
	c.Env = append(os.Environ(), envRole+"=self-start")
	p := startReady(t, c)
	if p.Name() != "self-start" {
		t.Errorf("got name %q", p.Name())
	}
	r := p.Output()
	awaitLine(t, r, "self true")
	awaitLine(t, r, "before true")
	awaitLine(t, r, "after <nil>")
}

func TestACommandCanBeReusedAndChangedAfterStart(t *testing.T) {
	c := role(t, "idle")
	first := startReady(t, c)
	c.Name, c.Grace = "changed", time.Hour
	second := startReady(t, c)
	if first.Name() != "idle" || second.Name() != "changed" || first.ID() == second.ID() || first.grace == second.grace {
		t.Errorf("got %q and %q", first.Name(), second.Name())
	}
}

// LESSONS 10
func TestThreadsThatEndDoNotKillAnybody(t *testing.T) {
	c := &Command{Path: "sleep", Args: []string{"1000"}, RuntimeDir: runtimeDir(t)}
	startPhase := start(t, c)
	wrapped := startReady(t, wrapper(t, `"$0"; true`))
	serving := startReady(t, role(t, "idle"))
	endThreads(200)
	for _, p := range []*Process{startPhase, wrapped, serving} {
		if isZombie(p.Pid()) {
			t.Errorf("%s is dead", p.Name())
		}
	}
}

// wrapper starts an idle worker through a shell script, in which $0 is the worker.
func wrapper(t testing.TB, script string) *Command {
	t.Helper()
	c := role(t, "idle")
	c.Name, c.Path, c.Args = "wrapper", "/bin/sh", []string{"-c", script, c.Path}
	return c
}

func TestTheChildOfAWrapperIsTheWorkerToo(t *testing.T) {
	for _, script := range []string{`"$0"; true`, `exec "$0"`, `exec 3>&-; "$0"; true`, `exec 3</dev/null; "$0"; true`} {
		t.Run(script, func(t *testing.T) {
			p := startReady(t, wrapper(t, script))
			if err := p.Kill(); err != nil {
				t.Fatal(err)
			}
			if left := marked(p.ID()); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

func marked(id string) []int {
	return slices.DeleteFunc(processes(), func(pid int) bool { return readMark(pid).id != id || isZombie(pid) })
}

func TestAFileThatAWrapperRedirectsOutputToIsNotTouched(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	c := wrapper(t, `exec >"$1" 2>&1; "$0"; true`)
	c.Args = append(c.Args, log)
	c.Env = append(c.Env, envRole+"=facts")
	p := start(t, c)
	await(t, "the log", func() bool {
		data, _ := os.ReadFile(log)
		return strings.Contains(string(data), "spool false") && strings.Contains(string(data), "up")
	})
	if got := p.LastOutput(); len(got) != 0 {
		t.Errorf("got output %q", got)
	}
}
