package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/detached-workers/unref/cmd/demo-worker/api"
)

// reporter writes what rounds have found to standard output.
type reporter struct {
	out  io.Writer
	json bool
	last []byte // the text that was written last
}

// report writes a round. As text it is written only if it differs from the one before, as a JSON object always.
func (p *reporter) report(r *result) error {
	if p.json {
		return json.NewEncoder(p.out).Encode(r.document())
	}
	text := r.text()
	if bytes.Equal(text, p.last) {
		return nil
	}
	p.last = text
	_, err := p.out.Write(text)
	return err
}

// text returns the diagnostics as compilers print them, each once, in the order of packages.
func (r *result) text() []byte {
	var b bytes.Buffer
	printed := make(map[string]bool)
	for _, e := range r.events() {
		for _, d := range e.Diagnostics {
			if line := d.String(); !printed[line] {
				printed[line] = true
				fmt.Fprintln(&b, line)
			}
		}
		if e.Dropped > 0 {
			fmt.Fprintf(&b, "too many errors: %d more in %s\n", e.Dropped, e.ID)
		}
	}
	return b.Bytes()
}

// document is a round for machines. Times are in milliseconds.
type document struct {
	Round     int           `json:"round"`
	Warmth    string        `json:"warmth"`
	ElapsedMS float64       `json:"elapsed_ms"`
	Workers   int           `json:"workers"`
	Arrivals  []arrival     `json:"arrivals"`
	Listed    bool          `json:"listed"`
	Reason    string        `json:"reason,omitempty"`
	Checked   int           `json:"checked"`
	Reused    int           `json:"reused"`
	Skipped   int           `json:"skipped"`
	Errors    int           `json:"errors"`
	Deps      dependencies  `json:"dependencies"`
	Packages  []jsonPackage `json:"packages"`
}

type dependencies struct {
	Checked int `json:"checked"`
	Reused  int `json:"reused"`
}

type jsonPackage struct {
	ID          string           `json:"id"`
	Status      string           `json:"status"`
	Target      bool             `json:"target"`
	SkippedFor  string           `json:"skipped_for,omitempty"`
	ElapsedMS   float64          `json:"elapsed_ms"`
	Diagnostics []jsonDiagnostic `json:"diagnostics"`
	Dropped     int              `json:"dropped,omitempty"`
}

type jsonDiagnostic struct {
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Message string `json:"message"`
}

// document returns the round for machines.
func (r *result) document() document {
	diagnostics, _ := r.errors()
	d := document{
		Round:     r.round,
		Warmth:    r.warmth(),
		ElapsedMS: milliseconds(r.elapsed),
		Workers:   r.workers,
		Arrivals:  append([]arrival{}, r.arrivals...),
		Listed:    r.plan.Listed,
		Reason:    r.plan.Reason,
		Checked:   len(r.with(checked)),
		Reused:    len(r.with(reused)),
		Skipped:   len(r.with(skipped)),
		Errors:    diagnostics,
		Deps:      dependencies{r.deps.DependenciesChecked, r.deps.DependenciesReused},
		Packages:  []jsonPackage{},
	}
	for _, e := range r.events() {
		d.Packages = append(d.Packages, jsonPackage{
			ID: e.ID, Status: status(e), Target: r.targets[e.ID], SkippedFor: e.SkippedFor,
			ElapsedMS: milliseconds(e.Elapsed), Diagnostics: jsonDiagnostics(e.Diagnostics), Dropped: e.Dropped,
		})
	}
	return d
}

func jsonDiagnostics(list []api.Diagnostic) []jsonDiagnostic {
	converted := make([]jsonDiagnostic, 0, len(list))
	for _, d := range list {
		converted = append(converted, jsonDiagnostic(d))
	}
	return converted
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// summary returns the round in one line.
func (r *result) summary() string {
	text := fmt.Sprintf("%s: %s in %s with %s: %d checked, %d reused",
		r.warmth(), count(r.total(), "package"), short(r.elapsed), count(r.workers, "worker"), len(r.with(checked)), len(r.with(reused)))
	if n := len(r.with(skipped)); n > 0 {
		text += fmt.Sprintf(", %d skipped because of errors in what they import", n)
	}
	diagnostics, packages := r.errors()
	if diagnostics == 0 {
		return text + "; no errors"
	}
	return text + fmt.Sprintf("; %s in %s", count(diagnostics, "error"), count(packages, "package"))
}

// comparison says what warm workers have saved, or how long they took if they were warm from the first round on. There are
// at least two rounds.
func comparison(rounds []*result) string {
	first := rounds[0]
	later := rounds
	if first.warmth() == cold {
		later = rounds[1:]
	}
	var times []time.Duration
	for _, r := range later {
		times = append(times, r.elapsed)
	}
	slices.Sort(times)
	median := times[len(times)/2]
	text := "warm " + short(median)
	if len(times) > 1 {
		text += fmt.Sprintf(" (median of %d)", len(times))
	}
	if first.warmth() != cold {
		return text
	}
	return fmt.Sprintf("cold %s, %s: %.1f times as fast", short(first.elapsed), text, float64(first.elapsed)/float64(max(1, median)))
}

// short returns a duration with three digits or so.
func short(d time.Duration) string {
	switch {
	case d >= time.Minute:
		return d.Round(time.Second).String()
	case d >= time.Second:
		return fmt.Sprintf("%.2f s", d.Seconds())
	case d >= 100*time.Millisecond:
		return fmt.Sprintf("%.0f ms", milliseconds(d))
	}
	return fmt.Sprintf("%.1f ms", milliseconds(d))
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// several returns the first of a list of names, and how many more there are.
func several(names []string, most int) string {
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
