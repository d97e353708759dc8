package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/detached-workers/unref/client"
)

// row is a worker as it is shown, with what only a second look tells.
type row struct {
	client.Info
	now   time.Time
	rate  float64   // calls ended per second
	load  float64   // processors in use, 1 for one
	rates []float64 // newest last
}

// column is one property of workers.
type column struct {
	title string
	key   string // that sorts by it in top
	right bool   // aligned to the right
	text  func(row) string
	order func(a, b row) int
}

// The columns, those of ps in their order.
var (
	nameColumn = column{"NAME", "n", false, func(r row) string { return printable(r.Name) }, by(func(r row) string { return r.Name })}
	pidColumn  = column{"PID", "p", true, func(r row) string { return known(r.Pid, r.Pid != 0) }, by(func(r row) int { return r.Pid })}
	ageColumn  = column{"AGE", "a", true, func(r row) string { return orNothing(short(r.age()), !r.Started.IsZero()) }, by(row.age)}
	idleColumn = column{"IDLE", "i", true, func(r row) string {
		return orNothing(short(r.idle()), r.Status != nil && r.Status.Clients == 0)
	}, by(row.idle)}
	clientsColumn = column{"CLIENTS", "c", true, func(r row) string { return known(r.clients(), r.Status != nil) }, by(row.clients)}
	callsColumn   = column{"CALLS", "f", true, func(r row) string { return known(r.inFlight(), r.Status != nil) }, by(row.inFlight)}
	doneColumn    = column{"DONE", "d", true, func(r row) string { return known(r.done(), r.Status != nil) }, by(row.done)}
	rssColumn     = column{"RSS", "m", true, func(r row) string {
		return orNothing(size(r.Usage.RSS), r.Usage.RSS > 0)
	}, by(func(r row) int64 { return r.Usage.RSS })}
	cpuColumn = column{"CPU", "u", true, func(r row) string {
		return orNothing(fmt.Sprintf("%.2fs", r.Usage.CPU.Seconds()), r.Usage.RSS > 0)
	}, by(func(r row) time.Duration { return r.Usage.CPU })}
	fingerprintColumn = column{"FINGERPRINT", "g", false, func(r row) string {
		return orNothing(r.Fingerprint, r.Fingerprint != "")
	}, by(func(r row) string { return r.Fingerprint })}
	stateColumn   = column{"STATE", "s", false, row.state, by(row.state)}
	programColumn = column{"PROGRAM", "o", false, func(r row) string {
		return printable(r.Program)
	}, by(func(r row) string { return r.Program })}
)

var psColumns = []column{
	nameColumn, pidColumn, ageColumn, idleColumn, clientsColumn, callsColumn, doneColumn, rssColumn, cpuColumn, fingerprintColumn,
	stateColumn, programColumn,
}

// by orders rows by one value.
func by[T cmp.Ordered](value func(row) T) func(a, b row) int {
	return func(a, b row) int { return cmp.Compare(value(a), value(b)) }
}

func orNothing(text string, ok bool) string {
	if ok {
		return text
	}
	return nothing
}

func known(value any, ok bool) string { return orNothing(fmt.Sprint(value), ok) }

func (r row) age() time.Duration { return r.now.Sub(r.Started) }

func (r row) idle() time.Duration {
	if r.Status == nil {
		return 0
	}
	return r.Status.Idle
}

func (r row) clients() int {
	if r.Status == nil {
		return 0
	}
	return r.Status.Clients
}

func (r row) inFlight() int64 {
	if r.Status == nil {
		return 0
	}
	return r.Status.InFlight
}

func (r row) done() uint64 {
	if r.Status == nil {
		return 0
	}
	return r.Status.Done
}

// state says in few words how the worker is.
func (r row) state() string {
	switch {
	case r.Status == nil && r.Displaced:
		return "draining, " + printable(r.Trouble)
	case r.Status == nil:
		return printable(r.Trouble)
	case r.Status.Leaving != "":
		return "leaving: " + printable(r.Status.Leaving)
	case r.Displaced:
		return "draining"
	case r.Status.InFlight > 0:
		return "busy"
	case r.Status.Clients > 0:
		return "in use"
	}
	return "idle"
}

// cells returns the texts of a table, line by line, the titles first.
func cells(columns []column, rows []row) [][]string {
	lines := [][]string{make([]string, len(columns))}
	for i, c := range columns {
		lines[0][i] = c.title
	}
	for _, r := range rows {
		line := make([]string, len(columns))
		for i, c := range columns {
			line[i] = c.text(r)
		}
		lines = append(lines, line)
	}
	return lines
}

// align turns the cells into lines of text in which the columns stand below each other.
func align(lines [][]string, right func(column int) bool) []string {
	var widths []int
	for _, line := range lines {
		for i, cell := range line {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], ansi.StringWidth(cell))
		}
	}
	aligned := make([]string, len(lines))
	for n, line := range lines {
		padded := make([]string, len(line))
		for i, cell := range line {
			space := strings.Repeat(" ", widths[i]-ansi.StringWidth(cell))
			if padded[i] = cell + space; right(i) {
				padded[i] = space + cell
			}
		}
		aligned[n] = strings.TrimRight(strings.Join(padded, "  "), " ")
	}
	return aligned
}

// table returns the lines of a table of workers.
func table(columns []column, rows []row) []string {
	return align(cells(columns, rows), func(i int) bool { return columns[i].right })
}

// printTable prints a table of texts, the first line being the titles.
func printTable(w io.Writer, lines [][]string) error {
	_, err := fmt.Fprintln(w, strings.Join(align(lines, func(int) bool { return false }), "\n"))
	return err
}

// rowsOf returns the workers as rows of a first look.
func rowsOf(list []client.Info, now time.Time) []row {
	rows := make([]row, 0, len(list))
	for _, info := range list {
		rows = append(rows, row{Info: info, now: now})
	}
	return slices.Clip(rows)
}
