package integration

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/lifecycle"
	"github.com/detached-workers/unref/transport"
)

// LESSONS 1, 5, 23
func TestWorkerHoldsNothingOfItsAncestors(t *testing.T) {
	t.Parallel()
	root := newRoot(t)
	leaked := filepath.Join(t.TempDir(), "leaked")
	input, err := os.Create(leaked)
	if err != nil {
		t.Fatal(err)
	}
	defer input.Close()
	cmd := playing(t, root, fmt.Sprintf("leak %s %d", leaked, os.Getpid()))
	cmd.Stdin = input
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	w := parseFound(t, string(out))
	defer w.release(t)
	checkDescriptors(t, w)
	if stat := statFields(t, w.Pid); stat[3] != fmt.Sprint(w.Pid) || stat[4] != "0" {
		t.Errorf("session %s and terminal %s, want %d and none", stat[3], stat[4], w.Pid)
	}
	if info, err := os.Stat(w.Dir); err != nil || info.Mode() != fs.ModeDir|0o700 || filepath.Dir(w.Dir) != root {
		t.Errorf("the instance directory is %s: %v, %v", w.Dir, info.Mode(), err)
	}
	conn, err := net.Dial("unix", filepath.Join(w.Dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

// checkDescriptors checks that the worker has only what it has opened itself,
// and the output. Go's runtime reads its limits from cgroup files.
func checkDescriptors(t *testing.T, w found) {
	t.Helper()
	fds := descriptors(t, w.Pid)
	if fds["0"] != "/dev/null" || fds["1"] != fds["2"] || !strings.HasSuffix(fds["1"], " (deleted)") {
		t.Errorf("input, output and errors are %q, %q and %q", fds["0"], fds["1"], fds["2"])
	}
	for fd, file := range fds {
		own := strings.HasPrefix(file, "socket:") || strings.HasPrefix(file, "anon_inode:") || strings.HasPrefix(file, "/sys/fs/cgroup/")
		if !own && file != w.Dir && file != fds["0"] && file != fds["1"] {
			t.Errorf("descriptor %s is %s", fd, file)
		}
	}
}

// descriptors returns what each descriptor of the process refers to.
func descriptors(t testing.TB, pid int) map[string]string {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	fds := make(map[string]string)
	for _, entry := range entries {
		if file, err := os.Readlink(filepath.Join(dir, entry.Name())); err == nil {
			fds[entry.Name()] = file
		}
	}
	return fds
}

// Both read to the end of a pipe, which a worker would hold open. LESSONS 1
func TestWhoWaitsForTheStarterDoesNotWaitForTheWorker(t *testing.T) {
	t.Parallel()
	root := newRoot(t)
	t.Run("with CombinedOutput", func(t *testing.T) {
		w := launch(t, root, "")
		defer w.release(t)
		if !alive(w.Pid) {
			t.Error("the worker has ended")
		}
	})
	t.Run("with command substitution", func(t *testing.T) {
		cmd := playing(t, root, fmt.Sprintf("launch %d", os.Getpid()))
		cmd.Path, cmd.Args = "/bin/sh", []string{"sh", "-c", `x=$("$0" 2>&1); echo "$x"`, cmd.Path}
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		w := parseFound(t, string(out))
		defer w.release(t)
		if !alive(w.Pid) {
			t.Error("the worker has ended")
		}
	})
}

func TestProgramThatCannotBeStartedIsAnErrorOfItsOwn(t *testing.T) {
	t.Parallel()
	root := newRoot(t)
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{
		"no-such-program-anywhere": exec.ErrNotFound,
		"/nonexistent/program":     fs.ErrNotExist,
		plain:                      fs.ErrPermission,
	} {
		_, err := client.Start(t.Context(), within(root, &lifecycle.Command{Path: path}))
		if _, started := errors.AsType[*client.StartError](err); started || !errors.Is(err, want) || !strings.Contains(err.Error(), path) {
			t.Errorf("got %v, want one about %s that wraps %v", err, path, want)
		}
	}
}

func script(text string) *lifecycle.Command {
	return &lifecycle.Command{Path: "sh", Args: []string{"-c", text}}
}

// LESSONS 2, 34
func TestWorkerThatDiesBeforeItServesIsReportedAtOnceWithItsLastWords(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		cmd    *lifecycle.Command
		env    string
		code   int
		signal syscall.Signal
		output string
	}{
		{"exits with 0", script("echo last words"), "", 0, 0, "last words"},
		{"exits with 1", script("echo last words >&2; exit 1"), "", 1, 0, "last words"},
		{"exits with 3", script("printf 'last words'; exit 3"), "", 3, 0, "last words"},
		{"is killed", script("echo last words; kill -9 $$"), "", -1, syscall.SIGKILL, "last words"},
		{"leaves a child", script("sleep 1000 & setsid sleep 1000 & echo last words; exit 3"), "", 3, 0, "last words"},
		{"panics in init", self(), initEnv + "=panic", 2, 0, "panic: not even started"},
		{"starts itself", self(), roleEnv + "=again", 4, 0, "does not serve yet: true"}, // LESSONS 25
		{"starts its own program", &lifecycle.Command{Path: executable()}, roleEnv + "=again path", 4, 0, "does not serve yet: true"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			root := newRoot(t)
			tt.cmd.StartTimeout = 5 * time.Minute
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			_, err := quiet().Start(ctx, within(root, tt.cmd, tt.env))
			checkExited(t, err, tt.code, tt.signal, tt.output)
			checkStartError(t, err, tt.output)
			if n := strings.Count(err.Error(), tt.output); n != 1 {
				t.Errorf("the output is shown %d times: %v", n, err)
			}
			nothingLeft(t, root)
		})
	}
}

func checkStartError(t *testing.T, err error, output string) {
	t.Helper()
	e, ok := errors.AsType[*client.StartError](err)
	if !ok {
		t.Fatalf("got %v, want a StartError", err)
	}
	if !strings.Contains(string(e.Output), output) {
		t.Errorf("got output %q, want %q", e.Output, output)
	}
	for _, part := range []string{e.Name, fmt.Sprint(e.Pid)} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error does not name %q: %v", part, err)
		}
	}
	if e.Pid == 0 || alive(e.Pid) || e.Elapsed <= 0 {
		t.Errorf("pid %d after %v: alive %v", e.Pid, e.Elapsed, alive(e.Pid))
	}
}

func TestWorkerThatIsNotTheOneAskedForIsRefused(t *testing.T) {
	t.Parallel()
	real := self()
	real.Build = "another build"
	tests := []struct {
		name string
		cmd  *lifecycle.Command
		role string
		want error
		says string
	}{
		{"another build", real, "", transport.ErrBuild, `caller wants "another build"`},
		{"another name", self(), "fake other", transport.ErrName, `caller wants "worker", worker is "other"`},
		{"a newer protocol", self(), "fake newer", transport.ErrVersion, `worker is "9"; rebuild`},
		{"an older protocol", self(), "fake older", transport.ErrVersion, `worker is "0"; rebuild`},
		{"another protocol", self(), "fake garbage", transport.ErrProtocol, "HTTP/1.1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			root := newRoot(t)
			tt.cmd.StartTimeout = 5 * time.Minute
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			var output string
			if tt.role != "" {
				output = "last words"
			}
			_, err := quiet().Start(ctx, within(root, tt.cmd, roleEnv+"="+tt.role))
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.says) || errors.Is(err, client.ErrWorkerExited) {
				t.Errorf("got %v, want %v that says %q", err, tt.want, tt.says)
			}
			if output != "" {
				checkStartError(t, err, output)
			}
			nothingLeft(t, root)
		})
	}
}

func TestWorkerThatDoesNotListenInTimeIsReportedWithWhatItSaid(t *testing.T) {
	t.Parallel()
	root := newRoot(t)
	cmd := within(root, script("echo last words; sleep 1000; true"))
	cmd.StartTimeout = 300 * time.Millisecond
	_, err := quiet().Start(t.Context(), cmd)
	if !errors.Is(err, client.ErrNotListening) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "300ms") {
		t.Errorf("got %v, want ErrNotListening after 300ms", err)
	}
	checkStartError(t, err, "last words")
	nothingLeft(t, root)
}

// LESSONS 2
func TestWorkerThatHangsBeforeItListensIsReportedWithWhereItHung(t *testing.T) {
	t.Parallel()
	root := newRoot(t)
	cmd := within(root, self(), initEnv+"=hang")
	cmd.StartTimeout = 2 * time.Second
	_, err := quiet().Start(t.Context(), cmd)
	if !errors.Is(err, client.ErrNotListening) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want ErrNotListening", err)
	}
	checkStartError(t, err, "in init")
	checkStartError(t, err, "integration.block") // the function that hangs
	nothingLeft(t, root)
}

// A connection that was accepted is no sign of life. LESSONS 7
func TestWorkerThatDoesNotAnswerIsNotReady(t *testing.T) {
	t.Parallel()
	root := newRoot(t)
	accepted := filepath.Join(t.TempDir(), "accepted")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	result := make(chan error, 1)
	go func() {
		_, err := quiet().Start(ctx, within(root, self(), roleEnv+"=fake mute "+accepted))
		result <- err
	}()
	await(t, "the handshake", func() bool {
		_, err := os.Lstat(accepted)
		return err == nil
	})
	cancel()
	err := <-result
	if !errors.Is(err, client.ErrNoAnswer) || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want ErrNoAnswer and the context's error", err)
	}
	checkStartError(t, err, "last words")
	nothingLeft(t, root)
}

func TestStartEndsWithItsContextAndLeavesNothing(t *testing.T) {
	t.Parallel()
	root := newRoot(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	result := make(chan error, 1)
	go func() {
		_, err := quiet().Start(ctx, within(root, script("sleep 1000; true")))
		result <- err
	}()
	await(t, "the script's child", func() bool { return len(belonging(root)) == 2 })
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) || !errors.Is(err, client.ErrNotListening) {
		t.Errorf("got %v, want the context's error", err)
	}
	nothingLeft(t, root)
}

// The fallback is everybody's, so that others' workers may be there as well.
// LESSONS 4
func TestRuntimeDirectoryWithALongPathIsReplacedByAShortOne(t *testing.T) {
	t.Parallel()
	root := newRoot(t)
	long := filepath.Join(root, strings.Repeat("x", 200-len(root)-1))
	defer os.Remove(long)
	cmd := within(root, self())
	cmd.RuntimeDir = long
	w := startWith(t, &client.Dialer{}, cmd)
	if _, err := client.Call(t.Context(), w, echo, nil); err != nil {
		t.Error(err)
	}
	if dir := w.Process().Dir(); strings.HasPrefix(dir, root) || len(w.Process().Socket()) > 100 {
		t.Errorf("the instance directory is %s", dir)
	}
	w.Close()
	gone(t, w.Process().Dir(), w.Pid())
}

func TestRuntimeDirectoryThatCannotBeUsedIsAnErrorBeforeAnyStart(t *testing.T) {
	t.Parallel()
	root := newRoot(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := within(root, script("sleep 1000"))
	for _, cmd.RuntimeDir = range []string{file, filepath.Join(file, "below"), "/proc/none", strings.Repeat("x", 300)} {
		_, err := client.Start(t.Context(), cmd)
		if _, started := errors.AsType[*client.StartError](err); err == nil || started || !strings.Contains(err.Error(), "runtime directory") {
			t.Errorf("got %v, want one about the runtime directory", err)
		}
	}
}

func TestProgramCanBeAWorkerUnderItsOwnNameOrByItsPath(t *testing.T) {
	t.Parallel()
	for name, cmd := range map[string]*lifecycle.Command{
		"worker":                    lifecycle.Self("worker"),
		filepath.Base(executable()): {Path: executable()},
	} {
		w := startWith(t, &client.Dialer{}, cmd)
		if got, err := client.Call(t.Context(), w, echo, []byte("x")); err != nil || string(got) != "x" {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
		if welcome := w.Welcome(); w.Name() != name || welcome.Name != name || welcome.Pid != w.Pid() {
			t.Errorf("got worker %s and welcome %+v, want name %s", w.Name(), welcome, name)
		}
	}
}

func TestWorkerCanOwnWorkers(t *testing.T) {
	t.Parallel()
	root := newRoot(t)
	for how, end := range map[string]func(*client.Worker) error{"Close": (*client.Worker).Close, "Kill": (*client.Worker).Kill} {
		outer := startWith(t, &client.Dialer{}, within(root, self()))
		inner, err := client.Call(t.Context(), outer, nest, struct{}{})
		if err != nil {
			t.Fatal(err)
		}
		if !alive(inner.Pid) || inner.Pid == outer.Pid() || len(inner.Offspring) != 3 {
			t.Errorf("got %+v below %d", inner, outer.Pid())
		}
		if err := end(outer); err != nil {
			t.Errorf("%s: %v", how, err)
		}
		inner.gone(t)
	}
}
