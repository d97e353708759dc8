package integration

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/detached-workers/unref/transport"
)

// nobody is a user who owns nothing.
const nobody = 65534

// asNobody runs the failpoints program as another user.
func asNobody(t *testing.T, program string, env ...string) (out string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program)
	cmd.Dir = "/"
	cmd.Env = append([]string{"WORKER_IDLE=1h"}, env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	combined, err := cmd.CombinedOutput()
	return string(combined), err
}

// LESSONS 23: two users on one machine do not meet, whatever directory they are
// told to use.
func TestTwoUsersDoNotMeet(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can be two users")
	}
	// TMPDIR may be in a directory that others can't get through.
	base, err := os.MkdirTemp("/tmp", "u")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(base) })
	program, ours, theirs := filepath.Join(base, "program"), filepath.Join(base, "ours"), filepath.Join(base, "theirs")
	built, err := os.ReadFile(buildFailpoints(t))
	if err := errors.Join(err, os.Chmod(base, 0o755), os.WriteFile(program, built, 0o755), os.Mkdir(ours, 0o700),
		os.Mkdir(theirs, 0o700), os.Chown(theirs, nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	f := failpoints{t: t, program: program, dir: ours, env: []string{"WORKER_IDLE=1h"}}
	pid := f.mustRun()
	t.Cleanup(func() {
		syscall.Kill(pid, syscall.SIGTERM)
		f.awaitNothing()
	})

	if out, err := asNobody(t, program, "UNREF_RUNTIME_DIR="+ours); err == nil || !strings.Contains(out, "belongs to uid 0") {
		t.Errorf("another user in our directory: %v, %s", err, out)
	}
	out, err := asNobody(t, program, "UNREF_RUNTIME_DIR="+theirs)
	if err != nil {
		t.Fatalf("another user in a directory of its own: %v, %s", err, out)
	}
	defer stopNobodys(t, out)
	if w, err := quiet().Attach(t.Context(), "failpoints", sharedIn(theirs)); err == nil {
		w.Kill()
		t.Error("we used another user's directory")
	} else if !strings.Contains(err.Error(), "belongs to uid 65534") {
		t.Errorf("got %v", err)
	}
	// Even who gets at the socket is refused, by the worker and by the caller.
	sockets, _ := filepath.Glob(filepath.Join(theirs, "*", "s"))
	if len(sockets) != 1 {
		t.Fatalf("sockets: %q", sockets)
	}
	if _, err := transport.Dial(t.Context(), sockets[0], transport.DialConfig{}); !errors.Is(err, os.ErrPermission) {
		t.Errorf("a caller that is another user: %v", err)
	}
	conn, err := net.Dial("unix", sockets[0])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("a worker answered another user: %d, %v", n, err)
	}
}

// stopNobodys ends the worker that a program of another user has printed the pid
// of, and waits for that.
func stopNobodys(t *testing.T, out string) {
	t.Helper()
	lines := strings.Fields(out)
	pid, err := strconv.Atoi(lines[len(lines)-1])
	if err != nil {
		t.Fatalf("no pid: %s", out)
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	await(t, "the end of another user's worker", func() bool { return !alive(pid) })
}
