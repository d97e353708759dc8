// Package report turns what was measured into tables, charts and a check of
// the goals.
//
// At any point in time [Results] holds everything that a report says, so that
// a report can be made again from the file that they were written to.
//
// Start with [Results], [Markdown] and [Charts].
package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"slices"

	"github.com/detached-workers/unref/bench/harness"
)

// Results is everything that one run of the benchmark measured.
type Results struct {
	Environment  Environment    `json:"environment"`
	Systems      []System       `json:"systems"` // in the order of the rows
	Measurements []*Measurement `json:"measurements"`
}

// Environment is where and how it was measured.
type Environment struct {
	Date    string `json:"date"`
	Command string `json:"command"`
	Commit  string `json:"commit,omitempty"` // of this repository; "" means not known
	CPU     string `json:"cpu"`
	Cores   int    `json:"cores"`
	Kernel  string `json:"kernel"`
	Go      string `json:"go"`
	Node    string `json:"node,omitempty"`
	Procs   int    `json:"procs"` // GOMAXPROCS of each process
	Runs    int    `json:"runs"`

	// Load is the machine's load average over a minute before it was measured:
	// whether it was left alone. "" means not known.
	Load string `json:"load,omitempty"`
}

// System is one row.
type System struct {
	Name   string `json:"name"`
	Config string `json:"config"`

	// Version names what is measured, "" where it is the standard library or
	// this repository.
	Version string `json:"version,omitempty"`

	// Modules are all modules in the program, with their versions.
	Modules map[string]string `json:"modules,omitempty"`
}

// Measurement is what was measured of one system in one section.
type Measurement struct {
	Section string               `json:"section"`
	System  string               `json:"system"`
	Runs    []map[string]float64 `json:"runs"` // metrics by name

	// Samples are single values that runs are too few for to take a quantile
	// of, of all runs together.
	Samples map[string][]float64 `json:"samples,omitempty"`

	// Notes say why metrics are missing, by name; "" is for all of them.
	Notes map[string]string `json:"notes,omitempty"`
}

// Note keeps why a metric is missing. The first reason counts.
func (m *Measurement) Note(metric, why string) {
	if m.Notes == nil {
		m.Notes = make(map[string]string)
	}
	m.Notes[metric] = cmp.Or(m.Notes[metric], why)
}

// Sample keeps single values.
func (m *Measurement) Sample(metric string, values ...float64) {
	if m.Samples == nil {
		m.Samples = make(map[string][]float64)
	}
	m.Samples[metric] = append(m.Samples[metric], values...)
}

// Read reads what [Results.Write] wrote.
func Read(path string) (*Results, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := new(Results)
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("read results from %s: %w", path, err)
	}
	return r, nil
}

// Write writes the results to a file.
func (r *Results) Write(path string) error {
	data, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o644)
}

// Measurement returns that of one system in one section, a new one if there is
// none.
func (r *Results) Measurement(section, system string) *Measurement {
	m := r.find(section, system)
	if m == nil {
		m = &Measurement{Section: section, System: system}
		r.Measurements = append(r.Measurements, m)
	}
	return m
}

// find returns a measurement, nil if there is none.
func (r *Results) find(section, system string) *Measurement {
	i := slices.IndexFunc(r.Measurements, func(m *Measurement) bool { return m.Section == section && m.System == system })
	if i < 0 {
		return nil
	}
	return r.Measurements[i]
}

// figure is a metric over all runs.
type figure struct{ median, min, max float64 }

// metric returns the figure of a metric, and whether any run has it.
func (m *Measurement) metric(name string) (figure, bool) {
	if m == nil {
		return figure{}, false
	}
	var values []float64
	for _, run := range m.Runs {
		if v, ok := run[name]; ok {
			values = append(values, v)
		}
	}
	if len(values) == 0 {
		return figure{}, false
	}
	slices.Sort(values)
	return figure{Median(values), values[0], values[len(values)-1]}, true
}

// sampled returns a quantile of single values as a figure without a range.
func (m *Measurement) sampled(name string, q float64) (figure, bool) {
	if m == nil || len(m.Samples[name]) == 0 {
		return figure{}, false
	}
	v := harness.Quantile(slices.Sorted(slices.Values(m.Samples[name])), q)
	return figure{v, v, v}, true
}

// total returns the sum of a metric over all runs as a figure without a range.
func (m *Measurement) total(name string) (figure, bool) {
	if _, ok := m.metric(name); !ok {
		return figure{}, false
	}
	var sum float64
	for _, run := range m.Runs {
		sum += run[name]
	}
	return figure{sum, sum, sum}, true
}

// Median returns the middle of ascending values, or the mean of the two in the
// middle; 0 if there are none.
func Median(ascending []float64) float64 {
	n := len(ascending)
	if n == 0 {
		return 0
	}
	return (ascending[(n-1)/2] + ascending[n/2]) / 2
}
