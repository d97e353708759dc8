package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

// newToken returns an argument of sleep that tells one family of processes from all others.
func newToken() string { return fmt.Sprintf("9000.%09d", rand.IntN(1e9)) }

func awaitNoSleepers(t *testing.T, token string) {
	t.Helper()
	await(t, "no offspring", func() bool { return len(sleepers(token)) == 0 })
}

// LESSONS 12
func TestTheWholeTreeGoes(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *Process){
		"when it is killed":      func(t *testing.T, p *Process) { _ = p.Kill() },
		"when it is stopped":     func(t *testing.T, p *Process) { _, _ = p.Stop(t.Context()) },
		"when others kill it":    func(t *testing.T, p *Process) { _ = unix.Kill(p.Pid(), unix.SIGKILL) },
		"when it is told to":     func(t *testing.T, p *Process) { _ = p.Terminate() },
		"when it crashes":        func(t *testing.T, p *Process) { _ = unix.Kill(p.Pid(), unix.SIGQUIT) },
		"when it is interrupted": func(t *testing.T, p *Process) { _ = unix.Kill(p.Pid(), unix.SIGINT) },
	} {
		t.Run(name, func(t *testing.T) {
			token := newToken()
			p := startReady(t, role(t, "family", "TOKEN="+token))
			if got := len(sleepers(token)); got != 4 {
				t.Fatalf("got %d offspring", got)
			}
			end(t, p)
			awaitDone(t, p)
			if left := sleepers(token); len(left) > 0 {
				t.Errorf("left: %v", left)
				awaitNoSleepers(t, token)
			}
		})
	}
}

func TestTheWholeTreeGoesWhenTheWorkerExits(t *testing.T) {
	token := newToken()
	p := start(t, role(t, "family", "TOKEN="+token, "THEN=exit"))
	e := awaitDone(t, p)
	if left := sleepers(token); len(left) > 0 || e.Code != 5 {
		t.Errorf("left: %v after %v", left, e)
	}
}

// LESSONS 8, 12
func TestTheWholeTreeGoesWhenTheOwnerIsKilled(t *testing.T) {
	token := newToken()
	t.Setenv("TOKEN", token)
	s := startBelow(t, starterPlan{Role: "family", Ready: true})
	s.killStarter()
	s.awaitAllGone(t)
	if left := sleepers(token); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// LESSONS 14
func TestTheNextStartEndsWhatAKilledWorkerAndAKilledStarterLeft(t *testing.T) {
	token := newToken()
	t.Setenv("TOKEN", token)
	s := startBelow(t, starterPlan{Role: "family", Owner: -1, Ready: true})
	s.killStarter()
	s.worker.signal(t, unix.SIGKILL)
	await(t, "worker gone", s.worker.gone)
	if got := len(sleepers(token)); got != 4 {
		t.Fatalf("got %d offspring", got)
	}
	c := role(t, "idle")
	os.Remove(c.RuntimeDir)
	c.RuntimeDir = s.root
	start(t, c)
	if left := sleepers(token); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if _, err := os.Lstat(s.Dir); err == nil {
		t.Error("the instance directory is still there")
	}
}

func TestAWorkerBelowAWorkerHasALifeOfItsOwn(t *testing.T) {
	outer := startReady(t, role(t, "nest"))
	r := outer.Output()
	var pid int
	fmt.Sscan(awaitLine(t, r, "inner "), &pid)
	inner := watch(t, pid)
	for _, end := range []func() error{outer.Terminate, outer.Kill} {
		if err := end(); err != nil {
			t.Fatal(err)
		}
		awaitDone(t, outer)
		if inner.gone() {
			t.Error("the inner worker went with the outer one")
		}
	}
	inner.signal(t, unix.SIGTERM)
	await(t, "inner worker gone", inner.gone)
}

// LESSONS 44
func TestOrphansAreReapedAndStatusesNotStolen(t *testing.T) {
	p := startReady(t, role(t, "orphans"))
	awaitLine(t, p.Output(), "late true")
}

// Nobody's child is reaped by who could not look whose it is.
func TestWithoutDescriptorsItIsNotKnownWhoIsWaitedFor(t *testing.T) {
	p := startReady(t, role(t, "blind"))
	awaitLine(t, p.Output(), "refused true")
}

func TestADeadChildIsReapedWithoutBeingAsked(t *testing.T) {
	p := start(t, role(t, "exit0"))
	await(t, "process reaped", func() bool {
		_, err := readStat(p.Pid())
		return err != nil
	})
	awaitDone(t, p)
}

// LESSONS 17
func TestOnlyProvenProcessesAreKilled(t *testing.T) {
	bystander := exec.CommandContext(t.Context(), "sleep", "1000")
	if err := bystander.Start(); err != nil {
		t.Fatal(err)
	}
	defer bystander.Wait()
	defer bystander.Process.Kill()
	pid := bystander.Process.Pid
	yes := func() bool { return true }
	if killChild(pid, os.Getppid(), "", yes) {
		t.Error("killed the child of somebody else")
	}
	if killChild(pid, os.Getpid(), "", func() bool { return false }) {
		t.Error("killed the child of a process that is not the one meant")
	}
	if killIfMarked(pid, map[string]bool{"0123456789abcdef": true}) {
		t.Error("killed a process without the mark")
	}
	if isZombie(pid) {
		t.Error("the bystander is dead")
	}
	if !killChild(pid, os.Getpid(), "", yes) {
		t.Error("did not kill the proven child")
	}
	await(t, "child dead", func() bool { return isZombie(pid) })
}

// A process that is ending has no mark any more, which does not make it somebody else's.
func TestAProcessThatIsEndingIsNotTakenForAnother(t *testing.T) {
	for range 20 {
		p := startReady(t, role(t, "idle"))
		id, err := identify(p.Pid())
		if err != nil {
			t.Fatal(err)
		}
		f := &found{id: id}
		if _, err := f.prove(p.ID()); err != nil {
			t.Fatalf("while it lives: %v", err)
		}
		watch(t, p.Pid()).signal(t, unix.SIGKILL)
		for err = nil; err == nil; {
			_, err = f.prove(p.ID())
		}
		if !errors.Is(err, os.ErrProcessDone) {
			t.Fatalf("got %v, want %v", err, os.ErrProcessDone)
		}
		awaitDone(t, p)
	}
}

func TestChildrenAreFoundByTheirParentsToo(t *testing.T) {
	child := exec.CommandContext(context.Background(), "sleep", "1000")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer child.Wait()
	defer child.Process.Kill()
	got := childrenByParent(os.Getpid())
	if len(got) != 1 || got[0] != child.Process.Pid {
		t.Errorf("got %v, want %d", got, child.Process.Pid)
	}
}
