package report

import (
	"fmt"
	"math"
)

// unit formats a value.
type unit func(v float64) string

// scaled returns a unit with steps, each so many times the one before.
func scaled(step float64, names ...string) unit {
	return func(v float64) string {
		i := 0
		for ; math.Abs(v) >= step && i < len(names)-1; i++ {
			v /= step
		}
		return digits(v) + " " + names[i]
	}
}

var (
	nanoseconds    = scaled(1000, "ns", "µs", "ms", "s")
	bytesOf        = scaled(1000, "B", "kB", "MB", "GB")
	bytesPerSecond = scaled(1000, "B/s", "kB/s", "MB/s", "GB/s")
)

func perSecond(v float64) string { return digits(v) + "/s" }

func number(v float64) string { return digits(v) }

// times formats a ratio.
func times(v float64) string { return fmt.Sprintf("%.2f×", v) }

// digits formats a value with three digits that count, thousands in groups.
func digits(v float64) string {
	switch abs := math.Abs(v); {
	case abs >= 1000:
		return grouped(int64(math.Round(v)))
	case abs >= 100 || v == math.Trunc(v):
		return fmt.Sprintf("%.0f", v)
	case abs >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func grouped(n int64) string {
	if n < 0 {
		return "-" + grouped(-n)
	}
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s %03d", grouped(n/1000), n%1000)
}
