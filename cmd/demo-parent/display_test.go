package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// screen returns what a terminal shows after some output that moves the cursor with newlines and carriage returns only.
func screen(output string) []string {
	lines, column := []string{""}, 0
	for _, r := range output {
		last := &lines[len(lines)-1]
		switch r {
		case '\r':
			column = 0
		case '\n':
			lines, column = append(lines, ""), 0
		default:
			text := []rune(*last)
			if column == len(text) {
				text = append(text, ' ')
			}
			text[column] = r
			*last = string(text)
			column++
		}
	}
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return lines
}

// onTerminal returns a display on a terminal of 40 columns, and what it writes.
func onTerminal() (*display, *bytes.Buffer) {
	var out bytes.Buffer
	return &display{out: &out, width: func() int { return 40 }}, &out
}

// LESSONS 5
func TestLinesDoNotTearTheBar(t *testing.T) {
	d, out := onTerminal()
	d.Draw(progress{done: 1, total: 2, now: []string{"a/package/with/a/long/name"}})
	d.Printf("short")
	d.Draw(progress{done: 2, total: 2})
	fmt.Fprint(d, "two\nlines that are a bit longer than the bar was before\n")
	want := []string{"short", "two", "lines that are a bit longer than the bar was before", "[################] 2/2"}
	if got := screen(out.String()); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("the terminal shows %q, want %q", got, want)
	}
	d.Clear()
	d.Printf("the end")
	want = append(want[:3], "the end", "")
	if got := screen(out.String()); strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("after Clear the terminal shows %q, want %q", got, want)
	}
}

func TestABarThatDidNotChangeIsNotDrawnAgain(t *testing.T) {
	d, out := onTerminal()
	d.Draw(progress{total: 2})
	n := out.Len()
	d.Draw(progress{total: 2})
	if out.Len() != n {
		t.Errorf("it wrote %q", out.String()[n:])
	}
}

func TestLinesOfSeveralWritersStayWhole(t *testing.T) {
	d, out := onTerminal()
	var writers sync.WaitGroup
	for i := range 8 {
		writers.Go(func() {
			for range 50 {
				d.Printf("writer %d", i)
				d.Draw(progress{done: i, total: 8})
			}
		})
	}
	writers.Wait()
	d.Clear()
	lines := screen(out.String())
	for _, line := range lines[:len(lines)-1] {
		if len(line) != len("writer 0") || !strings.HasPrefix(line, "writer ") {
			t.Errorf("the terminal shows the line %q", line)
		}
	}
	if len(lines) != 8*50+1 {
		t.Errorf("the terminal shows %d lines, want %d", len(lines), 8*50+1)
	}
}

func TestWithoutATerminalProgressIsAnOccasionalLine(t *testing.T) {
	var out bytes.Buffer
	d := &display{out: &out, interval: time.Hour}
	d.Draw(progress{done: 1, total: 2, now: []string{"a"}})
	d.told = time.Now()
	d.Draw(progress{done: 2, total: 2})
	d.Clear()
	if got, want := out.String(), "1 of 2 packages a\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestTheNullDeviceHasNoBar(t *testing.T) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if newDisplay(null).width != nil {
		t.Error("the null device was taken for a terminal")
	}
}
