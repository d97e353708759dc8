package integration

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/detached-workers/unref/lifecycle"
)

// newRoot returns a runtime directory of the test's own. When the test ends
// nothing may be left: nothing in it, and no process that was started with it
// in its environment.
func newRoot(t testing.TB) string {
	t.Helper()
	root, err := os.MkdirTemp("/tmp", "unref-it-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		defer os.RemoveAll(root)
		defer killAll(root)
		nothingLeft(t, root)
	})
	return root
}

const rootEnv = "UNREF_RUNTIME_DIR"

// within makes a command use the root.
func within(root string, cmd *lifecycle.Command, env ...string) *lifecycle.Command {
	cmd.RuntimeDir = root
	cmd.Env = append(append(os.Environ(), rootEnv+"="+root), env...)
	return cmd
}

// belonging returns the living processes that were started with the root in
// their environment.
func belonging(root string) []int { return belongingBut(root, nil) }

// belongingBut is belonging but for these processes.
func belongingBut(root string, others map[string]bool) []int {
	var pids []int
	entries, _ := os.ReadDir("/proc")
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || others[entry.Name()] {
			continue
		}
		environ, _ := os.ReadFile(filepath.Join("/proc", entry.Name(), "environ"))
		if bytes.Contains(environ, []byte(rootEnv+"="+root+"\x00")) && alive(pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

func nothingLeft(t testing.TB, root string) {
	t.Helper()
	await(t, "the end of all that belongs to "+root, func() bool { return len(belonging(root)) == 0 })
	await(t, "the removal of all in "+root, func() bool {
		left, _ := os.ReadDir(root)
		return len(left) == 0
	})
}

// killAll clears away what a failed test has left.
func killAll(root string) {
	for _, pid := range belonging(root) {
		syscall.Kill(pid, syscall.SIGKILL)
	}
}

// program is another program that a test has started.
type program struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	stderr bytes.Buffer
}

// playing describes the test binary in this role.
func playing(t testing.TB, root, role string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, executable())
	cmd.Env = append(os.Environ(), rootEnv+"="+root, roleEnv+"="+role)
	return cmd
}

func executable() string {
	path, err := os.Executable()
	must(err)
	return path
}

// run starts a program, which is gone when the test ends.
func run(t testing.TB, cmd *exec.Cmd) *program {
	t.Helper()
	p := &program{cmd: cmd}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.in, p.out = in, bufio.NewReader(out)
	cmd.Stderr = &p.stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	return p
}

func (p *program) pid() int { return p.cmd.Process.Pid }

func (p *program) signal(sig syscall.Signal) { p.cmd.Process.Signal(sig) }

func (p *program) say(line string) { io.WriteString(p.in, line+"\n") }

// kill ends the program, if it has not ended, and waits for it and for those
// who share its output. They see the end of its input.
func (p *program) kill() {
	p.cmd.Process.Kill()
	p.in.Close()
	p.cmd.Wait()
}

// line returns the next line of the program's output.
func (p *program) line(t testing.TB) string {
	t.Helper()
	line, err := p.out.ReadString('\n')
	if err != nil {
		p.kill()
		t.Fatalf("the program ended too early: %v, %q: %s", err, line, p.stderr.String())
	}
	return strings.TrimSuffix(line, "\n")
}

// found reads what the program says of its worker.
func (p *program) found(t testing.TB) found {
	t.Helper()
	return parseFound(t, p.line(t))
}

func parseFound(t testing.TB, text string) found {
	t.Helper()
	var f found
	if err := json.Unmarshal([]byte(text), &f); err != nil {
		t.Fatalf("%v: %q", err, text)
	}
	return f
}

// gone checks that nothing of the worker is left.
func (f found) gone(t testing.TB) {
	t.Helper()
	gone(t, f.Dir, append(f.Offspring, f.Pid)...)
}

// launch makes a program start a worker that belongs to this process, and
// leaves it behind.
func launch(t testing.TB, root string, idle string) found {
	t.Helper()
	cmd := playing(t, root, strings.TrimSpace("launch "+strconv.Itoa(os.Getpid())+" "+idle))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return parseFound(t, string(out))
}

// release ends a worker that was left behind.
func (f found) release(t testing.TB) {
	t.Helper()
	syscall.Kill(f.Pid, syscall.SIGTERM)
	f.gone(t)
}
