package report

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// direction says which values are better.
type direction int

const (
	lower direction = iota
	higher
	neither
)

// better is whether a is better than b.
func (d direction) better(a, b float64) bool {
	switch d {
	case lower:
		return a < b
	case higher:
		return a > b
	}
	return false
}

// column is one metric of a table.
type column struct {
	title  string
	format unit
	better direction
	plain  bool // without a ratio, which small counts have no use for
	of     func(m *Measurement) (figure, bool)
}

// metric is the column of a metric, of which less is better.
func metric(title, name string, format unit) column {
	return column{title: title, format: format, of: func(m *Measurement) (figure, bool) { return m.metric(name) }}
}

// count is like metric for a small number of things.
func count(title, name string) column {
	c := metric(title, name, number)
	c.plain = true
	return c
}

// more is like metric for one of which more is better.
func more(title, name string, format unit) column {
	c := metric(title, name, format)
	c.better = higher
	return c
}

// table is the part of the report about one section.
type table struct {
	section, title string
	text           string // what is measured
	base           string // the row that others are compared with, "" for none
	columns        []column
}

// contends is whether a row is what a user could pick, and no yardstick.
func contends(system string) bool { return system != Floor && system != Hello }

// markdown returns the table, nothing if its section was not measured.
func (t *table) markdown(r *Results) string {
	var rows []*Measurement
	for _, s := range r.Systems {
		if m := r.find(t.section, s.Name); m != nil && t.hasAny(m) {
			rows = append(rows, m)
		}
	}
	if len(rows) == 0 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| system |", t.title, t.text)
	for _, c := range t.columns {
		fmt.Fprintf(&b, " %s |", c.title)
	}
	b.WriteString("\n|---|" + strings.Repeat("---:|", len(t.columns)) + "\n")
	for _, m := range rows {
		b.WriteString(t.row(m, rows))
	}
	b.WriteString(t.ahead(rows))
	b.WriteString(notes(rows))
	return b.String()
}

// hasAny is whether a row has something to say, if only why it is empty.
func (t *table) hasAny(m *Measurement) bool {
	return len(m.Notes) > 0 || slices.ContainsFunc(t.columns, func(c column) bool { _, ok := c.of(m); return ok })
}

func (t *table) row(m *Measurement, rows []*Measurement) string {
	name := m.System
	if name == t.base {
		name = "*" + name + "*"
	}
	line := "| " + name + " |"
	for _, c := range t.columns {
		line += " " + t.cell(c, m, rows) + " |"
	}
	return line + "\n"
}

func (t *table) cell(c column, m *Measurement, rows []*Measurement) string {
	f, ok := c.of(m)
	if !ok {
		return "–"
	}
	text := c.format(f.median)
	if contends(m.System) && c.better != neither && f.median == best(c, rows) {
		text = "**" + text + "**"
	}
	if f.min != f.max {
		text += " (" + c.format(f.min) + "–" + c.format(f.max) + ")"
	}
	if ratio, ok := t.ratio(c, f, m, rows); ok {
		text += ", " + times(ratio)
	}
	return strings.ReplaceAll(text, " ", "\u00a0")
}

// best returns the best value of a column among the contenders.
func best(c column, rows []*Measurement) float64 {
	var best float64
	found := false
	for _, m := range rows {
		f, ok := c.of(m)
		if ok && contends(m.System) && (!found || c.better.better(f.median, best)) {
			best, found = f.median, true
		}
	}
	return best
}

// ratio returns how many times the base's a figure is.
func (t *table) ratio(c column, f figure, m *Measurement, rows []*Measurement) (float64, bool) {
	i := slices.IndexFunc(rows, func(m *Measurement) bool { return m.System == t.base })
	if i < 0 || m.System == t.base || c.plain {
		return 0, false
	}
	base, ok := c.of(rows[i])
	return f.median / base.median, ok && base.median > 0
}

// ahead says in which columns peers are better than unref, and which.
func (t *table) ahead(rows []*Measurement) string {
	i := slices.IndexFunc(rows, func(m *Measurement) bool { return m.System == Unref })
	if i < 0 {
		return ""
	}
	var lines []string
	for _, c := range t.columns {
		if peers := c.ahead(rows, rows[i]); len(peers) > 0 {
			own, _ := c.of(rows[i])
			lines = append(lines, fmt.Sprintf("- %s (unref %s): %s\n", c.title, c.format(own.median), strings.Join(peers, ", ")))
		}
	}
	if len(lines) == 0 {
		return ""
	}
	return "\nAhead of unref:\n\n" + strings.Join(lines, "")
}

// ahead returns the peers that are better than own, each with its figure.
func (c *column) ahead(rows []*Measurement, own *Measurement) []string {
	limit, ok := c.of(own)
	if !ok {
		return nil
	}
	var peers []string
	for _, m := range rows {
		if f, ok := c.of(m); ok && contends(m.System) && c.better.better(f.median, limit.median) {
			peers = append(peers, m.System+" "+c.format(f.median))
		}
	}
	return peers
}

// notes says why figures are missing, and what else was remarkable.
func notes(rows []*Measurement) string {
	var b strings.Builder
	for _, m := range rows {
		for _, metric := range slices.Sorted(maps.Keys(m.Notes)) {
			fmt.Fprintf(&b, "- %s: %s\n", strings.TrimSpace(m.System+" "+metric), cell(m.Notes[metric]))
		}
	}
	if b.Len() == 0 {
		return ""
	}
	return "\nRemarks:\n\n" + b.String()
}
