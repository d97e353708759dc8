package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/lifecycle"
	"github.com/detached-workers/unref/transport"
)

var began = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// worker returns what a look shows of one that answers.
func worker(name string, pid int, done uint64) client.Info {
	return client.Info{
		Name: name, ID: fmt.Sprint("id", pid), Pid: pid, Program: "/bin/" + name, Started: began.Add(-time.Duration(pid) * time.Second),
		Status: &transport.Status{Clients: pid, Done: done}, Usage: lifecycle.Usage{RSS: int64(pid) << 20},
	}
}

// at returns the look some seconds after the first.
func at(seconds int, list ...client.Info) looked {
	return looked{list: list, at: began.Add(time.Duration(seconds) * time.Second)}
}

// after returns the model after some messages.
func after(t *testing.T, m topModel, messages ...tea.Msg) topModel {
	t.Helper()
	for _, msg := range messages {
		next, _ := m.Update(msg)
		m = next.(topModel)
	}
	return m
}

func keys(text string) (messages []tea.Msg) {
	for _, r := range text {
		messages = append(messages, tea.KeyPressMsg{Code: r, Text: string(r)})
	}
	return messages
}

func names(m topModel) string {
	var names []string
	for _, r := range m.rows {
		names = append(names, r.Name)
	}
	return strings.Join(names, "")
}

func TestTopShowsWhatALookHasFound(t *testing.T) {
	m := newTopModel(time.Second, nil)
	if !strings.Contains(m.draw(), "looking for workers") {
		t.Errorf("before the first look: %q", m.draw())
	}
	silent := client.Info{Name: "c", ID: "id3", Trouble: "does not answer", Started: began}
	view := after(t, m, at(0, worker("a", 1, 0), worker("b", 2, 0), silent)).draw()
	for _, want := range []string{"3 workers", "1 without an answer", "NAME[n]▲", "COURSE", "/bin/b", "does not answer"} {
		if !strings.Contains(view, want) {
			t.Errorf("no %q in\n%s", want, view)
		}
	}
}

func TestTopSaysWhyItSeesNothing(t *testing.T) {
	m := after(t, newTopModel(time.Second, nil), at(0, worker("a", 1, 0)), looked{err: errors.New("no such directory")})
	if view := m.draw(); !strings.Contains(view, "unref: no such directory") || !strings.Contains(view, "/bin/a") {
		t.Errorf("got\n%s", view)
	}
}

func TestTopTellsRatesFromTwoLooks(t *testing.T) {
	m := after(t, newTopModel(time.Second, nil), at(0, worker("a", 1, 100)), at(2, worker("a", 1, 110)), at(4, worker("a", 1, 150)))
	r := m.rows[0]
	if r.rate != 20 || !slices.Equal(r.rates, []float64{5, 20}) {
		t.Errorf("got %v and %v", r.rate, r.rates)
	}
	if view := m.draw(); !strings.Contains(view, "20.0") || !strings.Contains(view, "▂█") {
		t.Errorf("got\n%s", view)
	}
	fresh := worker("a", 2, 5) // another worker of that name
	if m = after(t, m, at(6, fresh)); !strings.Contains(m.draw(), " 1 worker,") {
		t.Errorf("got\n%s", m.draw())
	}
	if m.rows[0].rate != 0 || len(m.rows[0].rates) != 0 {
		t.Errorf("of another worker: got %+v", m.rows[0])
	}
}

func TestTopForgetsOldRates(t *testing.T) {
	m := newTopModel(time.Second, nil)
	for i := range 2 * historyLength {
		m = after(t, m, at(i, worker("a", 1, uint64(i))))
	}
	if n := len(m.rows[0].rates); n != historyLength {
		t.Errorf("got %d", n)
	}
}

func TestTopSortsByEachColumn(t *testing.T) {
	a, b := worker("a", 1, 20), worker("b", 2, 10)
	a.Program, b.Program = "/y", "/x"
	a.Status.InFlight, b.Status.Idle, b.Fingerprint = 5, time.Minute, "f"
	later, usage := a, b
	later.Status = &transport.Status{Clients: 1, Done: 60, InFlight: 5}
	usage.Usage.CPU = time.Second
	m := after(t, newTopModel(time.Second, nil), at(0, a, b), at(1, later, usage))
	for _, tt := range []struct{ key, want string }{
		{"p", "ba"}, {"a", "ba"}, {"i", "ba"}, {"c", "ba"}, {"f", "ab"}, {"d", "ab"}, {"t", "ab"}, {"m", "ba"}, {"u", "ba"},
		{"g", "ab"}, {"s", "ab"}, {"o", "ba"},
	} {
		if got := names(after(t, m, keys(tt.key)...)); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.key, got, tt.want)
		}
		if got := names(after(t, m, keys(tt.key+"r")...)); got == tt.want {
			t.Errorf("%s reversed: got %s", tt.key, got)
		}
		if got := names(after(t, m, keys(tt.key+tt.key)...)); got == tt.want {
			t.Errorf("%s twice: got %s", tt.key, got)
		}
	}
}

func TestEveryColumnOfTopHasAKeyOfItsOwn(t *testing.T) {
	taken := map[string]bool{"q": true, "r": true, "j": true, "k": true, "space": true}
	for _, c := range topColumns {
		if (c.order == nil) != (c.key == "") || taken[c.key] {
			t.Errorf("%s: the key is %q", c.title, c.key)
		}
		taken[c.key] = true
	}
}

func TestTopGoesThroughTheColumns(t *testing.T) {
	m := after(t, newTopModel(time.Second, nil), at(0, worker("a", 1, 0)))
	seen := map[int]bool{}
	for range topColumns {
		m = after(t, m, tea.KeyPressMsg{Code: tea.KeyRight})
		seen[m.sort] = true
	}
	if len(seen) != len(topColumns)-1 {
		t.Errorf("got to %d of %d columns that can be sorted by", len(seen), len(topColumns)-1)
	}
	back := after(t, m, tea.KeyPressMsg{Code: tea.KeyRight}, tea.KeyPressMsg{Code: tea.KeyLeft})
	if back.sort != m.sort {
		t.Errorf("there and back led from column %d to %d", m.sort, back.sort)
	}
}

func TestTopFitsTheScreen(t *testing.T) {
	var list []client.Info
	for i := range 30 {
		list = append(list, worker(string(rune('A'+i)), i+1, 0))
	}
	m := after(t, newTopModel(time.Second, nil), at(0, list...), tea.WindowSizeMsg{Width: 40, Height: 10})
	lines := strings.Split(m.draw(), "\n")
	if len(lines) != 10 {
		t.Errorf("got %d lines for 10", len(lines))
	}
	for _, line := range lines {
		if w := ansi.StringWidth(line); w > 40 {
			t.Errorf("%q is %d wide", line, w)
		}
	}
	end := after(t, m, tea.KeyPressMsg{Code: tea.KeyEnd})
	if end.first != 24 || end.rows[end.first+5].Pid != 30 {
		t.Errorf("the end begins with row %d", end.first)
	}
	if up := after(t, end, tea.KeyPressMsg{Code: tea.KeyUp}); up.first != 23 {
		t.Errorf("one up is row %d", up.first)
	}
	if few := after(t, end, at(1, list[:2]...)); few.first != 0 || len(few.rows) != 2 {
		t.Errorf("with fewer workers it begins with row %d", few.first)
	}
}

func TestTopPauses(t *testing.T) {
	m := after(t, newTopModel(time.Second, nil), at(0, worker("a", 1, 0)))
	m = after(t, after(t, m, keys(" ")...), at(1, worker("b", 2, 0)))
	if names(m) != "a" || !strings.Contains(m.draw(), "paused") {
		t.Errorf("got %s", names(m))
	}
	if m = after(t, after(t, m, keys(" ")...), at(2, worker("b", 2, 0))); names(m) != "b" {
		t.Errorf("afterwards: got %s", names(m))
	}
}

func TestTopQuits(t *testing.T) {
	for _, key := range []tea.Msg{keys("q")[0], tea.KeyPressMsg{Code: 'c', Mod: tea.ModCtrl}, tea.KeyPressMsg{Code: tea.KeyEsc}} {
		_, cmd := newTopModel(time.Second, nil).Update(key)
		if cmd == nil {
			t.Fatalf("%v: nothing", key)
		}
		if _, ok := cmd().(tea.QuitMsg); !ok {
			t.Errorf("%v: got %v", key, cmd())
		}
	}
}

func TestTopLooksAgainAfterALook(t *testing.T) {
	looks := 0
	m := newTopModel(time.Millisecond, func() looked { looks++; return at(looks) })
	next, cmd := m.Update(m.Init()())
	if _, ok := cmd().(due); !ok {
		t.Fatal("no next look is due")
	}
	if _, cmd = next.Update(due{}); cmd() == nil || looks != 2 {
		t.Errorf("got %d looks", looks)
	}
}

func TestTopNeedsATerminal(t *testing.T) {
	unref(t, "top").want(t, exitNo, "needs a terminal", "unref ps")
}

func TestSparklinesAreInProportion(t *testing.T) {
	for want, values := range map[string][]float64{"    ": nil, "  ▁▁": {0, 0}, " ▁▄█": {0, 5, 10}, "▁▁▁█": {9, 0, 0, 0, 1}} {
		if got := sparkline(values, 4); got != want {
			t.Errorf("%v: got %q, want %q", values, got, want)
		}
	}
}

func TestNumbersAreShort(t *testing.T) {
	for want, got := range map[string]string{
		"0s": short(-time.Second), "59s": short(59*time.Second + 999*time.Millisecond), "3m05s": short(185 * time.Second),
		"4h07m": short(4*time.Hour + 7*time.Minute), "5d02h": short(122 * time.Hour),
		"0B": size(0), "999B": size(999), "1.0K": size(1000), "1.5K": size(1536), "34M": size(34 << 20), "2.0G": size(2 << 30),
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := printable("a\x1b[2Jb"); strings.Contains(got, "\x1b") {
		t.Errorf("got %q", got)
	}
}
