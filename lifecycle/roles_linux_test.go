//lint:file-ignore SA4010 it is there to use memory

package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

var roles = map[string]func(){
	"starter":    runStarter,
	"idle":       func() { serving(nil); block() },
	"hang":       func() { worker(); fmt.Println("up"); block() },
	"stubborn":   func() { serving(func(context.Context) { block() }); block() },
	"drain":      runDrain,
	"spin":       runSpin,
	"flood":      func() { runFlood(nil) },
	"flood-on":   func() { runFlood(func(context.Context) { block() }) },
	"exit3":      func() { fmt.Print("line one\nlast words"); os.Exit(3) },
	"exit0":      func() { fmt.Println("bye") },
	"die":        func() { fmt.Print("last words"); _ = syscall.Kill(os.Getpid(), syscall.SIGKILL); block() },
	"panic":      runPanic,
	"map-write":  runMapWrite,
	"family":     runFamily,
	"fds":        runFds,
	"orphans":    runOrphans,
	"blind":      runBlind,
	"self-start": runSelfStart,
	"facts":      runFacts,
	"tick":       runTick,
	"nest":       runNest,
	"entries":    runEntries,
	"exit-twice": runExitTwice,
	"oom":        runOutOfMemory,
	"watch":      runWatch,
	"limits":     runLimits,
	"threads":    runThreads,
	"stuck":      runStuck,
	"hoard":      runHoard,
	"burst":      runBurst,
	"inherit":    runInherit,
	"grow":       runGrow,
	"data":       runData,
	"no-thread":  runNoThread,
}

func worker() *Worker {
	w, err := Current()
	if err != nil || w == nil {
		fmt.Println("worker failed:", err)
		os.Exit(1)
	}
	return w
}

func serving(drain func(context.Context)) *Worker {
	w := worker()
	w.Serving(drain)
	fmt.Println("up")
	return w
}

func runDrain() {
	serving(func(ctx context.Context) {
		_, bounded := ctx.Deadline()
		fmt.Println("draining", bounded)
	})
	block()
}

func runSpin() {
	w := worker()
	w.Serving(func(context.Context) { block() })
	for range 4 * runtime.NumCPU() {
		go func() {
			for i := 0; ; i++ {
				_ = i
			}
		}()
	}
	fmt.Println("up")
	block()
}

func runFlood(drain func(context.Context)) {
	serving(drain)
	// Whenever somebody begins to read, what is not lost yet says that the worker is up.
	lines := []byte(strings.Repeat("x", 1000) + "\nup\n")
	for {
		os.Stdout.Write(lines)
	}
}

func runPanic() {
	for range 3000 {
		go func() { block() }()
	}
	fmt.Println("before the crash")
	panic("the reason of the crash")
}

func runMapWrite() {
	m := make(map[int]int)
	for range 8 {
		go func() {
			for i := 0; ; i++ {
				m[i%100] = i
			}
		}()
	}
	block()
}

// runFamily starts a child, a child in a session of its own, a grandchild in one, and a daemonised orphan.
func runFamily() {
	token := os.Getenv("TOKEN")
	for _, script := range []string{
		"sleep " + token + "; true",
		"setsid sleep " + token + "; true",
		"sh -c 'setsid sleep " + token + "; true'; true",
		"(setsid sh -c 'sleep " + token + "; true' &)",
	} {
		check(exec.Command("sh", "-c", script).Start())
	}
	for len(sleepers(token)) < 4 {
		time.Sleep(time.Millisecond)
	}
	w := serving(nil)
	if os.Getenv("THEN") == "exit" {
		w.Exit(5)
	}
	block()
}

// sleepers returns the processes that run sleep with this argument.
func sleepers(token string) (pids []int) {
	for _, pid := range processes() {
		cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err == nil && string(cmdline) == "sleep\x00"+token+"\x00" && !isZombie(pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// runFds lists the descriptors that a child of this worker would inherit.
func runFds() {
	entries, err := os.ReadDir("/proc/self/fd")
	check(err)
	for _, entry := range entries {
		var fd int
		fmt.Sscan(entry.Name(), &fd)
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		link, _ := os.Readlink("/proc/self/fd/" + entry.Name())
		if err == nil && (fd < 3 || flags&unix.FD_CLOEXEC == 0) {
			fmt.Println("fd", fd, link)
		}
	}
	sid, _ := unix.Getsid(0)
	fmt.Println("leader", sid == os.Getpid())
	serving(nil)
	block()
}

// runOrphans makes zombies of every kind and reports which were reaped.
func runOrphans() {
	check(exec.Command("sh", "-c", "for i in 1 2 3; do (sh -c 'sleep 0.01; exit 7' &) ; done; true").Run())
	late := exec.Command("sh", "-c", "exit 3")
	check(late.Start())
	// Two reaping rounds are long enough to steal a status, if anybody did.
	for died := time.Now(); time.Since(died) < 2*orphanAge+orphanAge/2; {
		time.Sleep(10 * time.Millisecond)
	}
	err := late.Wait()
	exit, ok := errors.AsType[*exec.ExitError](err)
	fmt.Println("late", ok && exit.ExitCode() == 3)
	for len(children(os.Getpid())) > 0 {
		time.Sleep(10 * time.Millisecond)
	}
	serving(nil)
	block()
}

// runBlind has no descriptors to look at its own.
func runBlind() {
	w := worker()
	check(unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 64, Max: 64}))
	hoard()
	_, err := waitedFor()
	w.Serving(nil)
	fmt.Println("refused", errors.Is(err, unix.EMFILE))
	fmt.Println("up")
	block()
}

// hoard takes all descriptors that there are.
func hoard() (fds []int) {
	for {
		fd, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fds
		}
		fds = append(fds, fd)
	}
}

func runSelfStart() {
	w := worker()
	fmt.Println("self", w.Self)
	if w.Self {
		_, err := Self("again").Start(context.Background())
		fmt.Println("before", errors.Is(err, ErrNotServing))
	}
	w.Serving(nil)
	c := Self("again")
	c.Env = append(os.Environ(), envRole+"=idle")
	c.RuntimeDir = filepath.Dir(w.Dir)
	p, err := c.Start(context.Background())
	if err == nil {
		err = p.Kill()
	}
	fmt.Println("after", err)
	fmt.Println("up")
	block()
}

func runFacts() {
	w := worker()
	var config struct{ A, B int }
	err := w.DecodeConfig(&config)
	_, inherits := os.LookupEnv(envInstance)
	fmt.Println("config", config.A, config.B, err)
	fmt.Println("worker", w.Name, w.Build, w.LogLevel, w.IdleTimeout, w.MaxLifetime, w.Grace, w.Self, w.HasOwner, w.OwnerUnseen)
	fmt.Println("place", w.ID, w.Dir, w.Socket, len(w.Secret))
	fmt.Println("mark", inherits, Inside() == w.ID)
	fmt.Println("spool", w.Spool() != nil)
	serving(nil)
	block()
}

func runTick() {
	serving(nil)
	for i := 0; ; i++ {
		fmt.Println("tick", i)
		time.Sleep(5 * time.Millisecond)
	}
}

// runNest starts a worker without an owner below this one, and a child.
func runNest() {
	w := worker()
	w.Serving(nil)
	c := &Command{Path: executable(), RuntimeDir: filepath.Dir(w.Dir), Owner: NoOwner(), Env: append(os.Environ(), envRole+"=idle")}
	p, err := c.Start(context.Background())
	check(err)
	for r := p.Output(); ; time.Sleep(time.Millisecond) {
		if line, ok := r.Next(); ok && line.Text == "up" {
			break
		}
	}
	p.Ready()
	fmt.Println("inner", p.Pid())
	fmt.Println("up")
	block()
}

func runEntries() {
	w := worker()
	out := w.EntryWriter()
	fmt.Print("half a line")
	_ = out.WriteEntry(&Entry{Time: time.Now(), Level: "info", Message: "hello", Fields: map[string]any{"n": 1}})
	serving(nil)
	block()
}

func runOutOfMemory() {
	limit := unix.Rlimit{Cur: 128 << 20, Max: 128 << 20}
	check(unix.Setrlimit(unix.RLIMIT_DATA, &limit))
	runGrow()
}

func runGrow() {
	var kept [][]byte
	for {
		kept = append(kept, make([]byte, 1<<20))
	}
}

// runNoThread ends as a program does that is linked with C and cannot have another thread.
func runNoThread() {
	fmt.Fprintf(os.Stderr, "%s\nSIGABRT: abort\nPC=0x1 m=7 sigcode=18446744073709551610\n", noThread[0])
	for i := range 10_000 {
		fmt.Fprintf(os.Stderr, "goroutine %d [running]:\n", i+1)
	}
	os.Exit(2)
}

// runData says which limit of memory a child has.
func runData() {
	out, err := exec.Command("sh", "-c", "ulimit -d").Output()
	check(err)
	fmt.Print("child ", string(out))
	serving(nil)
	block()
}

// runWatch writes a line for each of the first calls, which makes the output grow again.
func runWatch() {
	w := serving(nil)
	calls := 0
	_ = w.WatchOutput(context.Background(), func() {
		if calls++; calls <= 3 {
			fmt.Println("grew", calls)
		}
	})
}

func runExitTwice() {
	w := worker()
	for i := range 10 {
		go w.Exit(i)
	}
	w.Exit(10)
}
