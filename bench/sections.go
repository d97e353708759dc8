package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/detached-workers/unref/bench/harness"
	"github.com/detached-workers/unref/bench/report"
)

// measuring measures a program once.
type measuring func(ctx context.Context, b *bench, p *program, m *report.Measurement) (harness.Metrics, error)

// section is one thing to measure.
type section struct {
	name string
	most int // runs; 0 means as many as are asked for

	// takes is whether a program can be measured. Nil means every system.
	takes func(p *program) bool

	// one measures a program once. What is no metric goes into the measurement.
	one measuring

	// all, if not nil, measures all programs at the same time instead.
	all func(ctx context.Context, b *bench, programs []*program) error
}

var sections = []section{
	{name: report.Latency, one: driven(report.Latency)},
	{name: report.Throughput, one: driven(report.Throughput)},
	{name: report.Bulk, one: driven(report.Bulk)},
	{name: report.Cold, takes: everything, one: cold},
	{name: report.CLI, takes: attaching, one: cli},
	{name: report.Exit, one: exits},
	{name: report.Memory, one: idleMemory},
	{name: report.Idle, most: 1, all: idle},
	{name: report.Scale, most: 3, takes: scaling, one: scale},
}

func everything(*program) bool { return true }

func attaching(p *program) bool { return p.isHello() || p.desc.Attach }

func scaling(p *program) bool { return p.most > 0 }

func (s *section) applies(p *program) bool {
	if p.calls && s.name != report.Latency && s.name != report.Throughput {
		return false
	}
	if s.takes == nil {
		return !p.isHello()
	}
	return s.takes(p)
}

// section measures one section: run 1 of every system, then run 2 of every
// system, and so on, each time beginning with another one, so that what
// disturbs the machine for a while disturbs all of them. A system that fails
// is noted; only the end of ctx ends the measuring.
func (b *bench) section(ctx context.Context, s section) error {
	var programs []*program
	for _, p := range b.programs {
		if s.applies(p) {
			programs = append(programs, p)
		}
	}
	if s.all != nil {
		b.logf("%s", s.name)
		return s.all(ctx, b, programs)
	}
	for run := range b.runsOf(s) {
		b.logf("%s, run %d of %d", s.name, run+1, b.runsOf(s))
		for i := range programs {
			b.once(ctx, s, programs[(i+run)%len(programs)])
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
	return nil
}

func (b *bench) runsOf(s section) int {
	if s.most > 0 {
		return min(b.runs, s.most)
	}
	return b.runs
}

// once makes one run of one system.
func (b *bench) once(ctx context.Context, s section, p *program) {
	m := b.results.Measurement(s.name, p.name)
	metrics, err := s.one(ctx, b, p, m)
	if err != nil {
		b.logf("%s: %v", s.name, err)
		m.Note("", err.Error())
	}
	if len(metrics) > 0 {
		m.Runs = append(m.Runs, metrics)
	}
}

// full returns one of two amounts.
func (b *bench) full(full, quick int) int {
	if b.quick {
		return quick
	}
	return full
}

// ms is the driver's argument for how long to measure.
func (b *bench) ms() string { return "ms=" + strconv.Itoa(b.full(1000, 200)) }

// driven is a section that a driver measures by itself.
func driven(name string) measuring {
	return func(ctx context.Context, b *bench, p *program, m *report.Measurement) (harness.Metrics, error) {
		return b.drive(ctx, p, m, name, b.ms(), "warmup="+strconv.Itoa(b.full(2000, 200)))
	}
}

// cold measures starts, each in a process of its own.
func cold(ctx context.Context, b *bench, p *program, m *report.Measurement) (harness.Metrics, error) {
	var starts, processes []float64
	for range b.full(20, 5) {
		began := time.Now()
		metrics, err := b.coldStart(ctx, p, m)
		if err != nil {
			return nil, err
		}
		processes = append(processes, float64(time.Since(began)))
		starts = append(starts, metrics["start"])
	}
	metrics := spread("start", starts)
	maps.Copy(metrics, spread("process", processes))
	return metrics, nil
}

// coldStart measures one start; that of hello is measured by the floor.
func (b *bench) coldStart(ctx context.Context, p *program, m *report.Measurement) (harness.Metrics, error) {
	if p.isHello() {
		floor := &program{contestant: contestant{name: report.Floor}, argv: []string{b.binary(report.Floor)}}
		return b.drive(ctx, floor, m, "spawn", "program="+p.argv[0])
	}
	return b.drive(ctx, p, m, report.Cold)
}

// cli measures short-lived processes that call a warm worker. The first warms
// up.
func cli(ctx context.Context, b *bench, p *program, _ *report.Measurement) (harness.Metrics, error) {
	var args []string
	if !p.isHello() {
		h, err := b.hold(ctx, p, 1)
		if err != nil {
			return nil, err
		}
		defer h.close()
		args = []string{"cli", h.Workers[0].Address}
	}
	var processes []float64
	for range b.full(20, 5) + 1 {
		began := time.Now()
		if _, _, err := b.output(ctx, p, nil, args...); err != nil {
			return nil, err
		}
		processes = append(processes, float64(time.Since(began)))
	}
	return spread("process", processes[1:]), nil
}

// spread returns the median and the 99th percentile of values.
func spread(name string, values []float64) harness.Metrics {
	slices.Sort(values)
	return harness.Metrics{name + ".p50": report.Median(values), name + ".p99": harness.Quantile(values, 0.99)}
}

// scale measures a parent with more and more workers. Sizes for which there is
// not enough memory are left out.
func scale(ctx context.Context, b *bench, p *program, m *report.Measurement) (harness.Metrics, error) {
	all := make(harness.Metrics)
	for _, n := range report.Sizes {
		if n > b.full(p.most, 10) {
			break
		}
		if need := n * memoryOfOne; available() < need {
			m.Note(report.Sized(n, ""), fmt.Sprintf("%d workers may need %d MB, which are not free", n, need>>20))
			break
		}
		metrics, err := b.drive(ctx, p, m, report.Scale, "workers="+strconv.Itoa(n), b.ms())
		if err != nil {
			return all, err
		}
		for name, value := range metrics {
			all[report.Sized(n, name)] = value
		}
	}
	return all, nil
}
