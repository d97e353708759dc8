package main

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/detached-workers/unref/cmd/demo-worker/api"
)

// result is what a round has found.
type result struct {
	round    int // counts from 1
	plan     *api.PlanReply
	workers  int       // that had something to do
	arrivals []arrival // workers that have come in the course of the round
	elapsed  time.Duration

	targets  map[string]bool           // by ID
	packages map[string]api.CheckEvent // the done events by ID, with those of packages that are no targets
	deps     api.Summary               // counts dependencies
}

func newResult(round int, plan *api.PlanReply) *result {
	r := &result{
		round:    round,
		plan:     plan,
		targets:  make(map[string]bool),
		packages: make(map[string]api.CheckEvent),
	}
	for _, id := range plan.Targets() {
		r.targets[id] = true
	}
	return r
}

// add takes an event. Two workers may report the same package if it is no target; it counts once.
func (r *result) add(e api.CheckEvent) {
	switch e.Kind {
	case api.EventDone:
		if known, ok := r.packages[e.ID]; !ok || known.Reused {
			r.packages[e.ID] = e
		}
	case api.EventSummary:
		r.deps.DependenciesChecked += e.Summary.DependenciesChecked
		r.deps.DependenciesReused += e.Summary.DependenciesReused
	}
}

// total returns the number of targets.
func (r *result) total() int { return len(r.targets) }

// done returns the number of targets that have a result.
func (r *result) done() int {
	n := 0
	for id := range r.packages {
		if r.targets[id] {
			n++
		}
	}
	return n
}

// events returns what became of the packages, in the order of their IDs.
func (r *result) events() []api.CheckEvent {
	return slices.SortedFunc(maps.Values(r.packages), func(a, b api.CheckEvent) int { return cmp.Compare(a.ID, b.ID) })
}

// What can become of a package.
const (
	checked = "checked"
	reused  = "reused"
	skipped = "skipped" // because a package that it depends on has errors
)

// status returns what became of a package.
func status(e api.CheckEvent) string {
	switch {
	case e.SkippedFor != "":
		return skipped
	case e.Reused:
		return reused
	}
	return checked
}

// with returns the IDs of the targets with this status, in order.
func (r *result) with(wanted string) []string {
	var ids []string
	for _, e := range r.events() {
		if r.targets[e.ID] && status(e) == wanted {
			ids = append(ids, e.ID)
		}
	}
	return ids
}

// errors returns the number of diagnostics, those included that the worker has dropped, and of packages that have some.
func (r *result) errors() (diagnostics, packages int) {
	seen := make(map[string]bool) // several variants of a package can have the same
	for _, e := range r.events() {
		n := e.Dropped
		for _, d := range e.Diagnostics {
			if text := d.String(); !seen[text] {
				seen[text] = true
				n++
			}
		}
		if n > 0 {
			diagnostics += n
			packages++
		}
	}
	return diagnostics, packages
}

// warmth returns the state in which the workers were.
func (r *result) warmth() string { return warmth(r.workers, r.arrivals) }
