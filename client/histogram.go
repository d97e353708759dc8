package client

import (
	"fmt"
	"math"
	"math/bits"
	"time"
)

// The buckets of a histogram: each power of two of nanoseconds from the first on
// is cut in so many, the last one takes what is longer.
const (
	bucketsPerPower = 8
	firstPower      = 10 // 1.024 us
	powers          = 36 // up to 19 hours
)

// Histogram counts durations. Its figures are exact but for the quantiles, which
// are at most an eighth too high.
type Histogram struct {
	Count uint64
	Sum   time.Duration
	Max   time.Duration

	buckets [powers * bucketsPerPower]uint64
}

func (h *Histogram) add(d time.Duration) {
	d = max(d, 0)
	h.Count++
	h.Sum += d
	h.Max = max(h.Max, d)
	h.buckets[bucketOf(d)]++
}

func bucketOf(d time.Duration) int {
	if d < 1<<firstPower {
		return 0
	}
	power := bits.Len64(uint64(d)) - 1
	part := int(d>>(power-3)) - bucketsPerPower
	return min((power-firstPower)*bucketsPerPower+part, powers*bucketsPerPower-1)
}

// bucketEnd returns the longest duration in a bucket.
func bucketEnd(i int) time.Duration {
	power, part := firstPower+i/bucketsPerPower, i%bucketsPerPower
	return time.Duration(bucketsPerPower+part+1)<<(power-3) - 1
}

// String returns the number, the median, the 99th percentile and the maximum.
func (h Histogram) String() string {
	return fmt.Sprintf("%d, p50 %v, p99 %v, max %v", h.Count, h.Quantile(0.5), h.Quantile(0.99), h.Max)
}

// Mean returns the mean duration, 0 if there is none.
func (h Histogram) Mean() time.Duration {
	if h.Count == 0 {
		return 0
	}
	return h.Sum / time.Duration(h.Count)
}

// Quantile returns a duration that the part q of all, from 0 to 1, do not
// exceed: 0.5 asks for the median. It is 0 if there is none.
func (h Histogram) Quantile(q float64) time.Duration {
	if h.Count == 0 {
		return 0
	}
	rank := uint64(math.Ceil(max(0, min(q, 1)) * float64(h.Count)))
	rank = max(1, min(rank, h.Count))
	var seen uint64
	for i, n := range h.buckets[:len(h.buckets)-1] {
		if seen += n; seen >= rank {
			return min(bucketEnd(i), h.Max)
		}
	}
	return h.Max // the last bucket has no end
}
