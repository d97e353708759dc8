package report

import (
	"fmt"
	"slices"
)

// tables are all parts of the report with figures.
var tables = slices.Concat([]table{
	{Latency, "Latency", "Echo of 64 B and of 64 KiB by one caller.", Floor, []column{
		metric("64 B, p50", "unary64.p50", nanoseconds),
		metric("64 B, p99", "unary64.p99", nanoseconds),
		metric("64 B, CPU of both", "unary64.cpu", nanoseconds),
		count("64 B, allocations", "unary64.allocs"),
		metric("64 KiB, p50", "unary64k.p50", nanoseconds),
		metric("64 KiB, p99", "unary64k.p99", nanoseconds),
		metric("64 KiB, CPU of both", "unary64k.cpu", nanoseconds),
		count("64 KiB, allocations", "unary64k.allocs"),
	}},
	{Throughput, "Throughput", "Echo of 64 B by 64 callers on one worker.", Floor, []column{
		more("calls", "calls.rate", perSecond),
		metric("p50", "calls.p50", nanoseconds),
		metric("p99", "calls.p99", nanoseconds),
		metric("CPU of both", "calls.cpu", nanoseconds),
	}},
	{Bulk, "Bulk", "Bytes that go one way, with as many back in an echo; and the greatest memory of both processes.", Floor, []column{
		more("1 MiB one-way", "push1m", bytesPerSecond),
		more("1 MiB echo", "echo1m", bytesPerSecond),
		more("64 MiB one-way", "push64m", bytesPerSecond),
		more("64 MiB echo", "echo64m", bytesPerSecond),
		metric("parent's peak", "parent.peak", bytesOf),
		metric("worker's peak", "worker.peak", bytesOf),
	}},
	{Cold, "Cold start", "From the beginning of the start to the first reply, and the whole process with the worker's end.", Hello, []column{
		metric("first reply, p50", "start.p50", nanoseconds),
		metric("first reply, p99", "start.p99", nanoseconds),
		metric("process, p50", "process.p50", nanoseconds),
		metric("process, p99", "process.p99", nanoseconds),
	}},
	{CLI, "Short-lived program", "A whole process that calls a warm worker once.", Hello, []column{
		metric("process, p50", "process.p50", nanoseconds),
		metric("process, p99", "process.p99", nanoseconds),
	}},
	{Exit, "Exit after the owner's SIGKILL", "How long a worker stays that waits, and one that computes. Missed are those that stay for 5 s.", "", []column{
		exit("idle", 0.50), exit("idle", 0.99), exit("idle", 1), total("idle, missed", "idle.missed"), tries("idle, kills", "idle.kills"),
		exit("busy", 0.50), exit("busy", 0.99), exit("busy", 1), total("busy, missed", "busy.missed"), tries("busy, kills", "busy.kills"),
	}},
	{Memory, "Memory", "One of 20 idle workers, and what it needs in its parent.", Floor, []column{
		metric("worker, RSS", "worker.rss", bytesOf),
		metric("worker, PSS", "worker.pss", bytesOf),
		metric("parent, memory", "parent.memory", bytesOf),
		count("parent, goroutines", "parent.goroutines"),
	}},
	{Idle, "Idle", "What an idle worker and its parent use in a minute. A tick is 10 ms of a processor.", "", []column{
		count("worker, ticks", "worker.ticks"),
		count("worker, context switches", "worker.switches"),
		count("parent, ticks", "parent.ticks"),
		count("parent, context switches", "parent.switches"),
	}},
}, scaleTables())

// exit is the column of a quantile of the exit times, 1 for the greatest.
func exit(state string, q float64) column {
	title := fmt.Sprintf("%s, p%.0f", state, 100*q)
	if q == 1 {
		title = state + ", max"
	}
	return column{title: title, format: nanoseconds, of: func(m *Measurement) (figure, bool) { return m.sampled(state, q) }}
}

// total is the column of the sum of a metric over all runs.
func total(title, name string) column {
	return column{title: title, format: number, of: func(m *Measurement) (figure, bool) { return m.total(name) }}
}

// tries is like total for a number that is neither good nor bad.
func tries(title, name string) column {
	c := total(title, name)
	c.better = neither
	return c
}

// scaleTables are one for each number of workers.
func scaleTables() []table {
	var all []table
	for _, n := range Sizes {
		name := func(metric string) string { return Sized(n, metric) }
		all = append(all, table{Scale, fmt.Sprintf("Scale: workers in one parent: %d", n), "Started 8 at a time; echo of 64 B to one at random.", Floor, []column{
			more("starts", name("start.rate"), perSecond),
			metric("p50", name("p50"), nanoseconds),
			metric("p99", name("p99"), nanoseconds),
			metric("parent, memory", name("parent.memory"), bytesOf),
			metric("end of all", name("shutdown"), nanoseconds),
		}})
	}
	return all
}
