package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/detached-workers/unref/client"
)

// historyLength is how many looks a sparkline shows.
const historyLength = 20

// The columns that only top has.
var (
	rateColumn = column{"CALLS/S", "t", true, func(r row) string {
		return fmt.Sprintf("%.1f", r.rate)
	}, by(func(r row) float64 { return r.rate })}
	graphColumn = column{"COURSE", "", false, func(r row) string { return sparkline(r.rates, historyLength) }, nil}
	loadColumn  = column{"CPU", "u", true, func(r row) string {
		return orNothing(fmt.Sprintf("%.0f%%", 100*r.load), r.Usage.RSS > 0)
	}, by(func(r row) float64 { return r.load })}
)

var topColumns = []column{
	nameColumn, pidColumn, ageColumn, idleColumn, clientsColumn, callsColumn, doneColumn, rateColumn, graphColumn, rssColumn,
	loadColumn, fingerprintColumn, stateColumn, programColumn,
}

// looked is the message that has the outcome of one look at the workers.
type looked struct {
	list []client.Info
	err  error
	at   time.Time
}

// due is the message that it is time for the next look.
type due struct{}

// topModel is what top shows. It is a value: Update returns the next one, and View draws it.
type topModel struct {
	interval time.Duration
	look     func() looked

	rows    []row // in the order in which they are shown
	err     error // of the last look
	at      time.Time
	looks   int
	sort    int // column
	reverse bool
	paused  bool
	first   int // row that is shown first

	width, height int // 0 until they are known
}

func newTopModel(interval time.Duration, look func() looked) topModel {
	return topModel{interval: interval, look: look}
}

// Init begins with a look.
func (m topModel) Init() tea.Cmd { return m.lookNow }

func (m topModel) lookNow() tea.Msg { return m.look() }

// Update returns the model after a message.
func (m topModel) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
		return m.scrolled(0), nil
	case looked:
		// The next look is not before this one has its outcome: workers that do not answer take their time.
		return m.seen(msg), tea.Tick(m.interval, func(time.Time) tea.Msg { return due{} })
	case due:
		return m, m.lookNow
	case tea.KeyPressMsg:
		return m.pressed(msg.String())
	}
	return m, nil
}

// seen takes in what a look has shown.
func (m topModel) seen(l looked) topModel {
	if m.looks++; m.paused {
		return m
	}
	if m.err = l.err; l.err != nil {
		return m
	}
	before := make(map[string]row, len(m.rows))
	for _, r := range m.rows {
		before[r.ID] = r
	}
	m.rows = rowsOf(l.list, l.at)
	for i, r := range m.rows {
		if old, ok := before[r.ID]; ok {
			m.rows[i] = r.since(old)
		}
	}
	m.at = l.at
	return m.sorted().scrolled(0)
}

// since adds what a look tells together with the one before.
func (r row) since(old row) row {
	seconds := r.now.Sub(old.now).Seconds()
	if seconds <= 0 {
		r.rate, r.load, r.rates = old.rate, old.load, old.rates
		return r
	}
	if r.Status != nil && old.Status != nil && r.Status.Done >= old.Status.Done {
		r.rate = float64(r.Status.Done-old.Status.Done) / seconds
	}
	r.load = max(0, (r.Usage.CPU-old.Usage.CPU).Seconds()/seconds)
	r.rates = append(slices.Clone(old.rates), r.rate)
	r.rates = r.rates[max(0, len(r.rates)-historyLength):]
	return r
}

// sorted brings the rows into their order. Those that are equal are in that of their names and ids.
func (m topModel) sorted() topModel {
	order := topColumns[m.sort].order
	m.rows = slices.Clone(m.rows)
	slices.SortFunc(m.rows, func(a, b row) int {
		if c := order(a, b); c != 0 && m.reverse {
			return -c
		} else if c != 0 {
			return c
		}
		return strings.Compare(a.Name+"\x00"+a.ID, b.Name+"\x00"+b.ID)
	})
	return m
}

// pressed returns the model after a key.
func (m topModel) pressed(key string) (tea.Model, tea.Cmd) {
	switch key {
	case "q", "ctrl+c", "esc":
		return m, tea.Quit
	case "r":
		m.reverse = !m.reverse
		return m.sorted(), nil
	case "space":
		m.paused = !m.paused
		return m, nil
	case "right", "left":
		return m.sortedByNext(key == "right"), nil
	case "down", "j", "up", "k", "pgdown", "pgup", "home", "end":
		return m.scrolled(m.step(key)), nil
	}
	if i := slices.IndexFunc(topColumns, func(c column) bool { return c.key == key }); i >= 0 {
		return m.sortedBy(i), nil
	}
	return m, nil
}

// sortedBy sorts by a column: numbers with the greatest first, which is what one looks for, and texts in their order. The
// same column again reverses.
func (m topModel) sortedBy(i int) topModel {
	if m.sort == i {
		m.reverse = !m.reverse
	} else {
		m.sort, m.reverse = i, topColumns[i].right
	}
	return m.sorted()
}

func (m topModel) sortedByNext(right bool) topModel {
	step := len(topColumns) - 1
	if right {
		step = 1
	}
	next := (m.sort + step) % len(topColumns)
	for topColumns[next].order == nil {
		next = (next + step) % len(topColumns)
	}
	return m.sortedBy(next)
}

// step returns by how many rows a key scrolls.
func (m topModel) step(key string) int {
	switch key {
	case "down", "j":
		return 1
	case "up", "k":
		return -1
	case "pgdown":
		return m.page()
	case "pgup":
		return -m.page()
	case "end":
		return len(m.rows)
	}
	return -len(m.rows)
}

// frame is how many lines are no rows: the summary, an empty line, the titles, and the keys below.
const frame = 4

// page returns how many rows fit.
func (m topModel) page() int {
	if m.height == 0 {
		return len(m.rows)
	}
	return max(1, m.height-frame)
}

func (m topModel) scrolled(by int) topModel {
	m.first = max(0, min(m.first+by, len(m.rows)-m.page()))
	return m
}

var (
	titleStyle   = ansi.NewStyle().Bold().Reverse(true)
	troubleStyle = ansi.NewStyle().ForegroundColor(ansi.Red)
	faintStyle   = ansi.NewStyle().Faint()
)

const keysHelp = "[x] in a title: sort by it, again: reverse · ←→ next column · r reverse · ↑↓ scroll · space pause · q quit"

// View draws the model on a screen of its own, which is given back in the end.
func (m topModel) View() tea.View {
	view := tea.NewView(m.draw())
	view.AltScreen = true
	return view
}

// draw returns the lines of the screen.
func (m topModel) draw() string {
	lines := []string{m.summary(), ""}
	if m.looks > 0 {
		rows := m.rows[m.first:min(m.first+m.page(), len(m.rows))]
		text := align(m.titled(cells(topColumns, rows)), func(i int) bool { return topColumns[i].right })
		for i, line := range text {
			switch line = m.cut(line); {
			case i == 0:
				line = titleStyle.Styled(line)
			case rows[i-1].Status == nil:
				line = troubleStyle.Styled(line)
			}
			lines = append(lines, line)
		}
	}
	return strings.Join(append(lines, faintStyle.Styled(m.cut(keysHelp))), "\n")
}

// titled writes into the titles with which key each column is sorted by, and which one is.
func (m topModel) titled(lines [][]string) [][]string {
	for i, c := range topColumns {
		title := c.title
		if c.key != "" {
			title += "[" + c.key + "]"
		}
		if i == m.sort && m.reverse {
			title += "▼"
		} else if i == m.sort {
			title += "▲"
		}
		lines[0][i] = title
	}
	return lines
}

// summary is the first line.
func (m topModel) summary() string {
	switch {
	case m.looks == 0:
		return "looking for workers ..."
	case m.err != nil:
		return troubleStyle.Styled(m.cut("unref: " + strings.ReplaceAll(m.err.Error(), "\n", "; ")))
	}
	var rate, load float64
	silent := 0
	for _, r := range m.rows {
		rate, load = rate+r.rate, load+r.load
		if r.Status == nil {
			silent++
		}
	}
	text := fmt.Sprintf("%s  %s, %.1f calls/s, %.0f%% CPU", m.at.Format(time.TimeOnly), count(len(m.rows), "worker"), rate, 100*load)
	if silent > 0 {
		text += fmt.Sprintf(", %d without an answer", silent)
	}
	if m.paused {
		text += ", paused"
	}
	return m.cut(text)
}

// cut makes a line fit the screen.
func (m topModel) cut(line string) string {
	if m.width == 0 {
		return line
	}
	return ansi.Truncate(line, m.width, "")
}

// sparkline draws the newest values, each as a bar in proportion to the greatest, in a fixed width.
func sparkline(values []float64, width int) string {
	bars := []rune("▁▂▃▄▅▆▇█")
	values = values[max(0, len(values)-width):]
	greatest := 0.0
	for _, v := range values {
		greatest = max(greatest, v)
	}
	var b strings.Builder
	b.WriteString(strings.Repeat(" ", width-len(values)))
	for _, v := range values {
		i := 0
		if greatest > 0 {
			i = int(v / greatest * float64(len(bars)-1))
		}
		b.WriteRune(bars[i])
	}
	return b.String()
}
