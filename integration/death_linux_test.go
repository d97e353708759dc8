package integration

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/detached-workers/unref/client"
)

// LESSONS 5, 8, 9, 12, 13
func TestNothingIsLeftHoweverTheOwnerEndsAndWhateverTheWorkerDoes(t *testing.T) {
	t.Parallel()
	ends := []struct {
		how string
		end func(owner *program)
	}{
		{"returns from main", func(owner *program) { owner.say("return") }},
		{"calls os.Exit", func(owner *program) { owner.say("exit") }},
		{"panics", func(owner *program) { owner.say("panic") }},
		{"gets SIGTERM", func(owner *program) { owner.signal(syscall.SIGTERM) }},
		{"gets SIGINT", func(owner *program) { owner.signal(syscall.SIGINT) }},
		{"gets SIGHUP", func(owner *program) { owner.signal(syscall.SIGHUP) }},
		{"gets SIGKILL", func(owner *program) { owner.signal(syscall.SIGKILL) }},
	}
	for _, state := range []string{"idles", "runs calls", "spins", "prints"} {
		for _, tt := range ends {
			t.Run("the owner "+tt.how+" while the worker "+state, func(t *testing.T) {
				t.Parallel()
				skipIfIgnored(t, tt.how)
				root := newRoot(t)
				owner := run(t, playing(t, root, "own "+state))
				owner.line(t)
				w := owner.found(t)
				if len(w.Offspring) != 3 || !alive(w.Pid) {
					t.Fatalf("got %+v", w)
				}
				tt.end(owner)
				owner.cmd.Wait()
				w.gone(t)
				nothingLeft(t, root)
			})
		}
	}
}

func TestNothingIsLeftOfAWorkerWhoseMainGoesOnAfterRun(t *testing.T) {
	t.Parallel()
	for range 10 {
		root := newRoot(t)
		cmd := playing(t, root, "own idles")
		cmd.Env = append(cmd.Env, runEnv+"=1")
		owner := run(t, cmd)
		owner.line(t)
		w := owner.found(t)
		owner.signal(syscall.SIGKILL)
		owner.cmd.Wait()
		w.gone(t)
		nothingLeft(t, root)
	}
}

// skipIfIgnored skips what can't be shown: a signal that a program was started
// to ignore, say by nohup, is ignored by all programs below it.
func skipIfIgnored(t *testing.T, how string) {
	t.Helper()
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGHUP} {
		if strings.HasSuffix(how, unix.SignalName(sig)) && signal.Ignored(sig) {
			t.Skipf("the tests were started to ignore %v, and so are their children", sig)
		}
	}
}

// What dies before its worker has come far enough to clean up leaves that to
// the next start. LESSONS 6, 8, 14
func TestOwnerThatIsKilledDuringTheStartLeavesNothing(t *testing.T) {
	t.Parallel()
	tests := []struct {
		when, role string
		clean      bool // the worker itself removes its directory
	}{
		{"before the worker's main", "begin init", true},
		{"before the first dial", "begin worker", true},
		{"while a program runs that will never watch it", "begin foreign", false},
	}
	for _, tt := range tests {
		t.Run(tt.when, func(t *testing.T) {
			t.Parallel()
			root := newRoot(t)
			owner := run(t, playing(t, root, tt.role))
			w := owner.found(t)
			owner.kill()
			await(t, "the worker's end", func() bool { return len(belonging(root)) == 0 })
			if !tt.clean {
				sweep(t, root)
			}
			w.gone(t)
			nothingLeft(t, root)
		})
	}
}

// sweep starts workers in root, each of which clears away what others have
// left, until all is cleared. The first may find a process still half alive.
func sweep(t *testing.T, root string) {
	t.Helper()
	await(t, "an empty "+root, func() bool {
		w := startWith(t, &client.Dialer{}, within(root, self()))
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		left, _ := os.ReadDir(root)
		return len(left) == 0
	})
}

// LESSONS 6, 8, 14
func TestOwnerThatIsKilledAtAnyInstantOfTheStartLeavesNothing(t *testing.T) {
	t.Parallel()
	root := newRoot(t)
	for range 30 {
		owner := run(t, playing(t, root, "own idles"))
		owner.line(t)
		meanwhile(rand.N(15 * time.Millisecond))
		owner.kill()
	}
	await(t, "the end of every worker", func() bool { return len(belonging(root)) == 0 })
	sweep(t, root)
	nothingLeft(t, root)
}

// LESSONS 12, 14
func TestNextStartRemovesWhatWorkerAndOwnerLeftThatWereKilledAtOnce(t *testing.T) {
	t.Parallel()
	root := newRoot(t)
	owner := run(t, playing(t, root, "own idles"))
	owner.line(t)
	w := owner.found(t)
	suspend(t, owner.pid()) // so that neither sees the other die
	suspend(t, w.Pid)
	owner.kill()
	syscall.Kill(w.Pid, syscall.SIGKILL)
	await(t, "the worker's end", func() bool { return !alive(w.Pid) })
	for _, pid := range w.Offspring {
		if !alive(pid) {
			t.Errorf("process %d did not outlive the worker", pid)
		}
	}
	if _, err := os.Lstat(w.Dir); err != nil {
		t.Error(err)
	}
	sweep(t, root)
	w.gone(t)
}

// A stopped owner may be in a debugger, or the machine asleep.
func TestStoppedOwnerIsNotDead(t *testing.T) {
	t.Parallel()
	root := newRoot(t)
	owner := run(t, playing(t, root, "own runs calls"))
	owner.line(t)
	w := owner.found(t)
	suspend(t, owner.pid())
	meanwhile(time.Second)
	if !alive(w.Pid) {
		t.Error("the worker has left")
	}
	owner.signal(syscall.SIGCONT)
	owner.say("call")
	if got := owner.found(t).Pid; got != w.Pid {
		t.Errorf("worker %d answers, want %d", got, w.Pid)
	}
	owner.kill()
	w.gone(t)
}

// LESSONS 3
func TestWorkerWaitsForAStarterThatIsStoppedDuringTheStart(t *testing.T) {
	t.Parallel()
	root := newRoot(t)
	owner := run(t, playing(t, root, "own idles"))
	owner.line(t)
	await(t, "the worker", func() bool { return len(belonging(root)) > 1 })
	owner.signal(syscall.SIGSTOP)
	meanwhile(500 * time.Millisecond)
	owner.signal(syscall.SIGCONT)
	w := owner.found(t)
	owner.kill()
	w.gone(t)
}

func TestConnectionThatIsCutWhileTheOwnerLivesIsDialledAgain(t *testing.T) {
	t.Parallel()
	w := start(t)
	for range 10 {
		pending := make(chan error, 2)
		go func() {
			_, err := client.Call(t.Context(), w, wait, waitRequest{})
			pending <- err
		}()
		go func() {
			var err error
			for _, err = range client.Stream(t.Context(), w, stall, 1) {
			}
			pending <- err
		}()
		awaitHandlers(t, w, "handleWait", "handleStall")
		cut(t, w)
		for range 2 {
			if err := <-pending; !errors.Is(err, client.ErrConnectionLost) || client.SafeToRetry(err) {
				t.Errorf("got %v (safe to retry: %v), want ErrConnectionLost and unsafe", err, client.SafeToRetry(err))
			}
		}
		if pid, err := workerPid(t.Context(), w); err != nil || pid != w.Pid() {
			t.Fatalf("the next call: worker %d, %v; want worker %d", pid, err, w.Pid())
		}
	}
}

// cut breaks the connection to the worker as seen from both ends.
func cut(t *testing.T, w *client.Worker) {
	t.Helper()
	cuts := 0
	for fd := range descriptors(t, os.Getpid()) {
		var n int
		fmt.Sscan(fd, &n)
		peer, err := unix.Getpeername(n)
		if sa, ok := peer.(*unix.SockaddrUnix); err == nil && ok && strings.HasPrefix(sa.Name, w.Process().Dir()) {
			unix.Shutdown(n, unix.SHUT_RDWR)
			cuts++
		}
	}
	if cuts != 1 {
		t.Fatalf("%d connections to the worker, want 1", cuts)
	}
}

// LESSONS 11
func TestShellCanBeTheOwner(t *testing.T) {
	t.Parallel()
	root := newRoot(t)
	cmd := playing(t, root, "")
	// The shell has a second command to run, so that it does not become the program.
	cmd.Args = []string{"sh", "-c", roleEnv + `="launch $$" "$0"; echo launched; read line`, cmd.Path}
	cmd.Path = "/bin/sh"
	checkOwner(t, run(t, cmd))
}

// LESSONS 11
func TestMakeCanBeTheOwner(t *testing.T) {
	t.Parallel()
	path, err := exec.LookPath("make")
	if err != nil {
		t.Skipf("this system has no make: %v", err)
	}
	root := newRoot(t)
	cmd := playing(t, root, "")
	const rules = "all:\n\t@" + roleEnv + "=\"launch $$PPID\" \"$(WORKER)\"\n\t@echo launched\n\t@read line\n"
	file := filepath.Join(t.TempDir(), "Makefile")
	if err := os.WriteFile(file, []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd.Args = []string{"make", "-f", file, "WORKER=" + cmd.Path}
	cmd.Path = path
	checkOwner(t, run(t, cmd))
}

// checkOwner checks that a worker outlives the program that started it and
// dies with the one that owns it.
func checkOwner(t *testing.T, owner *program) {
	t.Helper()
	w := owner.found(t)
	if line := owner.line(t); line != "launched" {
		t.Errorf("got %q", line)
	}
	if !alive(w.Pid) {
		t.Error("the worker did not outlive its starter")
	}
	owner.signal(syscall.SIGKILL)
	w.gone(t)
}
