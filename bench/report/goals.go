package report

import (
	"fmt"
	"strings"
)

// goal is a bound on a figure.
type goal struct {
	what   string
	better direction // higher: at least; lower: at most
	limit  float64
	format unit
	of     func(r *Results) (float64, bool)
}

// goals are what the project has set itself.
var goals = []goal{
	ratioGoal("64 B unary p50", Latency, "unary64.p50", Floor, lower, 3.0),
	ratioGoal("64 B unary p50", Latency, "unary64.p50", "go-plugin-netrpc", lower, 0.65),
	ratioGoal("64 B unary p50", Latency, "unary64.p50", "grpc-go", lower, 0.45),
	ratioGoal("calls of 64 callers", Throughput, "calls.rate", Floor, higher, 1.3),
	ratioGoal("calls of 64 callers", Throughput, "calls.rate", "grpc-go", higher, 8),
	ratioGoal("calls of 64 callers", Throughput, "calls.rate", "go-plugin-netrpc", higher, 4),
	ratioGoal("calls of 64 callers", Throughput, "calls.rate", "ttrpc", higher, 3),
	ratioGoal("calls of 64 callers", Throughput, "calls.rate", "execrpc", higher, 1.2),
	ratioGoal("64 KiB unary p50", Latency, "unary64k.p50", Floor, lower, 2.8),
	ratioGoal("64 MiB one-way", Bulk, "push64m", Floor, higher, 0.6),
	ratioGoal("64 MiB one-way", Bulk, "push64m", "grpc-go", higher, 2.0),
	ratioGoal("cold start", Cold, "start.p50", Hello, lower, 2.2),
	ratioGoal("cold start", Cold, "start.p50", "go-plugin-netrpc", lower, 0.42),
	unrefGoal("exit after SIGKILL, idle, p99", Exit, 5e6, nanoseconds, exit("idle", 0.99)),
	unrefGoal("exit after SIGKILL, busy, p99", Exit, 5e6, nanoseconds, exit("busy", 0.99)),
	unrefGoal("workers that stayed, idle", Exit, 0, number, total("", "idle.missed")),
	unrefGoal("workers that stayed, busy", Exit, 0, number, total("", "busy.missed")),
	ratioGoal("worker's RSS", Memory, "worker.rss", "go-plugin-netrpc", lower, 0.45),
	ratioGoal("parent's memory for a worker", Memory, "parent.memory", "go-plugin-netrpc", lower, 0.4),
	unrefGoal("goroutines in the parent for an idle worker", Memory, 4, number, count("", "parent.goroutines")),
	unrefGoal("ticks of an idle worker in a minute", Idle, 0, number, count("", "worker.ticks")),
	unrefGoal("context switches of an idle worker in a minute", Idle, 0, number, count("", "worker.switches")),
	{"unary p50 with 1000 workers, against 10", lower, 1.2, times, func(r *Results) (float64, bool) {
		m := r.find(Scale, Unref)
		return quotient(m, Sized(1000, "p50"), m, Sized(10, "p50"))
	}},
}

// ratioGoal bounds unref's figure in relation to another system's.
func ratioGoal(what, section, metric, against string, better direction, limit float64) goal {
	return goal{what + ", against " + against, better, limit, times, func(r *Results) (float64, bool) {
		return quotient(r.find(section, Unref), metric, r.find(section, against), metric)
	}}
}

// unrefGoal bounds unref's figure from above.
func unrefGoal(what, section string, limit float64, format unit, c column) goal {
	return goal{what, lower, limit, format, func(r *Results) (float64, bool) {
		f, ok := c.of(r.find(section, Unref))
		return f.median, ok
	}}
}

// quotient divides one figure by another, if there are both.
func quotient(m *Measurement, name string, by *Measurement, byName string) (float64, bool) {
	a, ok := m.metric(name)
	b, ok2 := by.metric(byName)
	return a.median / b.median, ok && ok2 && b.median != 0
}

// met is whether a figure is within the goal.
func (g *goal) met(v float64) bool { return !g.better.better(g.limit, v) }

func (g *goal) bound() string {
	if g.better == higher {
		return "at least " + g.format(g.limit)
	}
	return "at most " + g.format(g.limit)
}

func goalsMarkdown(r *Results) string {
	var b strings.Builder
	b.WriteString("\n## Goals\n\n| what | goal | figure | |\n|---|---|---:|---|\n")
	for _, g := range goals {
		figure, verdict := "–", "not measured"
		if v, ok := g.of(r); ok {
			figure, verdict = g.format(v), "**missed**"
			if g.met(v) {
				verdict = "met"
			}
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", g.what, g.bound(), figure, verdict)
	}
	return b.String()
}
