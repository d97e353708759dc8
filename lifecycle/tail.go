package lifecycle

import (
	"bytes"
	"fmt"
	"strings"
)

const (
	tailBytes = 64 << 10 // of the output that an ExitError carries
	headBytes = 32 << 10 // of it for the beginning of a crash
)

// lastOutput returns at most the newest tailBytes of a spool as text lines. With crash it also keeps the beginning of
// the last Go crash if that is further back.
func lastOutput(r *OutputReader, crash bool) []byte {
	return readTail(r, crash, crash).bytes()
}

// readTail reads the whole output if it is to be searched, and only its newest part if not.
func readTail(r *OutputReader, crash, search bool) *tail {
	if search {
		r.Skip(spoolMax) // more is there only where nobody bounds the spool
	} else {
		r.Skip(2 * tailBytes) // entries shrink when they are rendered, so look at a little more
	}
	t := new(tail)
	for line, ok := r.Next(); ok; line, ok = r.Next() {
		t.take(line, crash)
	}
	for line, ok := r.Flush(); ok; line, ok = r.Flush() {
		t.take(line, crash)
	}
	return t
}

func (t *tail) take(line Line, crash bool) {
	t.add(render(line), crash)
	if line.Entry != nil && line.Entry.limit != "" {
		t.limit = line.Entry.limit
	}
}

func render(line Line) string {
	switch {
	case line.Entry != nil:
		return line.Entry.String()
	case line.Lost > 0:
		return fmt.Sprintf("... (%d bytes of output lost)", line.Lost)
	}
	return line.Text
}

// tail keeps the newest lines and the beginning of the last crash.
type tail struct {
	lines   []string
	size    int   // of lines, with their newlines
	at      int64 // position of the next line
	first   int64 // position of lines[0]
	crash   crashHead
	head    []string
	headLen int
	limit   string // that the worker said it leaves for
}

func (t *tail) add(line string, crash bool) {
	if crash && t.crash.begins(line, t.at) {
		t.head, t.headLen = nil, 0
	}
	if t.crash.found && t.headLen+len(line)+1 <= headBytes {
		t.head = append(t.head, line)
		t.headLen += len(line) + 1
	}
	t.lines = append(t.lines, line)
	t.size += len(line) + 1
	t.at += int64(len(line)) + 1
	t.trim(tailBytes)
}

// trim drops old lines; of a single line that is too long it keeps the end.
func (t *tail) trim(limit int) {
	for t.size > limit && len(t.lines) > 1 {
		t.first += int64(len(t.lines[0])) + 1
		t.size -= len(t.lines[0]) + 1
		t.lines = t.lines[1:]
	}
	if t.size > limit {
		cut := t.size - limit
		t.lines[0] = t.lines[0][cut:]
		t.first += int64(cut)
		t.size = limit
	}
}

func (t *tail) bytes() []byte {
	if !t.crash.found || t.crash.at >= t.first {
		return joined(t.lines)
	}
	const room = 64 // for the line in between
	t.trim(tailBytes - t.headLen - room)
	left := t.first - t.crash.at - int64(t.headLen)
	if left <= 0 {
		t.trim(tailBytes - t.headLen)
	}
	gap := fmt.Sprintf("... (%d bytes left out) ...\n", max(left, 0))
	return bytes.Join([][]byte{joined(t.head), []byte(gap), joined(t.lines)}, nil)
}

func joined(lines []string) []byte {
	if len(lines) == 0 {
		return nil
	}
	return []byte(strings.Join(lines, "\n") + "\n")
}

// crashHead finds the line that begins the last crash of a Go program.
type crashHead struct {
	found bool
	at    int64 // position of the line
}

// crashHeadSpan is how far the header lines of one crash may be apart.
const crashHeadSpan = 4 << 10

var crashPrefixes = []string{
	"panic: ", "fatal error: ", "runtime: ", "runtime/cgo: ", "SIGSEGV", "SIGBUS", "SIGABRT", "SIGQUIT", "SIGILL", "SIGFPE", "SIGTRAP",
	"unexpected fault address ",
}

// begins returns whether the line at this position begins a crash and not just goes on with the header of one.
func (c *crashHead) begins(line string, at int64) bool {
	for _, prefix := range crashPrefixes {
		if strings.HasPrefix(line, prefix) {
			fresh := !c.found || at-c.at > crashHeadSpan
			if fresh {
				c.found, c.at = true, at
			}
			return fresh
		}
	}
	return false
}
