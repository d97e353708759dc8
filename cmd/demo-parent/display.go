package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// fallbackWidth is the width of a terminal that does not tell its own.
const fallbackWidth = 80

// plainEvery is how often progress is told where there is no terminal.
const plainEvery = 5 * time.Second

// display is what the user sees on standard error: whole lines and, on a terminal, the progress bar below them. It is
// safe for concurrent use. Without a terminal progress is an occasional line.
type display struct {
	out      io.Writer
	width    func() int // of the terminal in columns; nil if there is none
	interval time.Duration

	mu    sync.Mutex // keeps what is written in one piece, and is therefore held while writing
	drawn string     // the bar that is on the terminal now
	told  time.Time  // when progress was told last, without a terminal
}

// newDisplay returns the display for a file, which may be a terminal.
func newDisplay(f *os.File) *display {
	d := &display{out: f, interval: plainEvery, told: time.Now()}
	if _, ok := terminalWidth(f); ok && os.Getenv("TERM") != "dumb" {
		d.width = func() int {
			width, _ := terminalWidth(f)
			if width <= 0 {
				return fallbackWidth
			}
			return width
		}
	}
	return d
}

// Write writes complete lines above the bar. It never fails: nobody could be told.
func (d *display) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var b bytes.Buffer
	b.WriteString(wipe(d.drawn))
	b.Write(p)
	b.WriteString(d.drawn)
	_, _ = d.out.Write(b.Bytes())
	return len(p), nil
}

// Printf writes a line.
func (d *display) Printf(format string, args ...any) {
	_, _ = fmt.Fprintf(d, format+"\n", args...)
}

// Draw shows the progress, in place of what was drawn before.
func (d *display) Draw(p progress) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.width == nil {
		d.tell(p)
		return
	}
	bar := p.bar(d.width() - 1)
	if bar == d.drawn {
		return
	}
	rest := utf8.RuneCountInString(d.drawn) - utf8.RuneCountInString(bar)
	_, _ = io.WriteString(d.out, "\r"+bar+strings.Repeat(" ", max(0, rest)))
	d.drawn = bar
}

// tell writes the progress as a line, if it is time. The caller holds the lock.
func (d *display) tell(p progress) {
	if time.Since(d.told) < d.interval {
		return
	}
	d.told = time.Now()
	_, _ = io.WriteString(d.out, p.line()+"\n")
}

// Clear removes the bar.
func (d *display) Clear() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.drawn != "" {
		_, _ = io.WriteString(d.out, wipe(d.drawn))
	}
	d.drawn = ""
}

// wipe returns what removes a bar. It needs nothing of a terminal but the carriage return.
func wipe(bar string) string {
	if bar == "" {
		return ""
	}
	return "\r" + strings.Repeat(" ", utf8.RuneCountInString(bar)) + "\r"
}
