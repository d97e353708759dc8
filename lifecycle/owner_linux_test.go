package lifecycle

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// LESSONS 8, 9
func TestNothingIsLeftAfterTheOwnerWasKilled(t *testing.T) {
	for name, plan := range map[string]starterPlan{
		"while it is idle":              {Role: "idle", Ready: true},
		"before it was ready":           {Role: "idle"},
		"before it serves":              {Role: "hang", Ready: true},
		"while its drain never returns": {Role: "stubborn", Ready: true, Grace: 50 * time.Millisecond},
		"while all processors spin":     {Role: "spin", Ready: true, Grace: 50 * time.Millisecond},
		"without any grace":             {Role: "stubborn", Ready: true, Grace: -1},
		"while it writes endlessly":     {Role: "flood", Ready: true},
		"behind a wrapper":              {Argv: []string{"/bin/sh", "-c", `"$0"; true`, executable()}, Ready: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := startBelow(t, plan)
			s.killStarter()
			if !plan.Ready { // the kernel may have ended it before it could clean up
				await(t, "worker gone", s.worker.gone)
				sweep(s.root)
			}
			s.awaitAllGone(t)
		})
	}
}

// LESSONS 6, 8
func TestAProgramThatNeverBecomesAWorkerDiesWithItsStarterDuringTheStartPhase(t *testing.T) {
	s := startBelow(t, starterPlan{Argv: []string{"sleep", "1000"}})
	s.killStarter()
	await(t, "program gone", s.worker.gone)
	sweep(s.root)
	if _, err := os.Lstat(s.Dir); err == nil {
		t.Error("the sweeper left the instance directory")
	}
}

func TestAStarterThatExitsIsADeadOwner(t *testing.T) {
	s := startBelow(t, starterPlan{Role: "idle", Ready: true, Then: "exit"})
	s.awaitAllGone(t)
}

func TestAWorkerWithoutOwnerOutlivesItsStarter(t *testing.T) {
	s := startBelow(t, starterPlan{Role: "tick", Owner: -1, Ready: true})
	awaitTicks(t, s.worker.pid, func() { s.killStarter() })
	sweep(s.root)
	if _, err := os.Lstat(s.Dir); err != nil {
		t.Error("the sweeper took a living worker's instance")
	}
	s.worker.signal(t, unix.SIGTERM)
	s.awaitAllGone(t)
}

func TestAnotherProcessCanBeTheOwner(t *testing.T) {
	owner := exec.Command("sleep", "1000")
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	defer owner.Process.Kill()
	s := startBelow(t, starterPlan{Role: "tick", Owner: owner.Process.Pid, Ready: true})
	awaitTicks(t, s.worker.pid, func() { s.killStarter() })
	_ = owner.Process.Kill() // and not reaped: a zombie is dead
	s.awaitAllGone(t)
	_ = owner.Wait()
}

func TestAStoppedOwnerIsAlive(t *testing.T) {
	s := startBelow(t, starterPlan{Role: "tick", Ready: true})
	awaitTicks(t, s.worker.pid, func() { s.starter.signal(t, unix.SIGSTOP) })
	s.killStarter()
	s.awaitAllGone(t)
}

// awaitTicks waits until the worker has gone on for quite a while after the event.
func awaitTicks(t *testing.T, pid int, event func()) {
	t.Helper()
	f, err := os.Open("/proc/" + strconv.Itoa(pid) + "/fd/1")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := NewOutputReader(f)
	awaitLine(t, r, "tick")
	event()
	r.Skip(0)
	for range 100 {
		awaitLine(t, r, "tick")
	}
}

// LESSONS 11
func TestAnOwnerThatDiesBeforeTheFirstLookIsNoticed(t *testing.T) {
	for _, script := range []string{`read line <"$1"; exec "$0"`, `exec 3>&-; read line <"$1"; exec "$0"`} {
		t.Run(script, func(t *testing.T) {
			owner := exec.Command("sleep", "1000")
			if err := owner.Start(); err != nil {
				t.Fatal(err)
			}
			fifo := t.TempDir() + "/fifo"
			if err := unix.Mkfifo(fifo, 0o600); err != nil {
				t.Fatal(err)
			}
			c := wrapper(t, script)
			c.Args = append(c.Args, fifo)
			var err error
			if c.Owner, err = OwnerProcess(owner.Process.Pid); err != nil {
				t.Fatal(err)
			}
			p := start(t, c)
			_ = owner.Process.Kill()
			_ = owner.Wait()
			if err := os.WriteFile(fifo, []byte("go\n"), 0); err != nil {
				t.Fatal(err)
			}
			if e := awaitDone(t, p); e.Code != 0 || strings.Contains(string(e.Output), "up") {
				t.Errorf("got %v", e)
			}
		})
	}
}

func TestAnOwnerIsOneProcessAndNotAPid(t *testing.T) {
	owner := exec.Command("sleep", "1000")
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	pid := owner.Process.Pid
	first, err := OwnerProcess(pid)
	if err != nil {
		t.Fatal(err)
	}
	if second, _ := OwnerProcess(pid); first != second || first == NoOwner() || first == (Owner{}) {
		t.Error("owners do not compare")
	}
	reused := first.id
	reused.Start = "1"
	if _, err := watchIdentity(reused, 0); !errors.Is(err, ErrOwnerGone) {
		t.Errorf("another process with the pid: got %v", err)
	}
	reused.Start, reused.TimeNS = "1", "time:[1]"
	if w, err := watchIdentity(reused, 0); err != nil {
		t.Errorf("start times of another time namespace were compared: %v", err)
	} else {
		w.file.Close()
	}
	elsewhere := first.id
	elsewhere.PidNS = "pid:[1]"
	if _, err := watchIdentity(elsewhere, 0); !errors.Is(err, errUnseen) {
		t.Errorf("another pid namespace: got %v", err)
	}
	_ = owner.Process.Kill()
	_ = owner.Wait()
	if _, err := OwnerProcess(pid); err == nil {
		t.Error("a dead process became an owner")
	}
	if _, err := watchIdentity(first.id, 0); !errors.Is(err, ErrOwnerGone) {
		t.Errorf("a dead owner: got %v", err)
	}
}

func TestAnInheritedPidfdIsGoodInEveryNamespace(t *testing.T) {
	owner := exec.Command("sleep", "1000")
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	id, err := identify(owner.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	id.PidNS = "pid:[1]"
	fd, err := unix.PidfdOpen(id.Pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	w, err := watchIdentity(id, fd)
	if err != nil {
		t.Fatal(err)
	}
	defer w.file.Close()
	dead := make(chan struct{})
	go func() { w.wait(); close(dead) }()
	_ = owner.Process.Kill()
	<-dead
	_ = owner.Wait()
}

func TestADescriptorThatIsNotTheOwnersPidfdIsNotUsed(t *testing.T) {
	id, err := identify(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	parent, err := unix.PidfdOpen(os.Getppid(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(parent)
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for _, fd := range []int{parent, int(null.Fd()), 9999} {
		if isPidfdOf(fd, id) {
			t.Errorf("descriptor %d was taken", fd)
		}
	}
}

func TestWithoutPidfdsTheIdentityIsPolled(t *testing.T) {
	owner := exec.Command("sleep", "1000")
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	id, err := identify(owner.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	dead := make(chan struct{})
	go func() { (&ownerWatch{id: id}).wait(); close(dead) }()
	_ = owner.Process.Kill() // a zombie is dead
	<-dead
	_ = owner.Wait()
	(&ownerWatch{id: id}).wait()
}
