package client

import "container/list"

// Candidate is a worker as a [Strategy] sees it.
type Candidate struct {
	Slot   int  // number of its slot, from 0
	Places int  // taken by calls and leases, at most [PoolConfig.CallsPerWorker]
	Calls  int  // that it has been given since it was started
	Free   bool // it can be given a call now

	// Outdated says that the worker is to be replaced, after a [Pool.Reload] or
	// for another reason: it is better given no further keys.
	Outdated bool
}

// What Pick returns if it chooses no worker. Either way it is asked again when
// something has changed.
const (
	PickNone = -1 // another worker would do, if the pool may start one
	PickWait = -2 // it has to be one of those that are there
)

// Strategy chooses the worker for a call. A strategy belongs to one pool, which
// calls it with its lock held: it must be quick, and must not use the pool. It is
// called from one goroutine at a time.
type Strategy interface {
	// Pick returns the index of a worker that is free, [PickNone] or [PickWait].
	// key is the call's, see [Key], empty if it has none. workers are those that
	// serve, at least one, in the order of their slots, free or not; the slice
	// is valid during the call only. canGrow is whether the pool has fewer than
	// Max workers.
	Pick(key string, workers []Candidate, canGrow bool) int
}

// StrategyFunc makes a function a [Strategy].
type StrategyFunc func(key string, workers []Candidate, canGrow bool) int

// Pick calls f.
func (f StrategyFunc) Pick(key string, workers []Candidate, canGrow bool) int {
	return f(key, workers, canGrow)
}

// LeastBusy chooses the worker with the fewest calls in flight, of several the
// one with the lowest slot. It is the default.
func LeastBusy() Strategy {
	return StrategyFunc(func(_ string, workers []Candidate, _ bool) int {
		return best(workers, func(a, b *Candidate) bool { return a.Places < b.Places })
	})
}

// InOrder chooses the first worker that is free: few are kept hot, and the others
// become idle and leave.
func InOrder() Strategy {
	return StrategyFunc(func(_ string, workers []Candidate, _ bool) int {
		return best(workers, func(_, _ *Candidate) bool { return false })
	})
}

// best returns the first free worker that no other is better than, [PickNone] if
// none is free. Any that is not outdated is better than one that is.
func best(workers []Candidate, better func(a, b *Candidate) bool) int {
	found := PickNone
	for i := range workers {
		w := &workers[i]
		switch {
		case !w.Free:
		case found == PickNone || workers[found].Outdated && !w.Outdated:
			found = i
		case workers[found].Outdated == w.Outdated && better(w, &workers[found]):
			found = i
		}
	}
	return found
}

// RoundRobin chooses one worker after the other.
func RoundRobin() Strategy {
	last := -1 // the slot that was chosen last
	return StrategyFunc(func(_ string, workers []Candidate, _ bool) int {
		i := best(workers, func(a, b *Candidate) bool { return a.Slot > last && b.Slot <= last })
		if i >= 0 {
			last = workers[i].Slot
		}
		return i
	})
}

// maxKeys is how many keys [Sticky] remembers.
const maxKeys = 1 << 16

// Sticky gives all calls with the same [Key] to the same worker, as long as that
// lives: they wait for it though others are free. A new key goes to the worker
// with the fewest keys, or to a new one as long as the pool may grow and all
// others have keys. When a worker leaves or dies each of its keys moves once, when
// it comes next. Calls without a key go to the least busy worker. The 65,536 keys
// that were used last are remembered.
func Sticky() Strategy {
	return &sticky{homes: make(map[string]*list.Element), keys: make(map[int]int)}
}

type sticky struct {
	homes map[string]*list.Element
	used  list.List   // of home, the one that was used last at the front
	keys  map[int]int // how many, by slot
}

// home says where a key lives.
type home struct {
	key  string
	slot int
}

func (s *sticky) Pick(key string, workers []Candidate, canGrow bool) int {
	if key == "" {
		return LeastBusy().Pick(key, workers, canGrow)
	}
	if i := s.find(key, workers); i >= 0 {
		if workers[i].Free {
			return i
		}
		return PickWait
	}
	i := best(workers, func(a, b *Candidate) bool { return s.keys[a.Slot] < s.keys[b.Slot] })
	if canGrow && (i < 0 || s.keys[workers[i].Slot] > 0) {
		return PickNone
	}
	if i >= 0 {
		s.settle(key, workers[i].Slot)
	}
	return i
}

// find returns the index of the worker that has the key, or -1 if there is none
// or if the key should move.
func (s *sticky) find(key string, workers []Candidate) int {
	e := s.homes[key]
	if e == nil {
		return -1
	}
	current := false
	found := -1
	for i := range workers {
		if workers[i].Slot == e.Value.(home).slot {
			found = i
		}
		current = current || workers[i].Free && !workers[i].Outdated
	}
	if found < 0 || workers[found].Outdated && current {
		s.forget(e)
		return -1
	}
	s.used.MoveToFront(e)
	return found
}

func (s *sticky) settle(key string, slot int) {
	s.homes[key] = s.used.PushFront(home{key, slot})
	s.keys[slot]++
	if s.used.Len() > maxKeys {
		s.forget(s.used.Back())
	}
}

func (s *sticky) forget(e *list.Element) {
	h := s.used.Remove(e).(home)
	delete(s.homes, h.key)
	if s.keys[h.slot]--; s.keys[h.slot] == 0 {
		delete(s.keys, h.slot)
	}
}
