package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/detached-workers/unref/transport"
)

// noMethod says that a worker has no such method, and which it has.
func noMethod(worker, method string, methods []transport.MethodInfo) string {
	var names []string
	for _, m := range methods {
		if !strings.HasPrefix(m.Name, transport.ReservedPrefix) || strings.HasPrefix(method, transport.ReservedPrefix) {
			names = append(names, m.Name)
		}
	}
	text := fmt.Sprintf("worker %s has no method %q", printable(worker), method)
	switch best := similar(method, names); {
	case len(best) > 0:
		return text + "; did you mean " + strings.Join(best, " or ") + "?"
	case len(names) == 0:
		return text + ", and no other"
	default:
		return text + "; it has " + strings.Join(names, ", ")
	}
}

// similar returns the names that may have been meant.
func similar(name string, names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(candidate string) bool {
		a, b := strings.ToLower(name), strings.ToLower(candidate)
		return distance(a, b) > max(1, len(name)/2) && !strings.HasPrefix(b, a) && !strings.HasSuffix(b, "."+a)
	})
}

// distance returns how many characters have to be inserted, removed or replaced to make one text the other.
func distance(a, b string) int {
	last := make([]int, len(b)+1) // for the part of a so far, and each beginning of b
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		diagonal := last[0]
		last[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = last[j+1]
			last[j+1] = min(replaced, last[j]+1, diagonal+1)
		}
	}
	return last[len(b)]
}
