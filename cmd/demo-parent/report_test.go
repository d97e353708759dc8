package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/cmd/demo-worker/api"
)

// found is a result with a bit of everything.
func found() *result {
	plan := &api.PlanReply{Listed: true, Reason: "first", Packages: []api.Package{
		{ID: "dep"}, {ID: "a", Target: true}, {ID: "b", Target: true}, {ID: "c", Target: true},
	}}
	r := newResult(1, plan)
	r.workers, r.elapsed = 2, 1234567*time.Microsecond
	r.arrivals = []arrival{
		{Pid: 7, Shared: true, Decision: client.Decision{Action: client.Started, Reason: "no worker has this name"}},
		{Pid: 8, Shared: true, Decision: client.Decision{Action: client.Started, Reason: "no worker has this name"}},
	}
	first := api.Diagnostic{File: "./b.go", Line: 1, Column: 2, Message: "first"}
	second := api.Diagnostic{File: "./b.go", Line: 3, Message: "second\n\tgoes on"}
	for _, e := range []api.CheckEvent{
		{Kind: api.EventStarted, ID: "b"},
		{Kind: api.EventDone, ID: "b", Diagnostics: []api.Diagnostic{first, second}, Dropped: 7},
		{Kind: api.EventDone, ID: "a", Reused: true, Diagnostics: []api.Diagnostic{first}},
		{Kind: api.EventDone, ID: "dep", Diagnostics: []api.Diagnostic{{Message: "no position"}}},
		{Kind: api.EventDone, ID: "dep", Diagnostics: []api.Diagnostic{{Message: "no position"}}},
		{Kind: api.EventDone, ID: "c", SkippedFor: "dep"},
		{Kind: api.EventSummary, Summary: &api.Summary{DependenciesChecked: 3, DependenciesReused: 4}},
		{Kind: api.EventSummary, Summary: &api.Summary{DependenciesChecked: 1}},
	} {
		r.add(e)
	}
	return r
}

func TestDiagnosticsAreInTheOrderOfPackagesAndEachIsPrintedOnce(t *testing.T) {
	want := "./b.go:1:2: first\n./b.go:3: second\n\tgoes on\ntoo many errors: 7 more in b\nno position\n"
	if got := string(found().text()); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestTheSummaryCountsEverything(t *testing.T) {
	want := "cold: 3 packages in 1.23 s with 2 workers: 1 checked, 1 reused, 1 skipped because of errors in what they import; 10 errors in 3 packages"
	if got := found().summary(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	clean := newResult(2, &api.PlanReply{Packages: []api.Package{{ID: "a", Target: true}}})
	clean.workers = 1
	clean.add(api.CheckEvent{Kind: api.EventDone, ID: "a", Reused: true})
	want = "warm: 1 package in 0.0 ms with 1 worker: 0 checked, 1 reused; no errors"
	if got := clean.summary(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestDiagnosticsMakeTheOutcome(t *testing.T) {
	if err := found().outcome(); !errors.Is(err, errFound) {
		t.Errorf("with diagnostics it is %v", err)
	}
	if err := newResult(1, &api.PlanReply{}).outcome(); err != nil {
		t.Errorf("without diagnostics it is %v", err)
	}
}

func TestTextIsPrintedAgainOnlyIfItChanged(t *testing.T) {
	var out bytes.Buffer
	p := reporter{out: &out}
	for range 3 {
		if err := p.report(found()); err != nil {
			t.Fatal(err)
		}
	}
	if got := out.String(); got != string(found().text()) {
		t.Errorf("got\n%s", got)
	}
}

func TestJSONHasAnObjectForEachRound(t *testing.T) {
	var out bytes.Buffer
	p := reporter{out: &out, json: true}
	for range 2 {
		if err := p.report(found()); err != nil {
			t.Fatal(err)
		}
	}
	want := `{"round":1,"warmth":"cold","elapsed_ms":1234.567,"workers":2,` +
		`"arrivals":[{"pid":7,"shared":true,"action":"started","reason":"no worker has this name"},` +
		`{"pid":8,"shared":true,"action":"started","reason":"no worker has this name"}],"listed":true,"reason":"first",` +
		`"checked":1,"reused":1,"skipped":1,"errors":10,"dependencies":{"checked":4,"reused":4},"packages":[` +
		`{"id":"a","status":"reused","target":true,"elapsed_ms":0,"diagnostics":[{"file":"./b.go","line":1,"column":2,"message":"first"}]},` +
		`{"id":"b","status":"checked","target":true,"elapsed_ms":0,"diagnostics":[{"file":"./b.go","line":1,"column":2,"message":"first"},` +
		`{"file":"./b.go","line":3,"message":"second\n\tgoes on"}],"dropped":7},` +
		`{"id":"c","status":"skipped","target":true,"skipped_for":"dep","elapsed_ms":0,"diagnostics":[]},` +
		`{"id":"dep","status":"checked","target":false,"elapsed_ms":0,"diagnostics":[{"message":"no position"}]}]}` + "\n"
	if got := out.String(); got != strings.Repeat(want, 2) {
		t.Errorf("got\n%swant twice\n%s", got, want)
	}
}

func TestTheComparisonTakesTheMedianOfTheWarmRounds(t *testing.T) {
	var rounds []*result
	for i, elapsed := range []time.Duration{2 * time.Second, 90 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond} {
		rounds = append(rounds, &result{round: i + 1, workers: 1, elapsed: elapsed})
	}
	if got, want := comparison(rounds[1:]), "warm 20.0 ms (median of 3)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	rounds[0].arrivals = []arrival{{Pid: 1, Decision: client.Decision{Action: client.Started}}}
	if got, want := comparison(rounds), "cold 2.00 s, warm 20.0 ms (median of 3): 100.0 times as fast"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := comparison(rounds[:2]), "cold 2.00 s, warm 90.0 ms: 22.2 times as fast"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
