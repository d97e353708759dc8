package typecheck

import (
	"cmp"
	"go/types"
	"maps"
	"slices"
)

// store is what a checker keeps of packages, by key. The zero value is ready.
type store struct {
	exports kept[*export]
	results kept[*result]
}

// export is what other packages can see of a package.
type export struct {
	types *types.Package // nil if there is a culprit
	// culprit is the ID of the package whose errors are the reason why this one is of no use to others: itself or one
	// that it depends on; empty if it is of use.
	culprit  string
	findings // in the declarations, and, if it was made by a full check, in all of the package
	size     int64
	height   int // above all that it was made from
}

// weight is what counts against [Checker.MaxSource].
func (e *export) weight() int64 { return e.size + 1024 }

// result is what a full check of a package told.
type result struct {
	findings
	skippedFor string // the culprit, if the package was not checked; otherwise empty
}

// kept is a map that knows when each of its values was last used.
type kept[T any] struct {
	clock  int
	values map[sum]*keptValue[T]
}

type keptValue[T any] struct {
	value T
	used  int // clock at the last use
}

// export returns what is known under a key, or nil.
func (s *store) export(key sum) *export { return s.exports.get(key) }

// result returns what is known under a key, or nil.
func (s *store) result(key sum) *result { return s.results.get(key) }

func (k *kept[T]) get(key sum) T {
	if v := k.values[key]; v != nil {
		v.used = k.clock
		return v.value
	}
	var none T
	return none
}

func (k *kept[T]) put(key sum, value T) {
	if k.values == nil {
		k.values = make(map[sum]*keptValue[T])
	}
	k.values[key] = &keptValue[T]{value, k.clock}
}

// byAge returns the keys, those that were not used for longest first; among equals the order is that of less.
func (k *kept[T]) byAge(less func(a, b T) int) []sum {
	return slices.SortedFunc(maps.Keys(k.values), func(a, b sum) int {
		x, y := k.values[a], k.values[b]
		return cmp.Or(cmp.Compare(x.used, y.used), less(x.value, y.value))
	})
}

const (
	defaultMaxSource = 128 << 20
	// maxResults bounds the number of results: most have no diagnostics and take some 200 bytes.
	maxResults = 1 << 15
)

// trim ends a run: it drops what was not used for longest until the rest is within the bounds. A run that uses a package
// looks up all that the package was made from, so those are never older, and of the same age they come later since they
// are lower: what is kept is always made from what is kept.
func (s *store) trim(maxSource int64) {
	switch {
	case maxSource == 0:
		maxSource = defaultMaxSource
	case maxSource < 0:
		maxSource = -1
	}
	var size int64
	for _, v := range s.exports.values {
		size += v.value.weight()
	}
	if size > maxSource {
		for _, key := range s.exports.byAge(func(a, b *export) int { return cmp.Compare(b.height, a.height) }) {
			if size <= maxSource {
				break
			}
			size -= s.exports.values[key].value.weight()
			delete(s.exports.values, key)
		}
	}
	if excess := len(s.results.values) - maxResults; excess > 0 {
		for _, key := range s.results.byAge(func(a, b *result) int { return 0 })[:excess] {
			delete(s.results.values, key)
		}
	}
	s.exports.clock++
	s.results.clock++
}
