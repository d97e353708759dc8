package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// nothing stands for what is not known or does not apply.
const nothing = "-"

// short returns a duration in its two greatest units: 0s, 12s, 3m05s, 4h07m, 5d02h.
func short(d time.Duration) string {
	const day = 24 * time.Hour
	switch d = max(d, 0).Truncate(time.Second); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	case d < day:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	default:
		return fmt.Sprintf("%dd%02dh", d/day, d%day/time.Hour)
	}
}

// size returns an amount of memory in three digits: 999B, 1.2K, 34M.
func size(bytes int64) string {
	value, unit := float64(bytes), 0
	for ; value >= 999.5 && unit < len("BKMGTPE")-1; unit++ {
		value /= 1024
	}
	if unit == 0 || value >= 9.95 {
		return fmt.Sprintf("%.0f%c", value, "BKMGTPE"[unit])
	}
	return fmt.Sprintf("%.1f%c", value, "BKMGTPE"[unit])
}

// count says how many there are of a thing.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// printable returns a text from elsewhere as one line that does nothing to a terminal.
func printable(text string) string {
	if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(text)
	}
	return text
}
