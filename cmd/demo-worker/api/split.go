package api

import (
	"cmp"
	"math/bits"
	"slices"
	"strings"
)

// Targets returns the IDs of the packages that the patterns name, in dependency order.
func (r *PlanReply) Targets() []string {
	var ids []string
	for i := range r.Packages {
		if r.Packages[i].Target {
			ids = append(ids, r.Packages[i].ID)
		}
	}
	return ids
}

// Request returns the request that checks the targets: they and everything that they depend on. IDs that are not in the
// plan are left in the request, where the worker refuses them.
func (r *PlanReply) Request(targets ...string) CheckRequest {
	needed := make(map[string]bool)
	for _, id := range targets {
		needed[id] = true
	}
	var packages []Package
	for _, p := range slices.Backward(r.Packages) {
		if !needed[p.ID] {
			continue
		}
		packages = append(packages, p)
		for _, id := range p.Imports {
			needed[id] = true
		}
	}
	slices.Reverse(packages)
	return CheckRequest{Config: r.Config, Packages: packages, Targets: targets}
}

// Split divides the targets over at most n workers and returns a request for each; there are fewer requests where there
// are fewer packages. A package and its tests stay together, neighbours in the order of paths mostly do, and a small
// edit mostly moves nothing, so that the worker with index i finds what it checked the last time. n below 1 means 1.
func (r *PlanReply) Split(n int) []CheckRequest {
	groups := r.groups()
	total := 0
	for _, g := range groups {
		total += g.weight
	}
	n = max(1, min(n, len(groups)))
	shares := make([][]string, n)
	sum := 0
	for _, g := range groups {
		middle := sum + g.weight/2
		share := min(n-1, middle*n/max(1, total))
		shares[share] = append(shares[share], g.targets...)
		sum += g.weight
	}
	var requests []CheckRequest
	for _, targets := range shares {
		if len(targets) > 0 {
			requests = append(requests, r.Request(targets...))
		}
	}
	return requests
}

// group is a package with its tests.
type group struct {
	path    string
	targets []string
	weight  int
}

// groups returns the targets by path.
func (r *PlanReply) groups() []*group {
	byPath := make(map[string]*group)
	var groups []*group
	for i := range r.Packages {
		p := &r.Packages[i]
		if !p.Target {
			continue
		}
		path := strings.TrimSuffix(p.Path, "_test")
		g := byPath[path]
		if g == nil {
			g = &group{path: path}
			byPath[path] = g
			groups = append(groups, g)
		}
		g.targets = append(g.targets, p.ID)
		g.weight += weight(p.Bytes)
	}
	slices.SortStableFunc(groups, func(a, b *group) int { return cmp.Compare(a.path, b.path) })
	return groups
}

// weight rounds a size up to a power of two, so that an edit seldom changes it.
func weight(size int64) int {
	const least = 1024
	return 1 << bits.Len64(uint64(max(size, least)-1))
}
