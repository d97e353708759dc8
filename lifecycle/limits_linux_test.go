package lifecycle

import (
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// limited describes a role that has limits and little time to leave.
func limited(t *testing.T, name string, limits Limits, env ...string) *Command {
	t.Helper()
	c := role(t, name, env...)
	c.Limits, c.Grace = limits, 200*time.Millisecond
	return c
}

func TestLimitsHoldForTheWorkerAndForWhatItStarts(t *testing.T) {
	limits := Limits{CPU: 1500 * time.Millisecond, OpenFiles: 77, GoMaxProcs: 1, GoMemory: 100 << 20}
	p := startReady(t, limited(t, "limits", limits, "GOMAXPROCS=2", "GOMEMLIMIT=50MiB"))
	limits.CPU = 2 * time.Second
	for prefix, want := range map[string]string{
		"worker ": limits.String(),
		"go ":     fmt.Sprint(1, 100<<20),
		"soft ":   fmt.Sprint(77, 2),
		"child ":  "77 2",
	} {
		if got := awaitLine(t, p.Output(), prefix); got != want {
			t.Errorf("%sgot %q, want %q", prefix, got, want)
		}
	}
}

func runLimits() {
	w := worker()
	fmt.Println("worker", w.Limits)
	fmt.Println("go", runtime.GOMAXPROCS(0), debug.SetMemoryLimit(-1))
	fmt.Println("soft", softLimit(unix.RLIMIT_NOFILE), softLimit(unix.RLIMIT_CPU))
	out, err := exec.Command("sh", "-c", "echo $(ulimit -n) $(ulimit -t)").Output()
	check(err)
	fmt.Print("child ", string(out))
	serving(nil)
	block()
}

func softLimit(resource int) uint64 {
	var limit unix.Rlimit
	check(unix.Getrlimit(resource, &limit))
	return limit.Cur
}

func TestWithoutLimitsAWorkerHasThoseOfItsStarter(t *testing.T) {
	p := startReady(t, role(t, "limits", "GOMAXPROCS=2", "GOMEMLIMIT=50MiB"))
	if got := awaitLine(t, p.Output(), "worker "); got != "none" {
		t.Errorf("got %q", got)
	}
	if got, want := awaitLine(t, p.Output(), "go "), fmt.Sprint(2, 50<<20); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestEveryThreadOfTheWorkerHasItsNiceValue(t *testing.T) {
	base, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err != nil {
		t.Fatal(err)
	}
	nice := min(20-base+7, maxNice)
	p := startReady(t, limited(t, "threads", Limits{Nice: nice}))
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", p.Pid()))
	if err != nil || len(threads) < someThreads {
		t.Fatalf("%d threads: %v", len(threads), err)
	}
	for _, thread := range threads {
		var tid int
		fmt.Sscan(filepath.Base(thread), &tid)
		if got, err := unix.Getpriority(unix.PRIO_PROCESS, tid); err != nil || 20-got != nice {
			t.Errorf("thread %d of %d: got %d, %v, want %d", tid, len(threads), 20-got, err, nice)
		}
	}
	if got := awaitLine(t, p.Output(), "child "); got != fmt.Sprint(nice) {
		t.Errorf("a child has %s, want %d", got, nice)
	}
	group := fmt.Sprintf("/proc/%d/autogroup", p.Pid())
	if _, err := os.Stat(group); err != nil {
		return // this kernel shares out between threads only
	}
	await(t, "the session's nice value", func() bool {
		data, _ := os.ReadFile(group)
		return strings.HasSuffix(string(data), fmt.Sprintf("nice %d\n", nice))
	})
}

const someThreads = 16

// runThreads keeps many threads occupied.
func runThreads() {
	for range someThreads {
		go func() {
			runtime.LockOSThread()
			block()
		}()
	}
	for tasks := []os.DirEntry{}; len(tasks) < someThreads; tasks, _ = os.ReadDir("/proc/self/task") {
		time.Sleep(time.Millisecond)
	}
	out, err := exec.Command("nice").Output()
	check(err)
	fmt.Print("child ", string(out))
	serving(nil)
	block()
}

// LESSONS 34
func TestALimitThatTheWorkerMayNotHaveEndsItBeforeItsProgramRuns(t *testing.T) {
	c := limited(t, "limits", Limits{OpenFiles: math.MaxInt32, Nice: 5})
	e := awaitDone(t, start(t, c))
	const want = "error: apply the limits: Limits.OpenFiles of 2147483647: operation not permitted"
	if e.Code != 2 || e.Limit != "" || !strings.HasPrefix(string(e.Output), want) || strings.Contains(string(e.Output), "worker ") {
		t.Errorf("got %v, want %q and nothing else", e, want)
	}
	if !strings.Contains(e.Error(), want) {
		t.Errorf("got %v", e)
	}
}

// awaitSpent waits for the end of a worker that has to use seconds of processor time first, which takes long on a machine
// with other things to do.
func awaitSpent(t *testing.T, p *Process) *ExitError {
	t.Helper()
	select {
	case <-p.Done():
	case <-time.After(10 * patience):
	}
	return awaitDone(t, p)
}

// LESSONS 9, 34
func TestAWorkerOverItsProcessorTimeLeavesAndSaysSo(t *testing.T) {
	for name, wants := range map[string][]string{
		"spin":     {"error: leaving: over its limit of 1s of CPU time"},
		"flood":    nil, // which prints on to its end
		"flood-on": nil, // and so much that the beginning of its end is lost
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startReady(t, limited(t, name, Limits{CPU: time.Second}))
			e := awaitSpent(t, p)
			if e.Code != 0 || e.Limit != LimitCPU || e.Killed != "" || !e.left {
				t.Errorf("left %v, limit %q, killed %q: %v", e.left, e.Limit, e.Killed, e)
			}
			for _, want := range append(wants, "exited with status 0 (over its limit of 1s of CPU time)") {
				if !strings.Contains(e.Error(), want) {
					t.Errorf("no %q in %v", want, e)
				}
			}
			if n := strings.Count(e.Error(), "leaving: "); name == "spin" && n != 1 {
				t.Errorf("it says so %d times: %v", n, e)
			}
		})
	}
}

// LESSONS 9, 34
func TestAWorkerOverItsProcessorTimeThatCannotActIsKilledByTheKernel(t *testing.T) {
	t.Parallel()
	c := limited(t, "stuck", Limits{CPU: time.Second, GoMaxProcs: 1}, "GODEBUG=asyncpreemptoff=1")
	c.Grace = -1
	e := awaitSpent(t, startReady(t, c))
	if e.Signal != syscall.SIGKILL || e.Limit != LimitCPU || !strings.Contains(e.Error(), "(over its limit of 1s of CPU time)") {
		t.Errorf("got %v", e)
	}
}

func runStuck() {
	serving(nil)
	//lint:ignore SA5002 it is there to use a CPU for ever
	for {
	}
}

func TestAKillIsNotTakenForALimit(t *testing.T) {
	p := startReady(t, limited(t, "idle", Limits{Memory: 1 << 30, CPU: time.Second, OpenFiles: 100}))
	watch(t, p.Pid()).signal(t, unix.SIGKILL)
	if e := awaitDone(t, p); e.Signal != syscall.SIGKILL || e.Limit != "" || e.OutOfMemory {
		t.Errorf("got %v", e)
	}
}

// LESSONS 34
func TestAWorkerWithoutDescriptorsLeavesAndSaysSo(t *testing.T) {
	t.Parallel()
	p := startReady(t, limited(t, "hoard", Limits{OpenFiles: 64}))
	child := watch(t, atoi(t, awaitLine(t, p.Output(), "child ")))
	e := awaitDone(t, p)
	if e.Code != 0 || e.Limit != LimitOpenFiles || !strings.Contains(e.Error(), "(over its limit of 64 open files)") {
		t.Errorf("got %v", e)
	}
	if !strings.Contains(string(e.Output), "draining: <nil>") {
		t.Errorf("it had no descriptors for its way out: %v", e)
	}
	if !e.left || !child.gone() {
		t.Errorf("it has not cleaned up after itself: left %v, child gone %v", e.left, child.gone())
	}
}

func atoi(t *testing.T, s string) (n int) {
	t.Helper()
	if _, err := fmt.Sscan(s, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// runHoard takes all descriptors that there are.
func runHoard() {
	child := exec.Command("sleep", "1000")
	check(child.Start())
	fmt.Println("child", child.Process.Pid)
	w := worker()
	w.Serving(func(context.Context) {
		_, err := os.Open(os.DevNull)
		fmt.Println("draining:", err)
	})
	fmt.Println("up")
	hoard()
	w.CheckFiles()
	block()
}

func TestAWorkerThatGetsDescriptorsBackStays(t *testing.T) {
	t.Parallel()
	p := startReady(t, limited(t, "burst", Limits{OpenFiles: 64}))
	meanwhile(2 * filesOutFor)
	if p.Err() != nil {
		t.Fatal(p.Err())
	}
	// It still notices when that happens again.
	watch(t, p.Pid()).signal(t, unix.SIGUSR1)
	if e := awaitDone(t, p); e.Limit != LimitOpenFiles {
		t.Errorf("got %v", e)
	}
}

// runBurst has no descriptors for a moment, and then, after a signal, for good.
func runBurst() {
	again := make(chan os.Signal, 1)
	signal.Notify(again, unix.SIGUSR1)
	w := serving(nil)
	fds := hoard()
	w.CheckFiles()
	for _, fd := range fds {
		unix.Close(fd)
	}
	<-again
	for w.filesOut.Load() {
		time.Sleep(time.Millisecond)
	}
	hoard()
	w.CheckFiles()
	block()
}

func TestWithoutALimitOfItsOwnAWorkerWithoutDescriptorsStays(t *testing.T) {
	t.Parallel()
	p := startReady(t, role(t, "inherit"))
	meanwhile(2 * filesOutFor)
	if p.Err() != nil {
		t.Error(p.Err())
	}
}

// runInherit takes all descriptors that whoever started the worker has allowed it.
func runInherit() {
	check(unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 64, Max: 64}))
	w := worker()
	w.Serving(nil)
	hoard()
	w.CheckFiles()
	fmt.Println("up")
	block()
}
