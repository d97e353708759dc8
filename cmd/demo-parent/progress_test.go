package main

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/detached-workers/unref/cmd/demo-worker/api"
)

func TestTheBarFitsIntoAnyWidth(t *testing.T) {
	p := progress{done: 34, total: 120, now: []string{"example.com/a/long/path/für/a/package", "net/http [net/http.test]"}}
	for width := range 200 {
		bar := p.bar(width)
		if n := utf8.RuneCountInString(bar); n > width {
			t.Errorf("in %d columns it has %d: %q", width, n, bar)
		}
		if strings.ContainsAny(bar, "\r\n\x1b") {
			t.Errorf("it has control characters: %q", bar)
		}
	}
}

func TestTheBarShowsCountsAndPackages(t *testing.T) {
	for _, test := range []struct {
		name  string
		p     progress
		width int
		want  string
	}{
		{"no packages yet", progress{phase: "listing packages"}, 79, "listing packages"},
		{"cut phase", progress{phase: "listing packages"}, 7, "listing"},
		{"nothing done", progress{total: 4}, 18, "[......] 0/4"},
		{"half", progress{done: 2, total: 4, now: []string{"a"}}, 18, "[###...] 2/4 a"},
		{"several", progress{done: 2, total: 4, now: []string{"a", "b", "c [c.test]"}}, 20, "[###....] 2/4 c +2"},
		{"all done", progress{done: 4, total: 4}, 18, "[######] 4/4"},
		{"more than all", progress{done: 5, total: 4}, 18, "[######] 5/4"},
		{"too narrow", progress{done: 2, total: 4, now: []string{"a"}}, 8, "2/4"},
		{"no width", progress{done: 2, total: 4}, 0, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := test.p.bar(test.width); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestProgressFollowsTheEvents(t *testing.T) {
	p := progress{total: 3}
	for _, e := range []api.CheckEvent{
		{Kind: api.EventStarted, ID: "a"},
		{Kind: api.EventStarted, ID: "b"},
		{Kind: api.EventDone, ID: "a"},
		{Kind: api.EventDone, ID: "never begun"},
		{Kind: api.EventSummary},
	} {
		p.add(e)
	}
	p.done = 2
	if got, want := p.line(), "2 of 3 packages b"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
