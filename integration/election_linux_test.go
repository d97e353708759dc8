package integration

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/lifecycle"
)

// newSharedRoot returns a runtime directory whose workers are killed at the end,
// and which then has nothing in it but the locks of names.
func newSharedRoot(t testing.TB) string {
	t.Helper()
	root := newRoot(t)
	t.Cleanup(func() { clearShared(t, root) })
	return root
}

func clearShared(t testing.TB, root string) {
	t.Helper()
	d := quiet()
	d.RuntimeDir = root
	list, err := d.List(context.Background())
	if err != nil {
		t.Error(err)
	}
	for _, info := range list {
		_ = d.Kill(context.Background(), info.ID) // it may have left meanwhile
	}
	await(t, "the records of dead workers to be swept", func() bool {
		_, err := lifecycle.Sweep(root)
		left, _ := filepath.Glob(filepath.Join(root, "names", "*.json*"))
		return err == nil && len(left) == 0
	})
	if err := os.RemoveAll(filepath.Join(root, "names")); err != nil {
		t.Error(err)
	}
}

// gang is a number of programs that act at once.
type gang []*program

func newGang(t testing.TB, root string, n int) gang {
	t.Helper()
	g := make(gang, n)
	for i := range g {
		g[i] = run(t, playing(t, root, "cli"))
	}
	for _, p := range g {
		p.line(t)
	}
	return g
}

// do has all of them carry out the order, and returns how it went.
func (g gang) do(t testing.TB, o order) []result {
	t.Helper()
	text := o.text()
	for _, p := range g {
		p.say(text)
	}
	results := make([]result, len(g))
	for i, p := range g {
		if err := json.Unmarshal([]byte(p.line(t)), &results[i]); err != nil {
			t.Fatal(err)
		}
	}
	return results
}

// leaveBehind has a program carry out the order that ends then, so that nobody
// cares for what it has started.
func leaveBehind(t testing.TB, o order) result {
	t.Helper()
	p := run(t, playing(t, o.Root, "cli "+rawOrder))
	r := gang{p}.do(t, o)[0]
	p.in.Close()
	if err := p.cmd.Wait(); err != nil || r.Err != "" {
		t.Fatal(err, r.Err)
	}
	return r
}

// checkAnswered checks that all calls were answered, and returns the pids of
// those who did it.
func checkAnswered(t testing.TB, results []result, rounds int) []int {
	t.Helper()
	var pids []int
	for _, r := range results {
		if r.Err != "" || r.Rounds != rounds {
			t.Errorf("%d of %d rounds: %s", r.Rounds, rounds, r.Err)
		}
		pids = append(pids, r.Pid)
	}
	slices.Sort(pids)
	return slices.Compact(pids)
}

// starts returns the pids of the workers that were ever started.
func starts(t testing.TB, log string) []string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(log, startsName))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(data))
}

// serving returns the pids of the workers that live and answer.
func serving(t testing.TB, root string) []int {
	t.Helper()
	list, err := (&client.Dialer{RuntimeDir: root}).List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, info := range list {
		if info.Status != nil && info.Status.Leaving == "" {
			pids = append(pids, info.Pid)
		}
	}
	return pids
}

// span is when a worker had calls.
type span struct {
	name        string
	first, last uint64
}

// checkNoOverlap checks that no worker handled calls before the last call of
// the one before it, and returns how many there were.
func checkNoOverlap(t testing.TB, log string) int {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(log, "*.span"))
	var spans []span
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if len(data) == 16 { // else it was killed in its first call
			spans = append(spans, span{filepath.Base(file), binary.BigEndian.Uint64(data), binary.BigEndian.Uint64(data[8:])})
		}
	}
	slices.SortFunc(spans, func(a, b span) int { return int(int64(a.first - b.first)) })
	for i := range spans[:max(0, len(spans)-1)] {
		if a, b := spans[i], spans[i+1]; b.first < a.last {
			t.Errorf("two workers served at once: %s for %v after the first call of %s", a.name, time.Duration(a.last-b.first), b.name)
		}
	}
	return len(spans)
}

const (
	hundred = 100
	enough  = 20 * time.Second // for the rounds of one test
)

// rounds is how often a heavy test is repeated; with -short a few times only. CI runs
// without.
func rounds(n int) int {
	if testing.Short() {
		return max(1, n/5)
	}
	return n
}

// LESSONS 16
func TestHundredProgramsThatAttachAtOnceStartOneWorker(t *testing.T) {
	root := newSharedRoot(t)
	programs := newGang(t, root, hundred)
	inPlaces(t, root, func(o order, log string) {
		pids := checkAnswered(t, programs.do(t, o), 1)
		checkOne(t, o.Root, log, pids, 1)
	})
}

// LESSONS 14, 16
func TestHundredProgramsThatFindADeadWorkersTracesStartOneWorker(t *testing.T) {
	root := newSharedRoot(t)
	programs := newGang(t, root, hundred)
	inPlaces(t, root, func(o order, log string) {
		dead := leaveBehind(t, o)
		kill(t, dead.Pid)
		staleSocket(t, filepath.Join(o.Root, "0123456789abcdef"))
		if info, err := os.Lstat(filepath.Join(dead.Dir, "s")); err != nil || info.Mode().Type() != os.ModeSocket {
			t.Fatalf("the dead worker has left no socket: %v", err)
		}
		pids := checkAnswered(t, programs.do(t, o), 1)
		if slices.Contains(pids, dead.Pid) {
			t.Errorf("the dead worker %d has answered", dead.Pid)
		}
		checkOne(t, o.Root, log, pids, 2)
	})
}

// A call that the worker's death has cut off may have run, so that it is for the
// program to make it again.
// LESSONS 16, 26
func TestHundredProgramsWhoseWorkerIsKilledStartOneOther(t *testing.T) {
	root := newSharedRoot(t)
	programs := newGang(t, root, hundred)
	played, lost, late := 0, 0, 0
	inPlaces(t, root, func(o order, log string) {
		played++
		old := leaveBehind(t, o)
		var wg sync.WaitGroup
		wg.Go(func() {
			meanwhile(rand.N(40 * time.Millisecond))
			kill(t, old.Pid)
		})
		o.Again = true
		results := programs.do(t, o)
		wg.Wait()
		pids := checkAnswered(t, results, 1)
		for _, r := range results {
			lost += r.Lost
		}
		last := leaveBehind(t, o) // who starts the other one if all others were done before
		if i := slices.Index(pids, old.Pid); i >= 0 {
			late++
			pids = slices.Delete(pids, i, i+1)
		}
		if len(pids) > 1 || len(pids) == 1 && pids[0] != last.Pid {
			t.Errorf("%v have answered and %d does now", pids, last.Pid)
		}
		if _, err := lifecycle.Sweep(o.Root); err != nil { // the start did not if the old worker was still dying
			t.Error(err)
		}
		checkOne(t, o.Root, log, []int{last.Pid}, 2)
	})
	t.Logf("%d calls were lost; the old worker has answered first in %d of %d rounds", lost, late, played)
}

// inPlaces calls f some times, each with an order for a new runtime directory
// below root, and the directory for the notes of the worker in it.
func inPlaces(t testing.TB, root string, f func(o order, log string)) {
	t.Helper()
	began := time.Now()
	for i := range rounds(10) {
		if time.Since(began) > enough {
			t.Logf("%d rounds are enough on a machine that takes %v for them", i, time.Since(began))
			return
		}
		inPlace(t, filepath.Join(root, strconv.Itoa(i)), root, f)
	}
}

func inPlace(t testing.TB, dir, root string, f func(o order, log string)) {
	t.Helper()
	log := t.TempDir()
	defer func() {
		clearShared(t, dir)
		await(t, "removal of "+dir, func() bool { return os.Remove(dir) == nil })
	}()
	f(order{Root: dir, Name: "elected", Env: []string{logEnv + "=" + log, rootEnv + "=" + root}}, log)
}

// checkOne checks that one worker serves, which is the only one that has
// answered, and how many were ever started.
func checkOne(t testing.TB, root, log string, answered []int, started int) {
	t.Helper()
	if got := serving(t, root); len(got) != 1 || !slices.Equal(got, answered) {
		t.Errorf("%v serve at the end, %v have answered", got, answered)
	}
	if got := starts(t, log); len(got) != started {
		t.Errorf("workers %v were started, want %d", got, started)
	}
	checkNoOverlap(t, log)
	dirs, _ := filepath.Glob(filepath.Join(root, strings.Repeat("?", 16)))
	if len(dirs) != 1 {
		t.Errorf("got directories %v, want one", dirs)
	}
}

// kill kills a worker and waits until it is gone.
func kill(t testing.TB, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	await(t, fmt.Sprintf("end of process %d", pid), func() bool { return !alive(pid) })
}

// staleSocket makes the directory of a worker that was there once.
func staleSocket(t testing.TB, dir string) {
	t.Helper()
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "s"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
}

// Programs come again after pauses that are short and long in comparison with the
// idle time, so that they come before, while and after the worker leaves.
// LESSONS 24
func TestIdleExitLosesNoCallAndNeverHasTwoWorkersServe(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		idle     time.Duration
		attaches int
		pause    time.Duration
	}{{time.Millisecond, 1600, 10 * time.Millisecond}, {100 * time.Microsecond, 1600, 4 * time.Millisecond}, {1, 1800, time.Millisecond}} {
		t.Run(test.idle.String(), func(t *testing.T) {
			const programs = 8
			root, log := newSharedRoot(t), t.TempDir()
			o := order{
				Root: root, Name: "idle", Idle: test.idle, Env: []string{logEnv + "=" + log},
				Rounds: rounds(test.attaches) / programs, Pause: test.pause,
			}
			checkAnswered(t, newGang(t, root, programs).do(t, o), o.Rounds)
			n := checkNoOverlap(t, log)
			if n < 3 {
				t.Errorf("%d workers had calls: none left while clients came", n)
			}
			t.Logf("%d workers for %d attaches", n, programs*o.Rounds)
		})
	}
}
