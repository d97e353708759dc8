package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/detached-workers/unref/client"
)

func TestPoolShrinksToMinAndKeepsTheOthers(t *testing.T) {
	t.Parallel()
	p := newPool(t, client.PoolConfig{Min: 2, Max: 4, ShrinkAfter: 200 * time.Millisecond})
	p.mustBeReady()
	gate := filepath.Join(t.TempDir(), "gate")
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() { p.mustWork(workRequest{ID: i, Gate: gate}) })
	}
	await(t, "four workers that run calls", func() bool { return len(p.runs()) == 4 })
	must(os.WriteFile(gate, nil, 0o600))
	wg.Wait()
	p.awaitIdle(2)
	kept := p.pids()
	p.checkEnds(client.ReasonIdle)
	meanwhile(3 * 200 * time.Millisecond)
	if got := p.pids(); !slices.Equal(got, kept) || len(p.seen(client.WorkerStarting)) != 4 {
		t.Errorf("workers %v became %v, and %d were started in all", kept, got, len(p.seen(client.WorkerStarting)))
	}
	if reply := p.mustWork(workRequest{ID: 5}); !slices.Contains(kept, reply.Pid) {
		t.Errorf("answered by %d, want one of %v", reply.Pid, kept)
	}
}

func TestPoolWithoutMinHasNoProcessUntilItIsCalledAndAfterwards(t *testing.T) {
	t.Parallel()
	p := newPool(t, client.PoolConfig{Max: 2, ShrinkAfter: time.Millisecond})
	for i := range 3 {
		if stats := p.Stats(); stats.Workers() != 0 {
			t.Errorf("got %+v, want no worker", stats)
		}
		p.mustWork(workRequest{ID: i})
		p.awaitIdle(0)
	}
}

// LESSONS 43
func TestPoolThatIsIdleDoesNotRunAtAll(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "idle pool"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := newSharedRoot(t)
			keeper := keep(t, keeping{Root: root, Name: name, Log: filepath.Join(t.TempDir(), "calls"), Size: 2})
			pids := append(keeper.do(t, "ready").Pids, keeper.pid())
			if len(pids) != 3 {
				t.Fatalf("got workers %v", pids)
			}
			await(t, "an interval without a context switch", func() bool {
				before := switches(t, pids)
				meanwhile(500 * time.Millisecond)
				return switches(t, pids) == before
			})
			keeper.do(t, "close")
		})
	}
}

// switches returns how often each thread of the processes was given a processor.
func switches(t *testing.T, pids []int) string {
	t.Helper()
	var all strings.Builder
	for _, pid := range pids {
		paths, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
		if err != nil || len(paths) == 0 {
			t.Fatalf("no threads: %v", err)
		}
		for _, path := range paths {
			data, _ := os.ReadFile(path)
			_, counts, _ := strings.Cut(string(data), "\nvoluntary_ctxt_switches:")
			all.WriteString(counts)
		}
	}
	return all.String()
}
