package harness

import "math"

// Quantile returns the smallest of the ascending values that the share q of
// them does not exceed; zero if there are none.
func Quantile[T ~int64 | ~float64](ascending []T, q float64) T {
	n := len(ascending)
	if n == 0 {
		return 0
	}
	return ascending[max(0, min(int(math.Ceil(q*float64(n)))-1, n-1))]
}
