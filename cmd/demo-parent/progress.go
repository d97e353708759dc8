package main

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/detached-workers/unref/cmd/demo-worker/api"
)

// progress is how far a check has come.
type progress struct {
	phase       string // what is going on while there are no packages yet
	done, total int
	now         []string // the packages that are being checked, the newest last
}

// add follows the events of a check.
func (p *progress) add(e api.CheckEvent) {
	switch e.Kind {
	case api.EventStarted:
		p.now = append(p.now, e.ID)
	case api.EventDone:
		p.now = slices.DeleteFunc(p.now, func(id string) bool { return id == e.ID })
	}
}

// line returns the progress in words.
func (p *progress) line() string {
	if p.total == 0 {
		return p.phase
	}
	return strings.TrimSpace(fmt.Sprintf("%d of %d packages %s", p.done, p.total, p.names()))
}

// The parts of a bar.
const (
	maxGauge = 30 // columns between the brackets
	minGauge = 5
)

// bar returns the progress as a gauge with words, in at most width columns.
func (p *progress) bar(width int) string {
	if p.total == 0 {
		return shorten(p.phase, width)
	}
	words := fmt.Sprintf(" %d/%d", p.done, p.total)
	room := width - len(words) - len("[]")
	if room < minGauge {
		return shorten(words[1:], width)
	}
	gauge := min(maxGauge, max(minGauge, room/2))
	filled := min(gauge, gauge*p.done/p.total)
	bar := "[" + strings.Repeat("#", filled) + strings.Repeat(".", gauge-filled) + "]" + words
	if names := p.names(); names != "" {
		bar += " " + names
	}
	return shorten(bar, width)
}

// names returns the package that was begun last, without the mark of a variant, and how many others there are.
func (p *progress) names() string {
	n := len(p.now)
	if n == 0 {
		return ""
	}
	path, _, _ := strings.Cut(p.now[n-1], " ")
	if n == 1 {
		return path
	}
	return fmt.Sprintf("%s +%d", path, n-1)
}

// shorten cuts text to a number of columns.
func shorten(text string, width int) string {
	if utf8.RuneCountInString(text) <= width {
		return text
	}
	return string([]rune(text)[:max(0, width)])
}
