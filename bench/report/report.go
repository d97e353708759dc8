package report

import (
	"cmp"
	"fmt"
	"strings"
)

// Rows with a part of their own.
const (
	Floor = "raw-unix" // what everything is compared with
	Unref = "unref"
	Hello = "hello" // what starts are compared with
)

// The sections.
const (
	Latency    = "latency"
	Throughput = "throughput"
	Bulk       = "bulk"
	Cold       = "cold"
	CLI        = "cli"
	Exit       = "exit"
	Memory     = "memory"
	Idle       = "idle"
	Scale      = "scale"
)

// Sizes are the numbers of workers in the section [Scale].
var Sizes = []int{1, 10, 100, 1000}

// Sized returns the name of a metric with n workers.
func Sized(n int, metric string) string { return fmt.Sprintf("%d.%s", n, metric) }

// Markdown returns the whole report.
func Markdown(r *Results) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# unref and others\n\n%s\n\n%s\n", cell(r.Environment.String()), legend)
	for _, t := range tables {
		b.WriteString(t.markdown(r))
	}
	b.WriteString(goalsMarkdown(r))
	b.WriteString(systemsMarkdown(r))
	return b.String()
}

const legend = "Each figure is the median of the runs, with the least and the greatest in brackets where there are several, and\n" +
	"with how many times that of the row in italics it is. The best is bold, the yardsticks raw-unix and hello aside."

// String is the report's line about where and how it was measured.
func (e Environment) String() string {
	return fmt.Sprintf("%s, %d cores, %s, %s, node %s; GOMAXPROCS=%d; runs: %d; load before: %s; %s; commit %s; `%s`",
		e.CPU, e.Cores, e.Kernel, e.Go, cmp.Or(e.Node, "not installed"), e.Procs, e.Runs, cmp.Or(e.Load, "unknown"), e.Date, cmp.Or(e.Commit, "unknown"), e.Command)
}

func systemsMarkdown(r *Results) string {
	var b strings.Builder
	b.WriteString("\n## Systems\n\n| system | version | configuration |\n|---|---|---|\n")
	for _, s := range r.Systems {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", s.Name, cell(s.Version), cell(s.Config))
	}
	return b.String()
}

// cell makes text safe in a table's cell.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;").Replace(text)
}
