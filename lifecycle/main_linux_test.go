package lifecycle

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// The test binary is also every program that the tests start: this variable says which one.
const envRole = "LIFECYCLE_TEST_ROLE"

func TestMain(m *testing.M) {
	if role := os.Getenv(envRole); role != "" {
		roles[role]()
		os.Exit(0)
	}
	os.Setenv("GORACE", "atexit_sleep_ms=0") // else every worker takes a second to exit when tested for races
	code := m.Run()
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	if left := children(os.Getpid()); len(left) > 0 {
		fmt.Fprintln(os.Stderr, "child processes left:", left)
		code = 1
	}
	os.Exit(code)
}

const patience = 20 * time.Second

// await polls until cond holds, and fails the test if that takes too long.
func await(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !cond(); {
		if time.Now().After(end) {
			buf := make([]byte, 1<<20)
			t.Fatalf("waited in vain: %s\n%s", what, buf[:runtime.Stack(buf, true)])
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// meanwhile lets time pass, for tests that look at what does not happen, or that act at an instant which is not theirs to
// choose. A slow machine can only make them see less.
func meanwhile(d time.Duration) { time.Sleep(d) }

func awaitDone(t testing.TB, p *Process) *ExitError {
	t.Helper()
	await(t, fmt.Sprintf("worker %d is done", p.Pid()), func() bool {
		select {
		case <-p.Done():
			return true
		default:
			return false
		}
	})
	return p.Err().(*ExitError)
}

// runtimeDir returns a short private directory, which has to be empty again at the end.
func runtimeDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "ulc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if left, _ := filepath.Glob(dir + "/*"); len(left) > 0 {
			t.Errorf("left in the runtime directory: %v", left)
		}
		os.RemoveAll(dir)
	})
	return dir
}

// role describes the test binary in this role.
func role(t testing.TB, name string, env ...string) *Command {
	t.Helper()
	return &Command{
		Name: name, Path: executable(), RuntimeDir: runtimeDir(t),
		Env: append(append(os.Environ(), envRole+"="+name), env...),
	}
}

func executable() string {
	path, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return path
}

// start starts the command and sees to its end.
func start(t testing.TB, c *Command) *Process {
	t.Helper()
	p, err := c.Start(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Kill(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// startReady starts a worker and waits until it has said that it is up.
func startReady(t testing.TB, c *Command) *Process {
	t.Helper()
	p := start(t, c)
	awaitLine(t, p.Output(), "up")
	p.Ready()
	return p
}

// awaitLine reads on until a line of text has this prefix, and returns the rest of it.
func awaitLine(t testing.TB, r *OutputReader, prefix string) string {
	t.Helper()
	rest, seen := "", []string{}
	await(t, "output "+prefix, func() bool {
		for line, ok := r.Next(); ok; line, ok = r.Next() {
			seen = append(seen, render(line))
			if text, ok := strings.CutPrefix(line.Text, prefix); ok {
				rest = text
				return true
			}
		}
		if len(seen) > 0 && strings.HasPrefix(seen[0], "worker failed") {
			t.Fatal(seen)
		}
		return false
	})
	return rest
}

// watched holds on to a process that need not be a child.
type watched struct {
	pid, fd int
}

func watch(t testing.TB, pid int) watched {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatalf("pidfd of %d: %v", pid, err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return watched{pid, fd}
}

func (w watched) gone() bool { return ended(w.fd) }

func (w watched) signal(t testing.TB, sig unix.Signal) {
	t.Helper()
	if err := unix.PidfdSendSignal(w.fd, sig, nil, 0); err != nil {
		t.Fatalf("signal %v to %d: %v", sig, w.pid, err)
	}
}

// starterPlan is what a starter process is to start.
type starterPlan struct {
	Role  string   // role of the worker; empty means Argv
	Argv  []string // a program instead
	Owner int      // 0 means the starter, -1 none
	Grace time.Duration
	Ready bool   // wait for "up" and say that it is ready
	Then  string // "wait", or "exit" at once
}

// started is a worker below a starter process.
type started struct {
	starter watched
	cmd     *exec.Cmd
	worker  watched
	Dir     string
	root    string
}

type starterReport struct {
	Pid int
	Dir string
}

// startBelow runs a starter process with this plan.
func startBelow(t testing.TB, plan starterPlan) *started {
	t.Helper()
	root := runtimeDir(t)
	data, _ := json.Marshal(plan)
	cmd := exec.Command(executable())
	cmd.Env = append(os.Environ(), envRole+"=starter", "STARTER_PLAN="+string(data), envRuntimeDir+"="+root)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	var report starterReport
	if err == nil {
		err = json.Unmarshal([]byte(line), &report)
	}
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		t.Fatalf("starter: %v: %s", err, stderr.String())
	}
	s := &started{starter: watch(t, cmd.Process.Pid), cmd: cmd, worker: watch(t, report.Pid), Dir: report.Dir, root: root}
	t.Cleanup(func() {
		s.killStarter()
		_ = unix.PidfdSendSignal(s.worker.fd, unix.SIGKILL, nil, 0)
		await(t, "worker gone", s.worker.gone)
		sweep(root)
	})
	return s
}

func (s *started) killStarter() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

func (s *started) awaitAllGone(t testing.TB) {
	t.Helper()
	await(t, fmt.Sprintf("worker %d gone", s.worker.pid), s.worker.gone)
	// Behind a wrapper the worker is another process, and may come a little later.
	await(t, "instance directory gone", func() bool { _, err := os.Lstat(s.Dir); return err != nil })
}

func runStarter() {
	var plan starterPlan
	check(json.Unmarshal([]byte(os.Getenv("STARTER_PLAN")), &plan))
	c := &Command{Path: executable(), Grace: plan.Grace, Env: append(os.Environ(), envRole+"="+plan.Role)}
	if plan.Role == "" {
		c.Path, c.Args = plan.Argv[0], plan.Argv[1:]
		c.Env = append(os.Environ(), envRole+"=idle")
	}
	switch {
	case plan.Owner < 0:
		c.Owner = NoOwner()
	case plan.Owner > 0:
		owner, err := OwnerProcess(plan.Owner)
		check(err)
		c.Owner = owner
	}
	p, err := c.Start(context.Background())
	check(err)
	if plan.Ready {
		for r := p.Output(); ; time.Sleep(time.Millisecond) {
			if line, ok := r.Next(); ok && line.Text == "up" {
				break
			}
		}
		p.Ready()
	}
	check(json.NewEncoder(os.Stdout).Encode(starterReport{p.Pid(), p.Dir()}))
	if plan.Then != "exit" {
		<-p.Done()
		block()
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func block() {
	for {
		time.Sleep(time.Hour)
	}
}
