package client

import (
	"fmt"
	"testing"
	"time"
)

func workers(places ...int) (list []Candidate) {
	for slot, n := range places {
		list = append(list, Candidate{Slot: slot, Places: n, Free: n < 3})
	}
	return list
}

func TestStrategiesChooseAsTheyPromise(t *testing.T) {
	outdated := workers(0, 2)
	outdated[0].Outdated = true
	robin := RoundRobin()
	for _, c := range []struct {
		name     string
		strategy Strategy
		workers  []Candidate
		want     int
	}{
		{"the least busy one", LeastBusy(), workers(2, 1, 2), 1},
		{"of equals the first", LeastBusy(), workers(3, 1, 1), 1},
		{"none of those that are full", LeastBusy(), workers(3, 3), PickNone},
		{"rather one that is not outdated", LeastBusy(), outdated, 1},
		{"an outdated one if it must be", LeastBusy(), outdated[:1], 0},
		{"the first that is free", InOrder(), workers(3, 2, 0), 1},
		{"one after the other", robin, workers(0, 0, 0), 0},
		{"one after the other", robin, workers(0, 0, 0), 1},
		{"not those that are full", robin, workers(0, 0, 3), 0},
	} {
		if got := c.strategy.Pick("", c.workers, true); got != c.want {
			t.Errorf("%s: picked %d of %+v, want %d", c.name, got, c.workers, c.want)
		}
	}
}

func TestStickyKeepsAKeyWithItsWorkerAndMovesItOnce(t *testing.T) {
	s := Sticky()
	list := workers(0, 0, 0)
	homes := map[string]int{}
	for i := range 30 {
		key := fmt.Sprint(i)
		homes[key] = s.Pick(key, list, false)
	}
	count := map[int]int{}
	for key, home := range homes {
		count[home]++
		if got := s.Pick(key, list, false); got != home {
			t.Errorf("key %s went to %d and then to %d", key, home, got)
		}
	}
	if count[0] != 10 || count[1] != 10 || count[2] != 10 {
		t.Errorf("30 keys on 3 workers: %v, want 10 each", count)
	}
	list[1].Free = false
	for key, home := range homes {
		if got := s.Pick(key, list, true); home == 1 && got != PickWait || home != 1 && got != home {
			t.Errorf("key %s of worker %d: picked %d", key, home, got)
		}
	}
	left := []Candidate{list[0], list[2]} // the worker in slot 1 has died
	moved := map[string]int{}
	for key, home := range homes {
		got := left[s.Pick(key, left, false)].Slot
		if home != 1 && got != home {
			t.Errorf("key %s moved from %d to %d though its worker lives", key, home, got)
		}
		moved[key] = got
	}
	list[1].Free = true // another one is there
	for key, home := range moved {
		if got := list[s.Pick(key, list, false)].Slot; got != home {
			t.Errorf("key %s moved again, from %d to %d", key, home, got)
		}
	}
}

func TestStickyAsksForAWorkerForANewKeyWhileThePoolMayGrow(t *testing.T) {
	s := Sticky()
	list := workers(0)
	if got := s.Pick("a", list, true); got != 0 {
		t.Errorf("the first key: %d, want the worker that has none", got)
	}
	if got := s.Pick("b", list, true); got != PickNone {
		t.Errorf("the second key: %d, want another worker", got)
	}
	if got := s.Pick("b", list, false); got != 0 {
		t.Errorf("the second key where there can be no other: %d, want 0", got)
	}
	if got := s.Pick("", list, true); got != 0 {
		t.Errorf("no key: %d, want the least busy worker", got)
	}
}

func TestStickyForgetsTheKeysThatWereUsedLongestAgo(t *testing.T) {
	s := Sticky().(*sticky)
	list := workers(0, 0)
	for i := range maxKeys + 100 {
		s.Pick(fmt.Sprint(i), list, false)
	}
	if len(s.homes) != maxKeys || s.used.Len() != maxKeys || s.keys[0]+s.keys[1] != maxKeys {
		t.Errorf("%d keys, want %d", len(s.homes), maxKeys)
	}
}

func TestPoolGoesOnAfterAStrategyHasPanicked(t *testing.T) {
	panics := false
	strategy := StrategyFunc(func(key string, workers []Candidate, canGrow bool) int {
		if panics {
			panics = false
			panic("mine")
		}
		return LeastBusy().Pick(key, workers, canGrow)
	})
	simulate(t, PoolConfig{Min: 1, Max: 1, Strategy: strategy}, func(t *testing.T, p *Pool, f *fakes) {
		ready(t, p)
		panics = true
		func() {
			defer func() {
				if recover() != "mine" {
					t.Error("the panic was swallowed")
				}
			}()
			_, _ = do(t.Context(), p, 0)
		}()
		began := time.Now()
		if mustDo(t, p, 0); time.Since(began) != 0 {
			t.Errorf("the next call waited %v", time.Since(began))
		}
	})
}

func TestPoolThatIsStickyGrowsForKeysAndKeepsThem(t *testing.T) {
	simulate(t, PoolConfig{Max: 4, Strategy: Sticky()}, func(t *testing.T, p *Pool, f *fakes) {
		homes := map[string]int{}
		for round := range 3 {
			for i := range 8 {
				key := fmt.Sprint(i)
				pid := mustDo(t, p, time.Millisecond, Key(key))
				if round > 0 && homes[key] != pid {
					t.Errorf("key %s moved from %d to %d", key, homes[key], pid)
				}
				homes[key] = pid
			}
		}
		if n := f.starts(); n != 4 {
			t.Errorf("%d workers for 8 keys, want all 4", n)
		}
	})
}

func TestHistogramQuantilesAreAtMostAnEighthTooHigh(t *testing.T) {
	var h Histogram
	for i := 1; i <= 1000; i++ {
		h.add(time.Duration(i) * 100 * time.Microsecond)
	}
	for _, q := range []float64{0.01, 0.5, 0.9, 0.99, 1} {
		exact := time.Duration(q*1000) * 100 * time.Microsecond
		if got := h.Quantile(q); got < exact || got > exact+exact/8 {
			t.Errorf("quantile %v is %v, want %v to %v", q, got, exact, exact+exact/8)
		}
	}
	if h.Count != 1000 || h.Max != 100*time.Millisecond || h.Mean() != 50050*time.Microsecond {
		t.Errorf("%v, mean %v", h, h.Mean())
	}
	var few Histogram
	for _, d := range []time.Duration{1, 1, 1, 2} {
		few.add(d * time.Second)
	}
	if got := few.Quantile(0.99); got != 2*time.Second {
		t.Errorf("of four values 99 in 100 do not exceed %v, want the largest", got)
	}
	if empty := (Histogram{}); empty.Quantile(0.5) != 0 || empty.Mean() != 0 {
		t.Error("an empty histogram has figures")
	}
	for _, d := range []time.Duration{-1, 0, 1, 1023, 1024, 1025, time.Hour, 1 << 62} {
		var one Histogram
		if one.add(d); one.Quantile(0.5) != max(d, 0) {
			t.Errorf("the median of %v alone is %v", d, one.Quantile(0.5))
		}
	}
}

func TestHistogramBucketsAreWithoutGaps(t *testing.T) {
	for i := range powers*bucketsPerPower - 1 {
		if end := bucketEnd(i); bucketOf(end) != i || bucketOf(end+1) != i+1 {
			t.Fatalf("bucket %d ends with %v, which is in %d, and the next in %d", i, end, bucketOf(end), bucketOf(end+1))
		}
	}
}
