package main

import (
	"slices"
	"testing"

	"github.com/detached-workers/unref/client"
)

// noting returns a crew that has noted events, which are numbered.
func noting(events ...client.PoolEvent) *crew {
	c := new(crew)
	for i, e := range events {
		e.Seq = uint64(i + 1)
		c.note(e)
	}
	return c
}

func pidsOf(list []arrival) (pids []int) {
	for _, a := range list {
		pids = append(pids, a.Pid)
	}
	return pids
}

func TestWorkersThatHaveComeAreListedSlotBySlotAndOnce(t *testing.T) {
	cfg, _ := ownCrew(t, 2)
	c := startCrew(t, cfg)
	pids := make([][]int, cfg.size)
	for slot := range cfg.size {
		lease := lend(t, c, slot)
		pids[slot] = append(pids[slot], lease.Pid())
		if err := kill(lease.Pid()); err != nil {
			t.Fatal(err)
		}
		lease.Release()
		awaitDeaths(t, c, uint64(slot+1))
		next := lend(t, c, slot)
		pids[slot] = append(pids[slot], next.Pid())
		next.Release()
	}
	for slot, want := range pids {
		if got := pidsOf(c.arrived(slot)); !slices.Equal(got, want) {
			t.Errorf("into slot %d came %v, want %v", slot, got, want)
		}
		if got := c.arrived(slot); len(got) > 0 {
			t.Errorf("into slot %d came %v again", slot, got)
		}
	}
}

func TestAnEventThatIsReadTwiceCountsOnce(t *testing.T) {
	ready := client.PoolEvent{Seq: 1, Kind: client.WorkerReady, Slot: 1, Pid: 7}
	c := noting(ready)
	c.note(ready)
	if got := pidsOf(c.log.slot(1).arrivals); !slices.Equal(got, []int{7}) {
		t.Errorf("the workers that came are %v, want one", got)
	}
}
