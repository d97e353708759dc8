package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/cmd/demo-worker/api"
	"github.com/detached-workers/unref/lifecycle"
	"github.com/detached-workers/unref/transport"
)

// told is what the user was told.
type told struct {
	mu    sync.Mutex // protects what follows
	lines []string
}

func (t *told) printf(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = append(t.lines, fmt.Sprintf(format, args...))
}

func (t *told) all() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.lines)
}

// ownCrew describes a crew whose workers are its own, and records what the user is told.
func ownCrew(t *testing.T, size int) (crewConfig, *told) {
	t.Helper()
	told := new(told)
	return crewConfig{
		dialer:  &client.Dialer{Logger: newLogger(&display{out: t.Output()}, false)},
		command: &lifecycle.Command{Path: filepath.Join(binDir, workerName)},
		size:    size,
		tell:    told.printf,
	}, told
}

// sharedCrew describes a crew whose workers are shared.
func sharedCrew(t *testing.T, size int) (crewConfig, *told) {
	t.Helper()
	newRuntimeDir(t)
	cfg, told := ownCrew(t, size)
	cfg.group = groupName(t.Name())
	return cfg, told
}

func startCrew(t *testing.T, cfg crewConfig) *crew {
	t.Helper()
	c, err := newCrew(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.close(context.Background()) })
	return c
}

// square is some work for the worker in a slot.
func (c *crew) square(ctx context.Context, slot int) error {
	return c.do(ctx, func() (progress bool, err error) {
		_, err = client.Call(ctx, c.pool, api.Square, api.SquareRequest{N: 2}, to(slot))
		return false, err
	})
}

// lend waits for the worker of a slot and borrows it.
func lend(t *testing.T, c *crew, slot int) *client.Lease {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	lease, err := c.pool.Acquire(ctx, to(slot))
	if err != nil {
		t.Fatalf("nobody comes into slot %d: %v", slot, err)
	}
	if lease.Slot() != slot {
		t.Fatalf("what should go to slot %d goes to %d", slot, lease.Slot())
	}
	return lease
}

// awaitDeaths waits until the pool has noticed that n workers have died.
func awaitDeaths(t *testing.T, c *crew, n uint64) {
	t.Helper()
	if !await(t.Context(), func() bool { stats := c.pool.Stats(); return stats.Ends[client.ReasonCrashed] == n }) {
		t.Fatalf("the pool knows of the ends %v, want %d deaths", c.pool.Stats().Ends, n)
	}
}

// Work that workers die of is given up after a number of attempts, and the error says how they died.
// LESSONS 37
func TestWorkThatKillsWorkersIsGivenUpAfterAFewAttempts(t *testing.T) {
	cfg, told := ownCrew(t, 2)
	c := startCrew(t, cfg)
	tries := 0
	err := c.do(t.Context(), func() (bool, error) {
		tries++
		_, err := client.Call(t.Context(), c.pool, api.Crash, api.CrashRequest{Kind: api.CrashExit3, Message: "the reason"}, to(0))
		return false, err
	})
	exit, ok := errors.AsType[*lifecycle.ExitError](err)
	if !ok || exit.Code != 3 || !strings.Contains(err.Error(), "the reason") || !strings.HasPrefix(err.Error(), "given up after 6 workers") {
		t.Errorf("got error %v, want one with exit status 3 and the last words", err)
	}
	if tries != maxAttempts {
		t.Errorf("it was tried %d times, want %d", tries, maxAttempts)
	}
	lines := told.all()
	if len(lines) != maxAttempts-1 {
		t.Errorf("the user was told %q, want %d lines", lines, maxAttempts-1)
	}
	for _, line := range lines {
		if strings.Contains(line, "\n") || !strings.Contains(line, "exited with status 3") {
			t.Errorf("the user was told %q, want one line with the exit status", line)
		}
	}
}

// As long as something gets done it goes on, however many workers are lost, more in a row than a pool takes.
func TestWorkThatGetsOnIsNotGivenUp(t *testing.T) {
	cfg, told := ownCrew(t, 1)
	c := startCrew(t, cfg)
	const deaths = 12
	tries := 0
	err := c.do(t.Context(), func() (bool, error) {
		tries++
		if err := c.square(t.Context(), 0); err != nil || tries > deaths {
			return true, err
		}
		_, err := client.Call(t.Context(), c.pool, api.Crash, api.CrashRequest{Kind: api.CrashKill}, to(0))
		return true, err
	})
	if err != nil || tries != deaths+1 {
		t.Errorf("got %v after %d attempts, want success after %d", err, tries, deaths+1)
	}
	for _, line := range told.all() {
		if !strings.HasSuffix(line, "another worker goes on (attempt 2 of 6)") {
			t.Errorf("the user was told %q, as if nothing had got done", line)
		}
	}
}

func TestAnErrorThatIsNoDeathIsNotRetried(t *testing.T) {
	cfg, told := ownCrew(t, 1)
	c := startCrew(t, cfg)
	calls := 0
	err := c.do(t.Context(), func() (bool, error) {
		calls++
		_, err := client.Call(t.Context(), c.pool, api.Crash, api.CrashRequest{Kind: api.CrashPanic}, to(0))
		return false, err
	})
	if !errors.Is(err, transport.CodePanic) || calls != 1 || len(told.all()) != 0 {
		t.Errorf("got %v after %d calls, told %q; want a panic after one call", err, calls, told.all())
	}
}

func TestAWorkerThatDiedBetweenTwoUsesIsReplacedSilently(t *testing.T) {
	cfg, told := ownCrew(t, 1)
	c := startCrew(t, cfg)
	use := func() (come []arrival) {
		t.Helper()
		if err := c.square(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		return c.arrived(0)
	}
	first, again := use(), use()
	if len(first) != 1 || len(again) != 0 {
		t.Fatalf("the workers that came are %+v and then %+v, want one", first, again)
	}
	if err := kill(first[0].Pid); err != nil {
		t.Fatal(err)
	}
	awaitDeaths(t, c, 1)
	if second := use(); len(second) != 1 || second[0].Pid == first[0].Pid || len(told.all()) != 0 {
		t.Errorf("after the death of %d the workers that came are %+v, told %q", first[0].Pid, second, told.all())
	}
}

func TestWhatIsTriedAgainHasLostItsWorker(t *testing.T) {
	exit := func(exit lifecycle.ExitError) error {
		return &client.StartError{Err: fmt.Errorf("%w: %w", client.ErrWorkerExited, &exit)}
	}
	for _, test := range []struct {
		err  error
		want bool
	}{
		{fmt.Errorf("call: %w", client.ErrWorkerExited), true},
		{fmt.Errorf("call: %w: %w", transport.ErrNotSent, client.ErrNotListening), true},
		{fmt.Errorf("call: %w", client.ErrNotListening), false},
		{fmt.Errorf("call: %w", client.ErrConnectionLost), false},
		{fmt.Errorf("call: %w: %w", client.ErrRestartLimit, client.ErrWorkerExited), false},
		{fmt.Errorf("attach: %w", exit(lifecycle.ExitError{Code: -1, Signal: 9})), true},
		{exit(lifecycle.ExitError{Code: -1, Signal: 9, Killed: "it did not get ready"}), false},
		{exit(lifecycle.ExitError{Code: 1}), false},
		{&transport.Error{Code: transport.CodePanic}, false},
		{nil, false},
	} {
		if got := lost(test.err); got != test.want {
			t.Errorf("%v: got %v, want %v", test.err, got, test.want)
		}
	}
}

// A worker that somebody has stopped between two rounds of ours is not missed.
func TestASharedWorkerThatWasStoppedIsStartedAgain(t *testing.T) {
	cfg, told := sharedCrew(t, 1)
	c := startCrew(t, cfg)
	if err := c.square(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	first := c.arrived(0)
	if err := c.dialer.Stop(t.Context(), slotName(c.group, 1)); err != nil {
		t.Fatal(err)
	}
	if err := c.square(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	second := c.arrived(0)
	if len(first) != 1 || len(second) != 1 || !second[0].isNew() || first[0].Pid == second[0].Pid {
		t.Errorf("the workers that came are %+v and then %+v, told %q", first, second, told.all())
	}
}

// The workers are the same as those of the names that status and stop know.
func TestTheWorkerInASlotHasTheNameOfTheSlot(t *testing.T) {
	cfg, _ := sharedCrew(t, 3)
	pids := make(map[string]int)
	first := startCrew(t, cfg)
	for slot := range cfg.size {
		lease := lend(t, first, slot)
		pids[slotName(cfg.group, slot+1)] = lease.Pid()
		lease.Release()
	}
	first.close(t.Context())
	for _, info := range workersIn(t, os.Getenv("UNREF_RUNTIME_DIR")) {
		if pids[info.Name] != info.Pid {
			t.Errorf("worker %d has the name %q, want %v", info.Pid, info.Name, pids)
		}
	}
	second := startCrew(t, cfg)
	for _, slot := range []int{2, 0, 1} {
		lease := lend(t, second, slot)
		if got, want := lease.Pid(), pids[slotName(cfg.group, slot+1)]; got != want {
			t.Errorf("in the next run worker %d is in slot %d, want %d", got, slot, want)
		}
		lease.Release()
	}
}

func TestAShareThatComesFirstGetsItsSlot(t *testing.T) {
	cfg, _ := ownCrew(t, 4)
	c := startCrew(t, cfg)
	for _, slot := range []int{3, 1, 2, 0} {
		defer lend(t, c, slot).Release()
	}
}

func TestWorkForOneSlotStartsOneWorker(t *testing.T) {
	cfg, _ := ownCrew(t, 4)
	c := startCrew(t, cfg)
	for range 3 {
		if err := c.square(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
	}
	if stats := c.pool.Stats(); stats.Starts != 1 {
		t.Errorf("%d workers were started, want 1", stats.Starts)
	}
}

func TestADeathInOneSlotConcernsNoOther(t *testing.T) {
	cfg, _ := ownCrew(t, 3)
	c := startCrew(t, cfg)
	leases := []*client.Lease{lend(t, c, 0), lend(t, c, 1), lend(t, c, 2)}
	pid := leases[2].Pid()
	var waiting sync.WaitGroup
	waiting.Go(func() {
		lease, err := c.pool.Acquire(t.Context(), to(2))
		if err != nil || lease.Slot() != 2 || lease.Pid() != pid {
			t.Errorf("who waited for worker %d got %+v (%v)", pid, lease, err)
			return
		}
		lease.Release()
	})
	if !await(t.Context(), func() bool { stats := c.pool.Stats(); return stats.Queued == 1 }) {
		t.Fatal("nobody waits for the worker that is busy")
	}
	dead := leases[1].Pid()
	if err := kill(dead); err != nil {
		t.Fatal(err)
	}
	leases[1].Release()
	awaitDeaths(t, c, 1)
	next := lend(t, c, 1)
	if next.Pid() == dead {
		t.Errorf("slot 1 has the worker %d that was killed", dead)
	}
	for _, lease := range []*client.Lease{next, leases[2], leases[0]} {
		lease.Release()
	}
	waiting.Wait()
}

// Whatever the order in which shares ask and workers die, each share gets a worker in its slot.
// LESSONS 38
func TestNoShareWaitsForEver(t *testing.T) {
	cfg, _ := ownCrew(t, 4)
	c := startCrew(t, cfg)
	var shares sync.WaitGroup
	defer shares.Wait()
	for slot := range cfg.size - 1 { // so that the pool may start more workers than there are shares
		shares.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(slot)))
			for range 12 {
				haunt(t, c, slot, random.IntN(3) == 0)
			}
		})
	}
}

// haunt has the worker of a slot do something, and kills it then if it is doomed.
func haunt(t *testing.T, c *crew, slot int, doomed bool) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := c.square(ctx, slot); err != nil {
		t.Errorf("slot %d: %v", slot, err)
		return
	}
	lease, err := c.pool.Acquire(ctx, to(slot))
	if err != nil || lease.Slot() != slot {
		t.Errorf("what should go to slot %d goes to %+v (%v)", slot, lease, err)
		return
	}
	defer lease.Release()
	if doomed {
		_, err = client.Call(ctx, lease, api.Crash, api.CrashRequest{Kind: api.CrashKill})
		if !errors.Is(err, client.ErrWorkerExited) {
			t.Errorf("slot %d: %v", slot, err)
		}
	}
}

// A share whose worker can't be started is told, though others have workers.
// LESSONS 36
func TestASlotWithoutAWorkerFailsThoughOthersHaveTheirs(t *testing.T) {
	cfg, told := ownCrew(t, 2)
	cfg.command.Path = copyProgram(t, cfg.command.Path)
	c := startCrew(t, cfg)
	if err := c.square(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(cfg.command.Path); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := c.square(ctx, 1); !errors.Is(err, os.ErrNotExist) || len(told.all()) > 0 {
		t.Errorf("got %v, told %q; want the error of the start", err, told.all())
	}
	if err := c.square(ctx, 0); err != nil {
		t.Errorf("what has a worker fails too: %v", err)
	}
}

// copyProgram returns the path of a copy.
func copyProgram(t *testing.T, path string) string {
	t.Helper()
	program, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), filepath.Base(path))
	if err := os.WriteFile(copied, program, 0o700); err != nil {
		t.Fatal(err)
	}
	return copied
}
