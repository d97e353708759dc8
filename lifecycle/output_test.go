package lifecycle

import (
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// memory is a source in memory, with a beginning that can be dropped.
type memory struct {
	data []byte
	hole int64 // everything before it was dropped
}

func (m *memory) Size() (int64, error) { return int64(len(m.data)), nil }

func (m *memory) Data(off int64) int64 { return max(off, m.hole) }

func (m *memory) ReadAt(p []byte, off int64) (int, error) {
	if off >= int64(len(m.data)) {
		return 0, io.EOF
	}
	return copy(p, m.data[off:]), nil
}

func readAll(r *OutputReader) (lines []Line) {
	for line, ok := r.Next(); ok; line, ok = r.Next() {
		lines = append(lines, line)
	}
	return lines
}

func flushAll(r *OutputReader) (lines []Line) {
	for line, ok := r.Flush(); ok; line, ok = r.Flush() {
		lines = append(lines, line)
	}
	return lines
}

func show(lines []Line) []string {
	var texts []string
	for _, line := range lines {
		switch {
		case line.Entry != nil:
			texts = append(texts, "E:"+line.Entry.String())
		case line.Lost > 0:
			texts = append(texts, fmt.Sprint("L:", line.Lost))
		case len(line.Text) > 40:
			texts = append(texts, fmt.Sprintf("T:%d*%s", len(line.Text), line.Text[:1]))
		default:
			texts = append(texts, "T:"+line.Text)
		}
	}
	return texts
}

func record(message string) string {
	return string((&Entry{Level: "info", Message: message}).AppendTo(nil))
}

func TestTheReaderTellsEntriesFromText(t *testing.T) {
	long := strings.Repeat("x", maxText)
	for _, test := range []struct {
		input string
		want  []string
		rest  []string
	}{
		{"", nil, nil},
		{"one\ntwo\n", []string{"T:one", "T:two"}, nil},
		{"one\n\ntwo", []string{"T:one", "T:"}, []string{"T:two"}},
		{"\n", []string{"T:"}, nil},
		{record("hello"), []string{"E:info: hello"}, nil},
		{"cut" + record("hello") + "on\n", []string{"T:cut", "E:info: hello", "T:on"}, nil},
		{"a\x1eb\n", []string{"T:a\x1eb"}, nil},
		{"\x1e{\"unref\":2}\n", []string{"T:\x1e{\"unref\":2}"}, nil},
		{"\x1e{\"unref\":1,\n", []string{"T:\x1e{\"unref\":1,"}, nil},
		{"\x1e{\"unref\":1,\"ms" + record("whole"), []string{"T:\x1e{\"unref\":1,\"ms", "E:info: whole"}, nil},
		{"\x1e\x1e" + record("x"), []string{"T:\x1e\x1e", "E:info: x"}, nil},
		{record("x")[:20], nil, []string{"T:" + record("x")[:20]}},
		{strings.TrimSuffix(record("x"), "\n"), nil, []string{"E:info: x"}},
		{"\xff\xfe\n", []string{"T:\xff\xfe"}, nil},
		{long + "\n", []string{"T:65536*x"}, nil},
		{long + "y\n", []string{"T:65536*x", "T:y"}, nil},
		{long + long, []string{"T:65536*x"}, []string{"T:65536*x"}},
		{long + record("x"), []string{"T:65536*x", "E:info: x"}, nil},
		{
			"\x1e" + strings.Repeat("z", maxEntry+maxText),
			[]string{"T:65536*\x1e", "T:65536*z", "T:65536*z", "T:65536*z", "T:65536*z"}, []string{"T:z"},
		},
	} {
		r := &OutputReader{src: &memory{data: []byte(test.input)}}
		got, rest := show(readAll(r)), show(flushAll(r))
		if !slices.Equal(got, test.want) || !slices.Equal(rest, test.rest) {
			t.Errorf("input %.60q: got %q and %q, want %q and %q", test.input, got, rest, test.want, test.rest)
		}
	}
}

func TestAnIncompleteLineIsHeldBack(t *testing.T) {
	m := &memory{data: []byte("one\ntw")}
	r := &OutputReader{src: m}
	if got := show(readAll(r)); !slices.Equal(got, []string{"T:one"}) {
		t.Errorf("got %q", got)
	}
	m.data = append(m.data, "o\n"...)
	if got := show(readAll(r)); !slices.Equal(got, []string{"T:two"}) {
		t.Errorf("got %q", got)
	}
	if got := flushAll(r); got != nil {
		t.Errorf("got %q", show(got))
	}
}

func TestWhatWasDroppedIsCountedUpToTheNextLine(t *testing.T) {
	m := &memory{data: []byte("one\ntwo\nthree\nfour\n")}
	r := &OutputReader{src: m}
	m.hole = 9 // inside "three"
	if got := show(readAll(r)); !slices.Equal(got, []string{"L:14", "T:four"}) {
		t.Errorf("got %q", got)
	}
	m.data = append(m.data, "half"...)
	readAll(r)
	m.data = append(m.data, " lost and gone\nlast"...)
	m.hole = int64(len(m.data) - 8)
	if got := show(readAll(r)); !slices.Equal(got, []string{"T:half", "L:15"}) {
		t.Errorf("got %q", got)
	}
	if got := show(flushAll(r)); !slices.Equal(got, []string{"T:last"}) {
		t.Errorf("got %q", got)
	}
}

func TestTheRestOfACutLineIsCountedAtTheEnd(t *testing.T) {
	m := &memory{data: []byte("0123456789"), hole: 4}
	r := &OutputReader{src: m}
	if got := show(append(readAll(r), flushAll(r)...)); !slices.Equal(got, []string{"L:10"}) {
		t.Errorf("got %q", got)
	}
}

func TestATruncatedSpoolIsReadFromItsBeginning(t *testing.T) {
	m := &memory{data: []byte("one\ntwo\nhal")}
	r := &OutputReader{src: m}
	readAll(r)
	m.data = []byte("new\n")
	if got := show(readAll(r)); !slices.Equal(got, []string{"T:hal", "L:1", "T:new"}) {
		t.Errorf("got %q", got)
	}
}

func TestSkipGoesToALineStartAndCountsNothing(t *testing.T) {
	for keep, want := range map[int64][]string{
		100: {"T:one", "T:two", "T:three"},
		14:  {"T:one", "T:two", "T:three"},
		13:  {"T:two", "T:three"},
		10:  {"T:two", "T:three"},
		9:   {"T:three"},
		6:   {"T:three"},
		5:   nil,
		0:   nil,
	} {
		r := &OutputReader{src: &memory{data: []byte("one\ntwo\nthree\n")}}
		r.Skip(keep)
		if got := show(readAll(r)); !slices.Equal(got, want) {
			t.Errorf("keep %d: got %q, want %q", keep, got, want)
		}
	}
}

func TestLastOutputKeepsTheBeginningOfACrash(t *testing.T) {
	var b strings.Builder
	b.WriteString("panic: an old one that was survived\n" + strings.Repeat("work\n", 10000))
	b.WriteString("panic: the real one\n\npanic: while panicking\n")
	for i := range 20000 {
		fmt.Fprintf(&b, "goroutine %d [running]:\n", i)
	}
	b.WriteString("exit status 2\n")
	r := &OutputReader{src: &memory{data: []byte(b.String())}}
	got := string(lastOutput(r, true))
	if !strings.HasPrefix(got, "panic: the real one\n") || !strings.HasSuffix(got, "exit status 2\n") || len(got) > tailBytes {
		t.Errorf("got %d bytes: %.100q", len(got), got)
	}
	if !strings.Contains(got, "bytes left out") {
		t.Error("does not say that something is left out")
	}
	e := &ExitError{Name: "demo", Pid: 12, Code: 2, Output: []byte(got), Elapsed: time.Second}
	if text := e.Error(); !strings.Contains(text, "panic: the real one") || strings.Count(text, "\n") > errorLines {
		t.Errorf("got %q", text)
	}
	r = &OutputReader{src: &memory{data: []byte(b.String())}}
	if got := string(lastOutput(r, false)); strings.Contains(got, "panic: ") || len(got) > tailBytes || !strings.HasPrefix(got, "goroutine ") {
		t.Errorf("without a crash: got %d bytes: %.100q", len(got), got)
	}
}

func TestLastOutputOfOneLongLineIsItsEnd(t *testing.T) {
	data := strings.Repeat("a", 3*tailBytes) + "end"
	got := string(lastOutput(&OutputReader{src: &memory{data: []byte("x\n" + data)}}, true))
	if len(got) > tailBytes || !strings.HasSuffix(got, "end\n") {
		t.Errorf("got %d bytes", len(got))
	}
}

// whole joins what a reader delivered in pieces, so that it can be compared whatever the pieces are.
func whole(lines []Line) string {
	var b strings.Builder
	for _, line := range lines {
		b.WriteString(render(line))
		if len(line.Text) != maxText {
			b.WriteByte('\n')
		}
	}
	return b.String()
}

func FuzzOutputReader(f *testing.F) {
	f.Add([]byte("one\n"+record("two")+"three"), uint64(1), uint16(0))
	f.Add([]byte("cut"+record("a")+"\x1e\x1e{\"unref\":1,\n\xff\n\n"), uint64(2), uint16(5))
	f.Add([]byte("\x1e{\"unref\":1,\"fields\":{\"a\":[1,2.5,{\"b\":1e999}]}}\n"), uint64(3), uint16(0))
	f.Fuzz(func(t *testing.T, data []byte, seed uint64, hole uint16) {
		data = data[:min(len(data), 4096)] // longer inputs are slow and show nothing new
		once := &OutputReader{src: &memory{data: data}}
		want := append(readAll(once), flushAll(once)...)

		// The same in chunks of any size gives the same lines.
		rng := rand.New(rand.NewPCG(seed, 0))
		m := &memory{}
		r := &OutputReader{src: m}
		var got []Line
		for len(m.data) < len(data) {
			m.data = data[:min(len(m.data)+1+rng.IntN(16), len(data))]
			got = append(got, readAll(r)...)
		}
		got = append(got, flushAll(r)...)
		if whole(got) != whole(want) {
			t.Errorf("in chunks: got %q, want %q", show(got), show(want))
		}

		// With a hole anywhere no byte is invented and the reader ends.
		m = &memory{data: data, hole: min(int64(hole), int64(len(data)))}
		r = &OutputReader{src: m}
		lost := int64(0)
		for _, line := range append(readAll(r), flushAll(r)...) {
			lost += line.Lost
			if line.Entry == nil && line.Lost == 0 && !strings.Contains(string(data), line.Text) {
				t.Errorf("text %q was never written", line.Text)
			}
		}
		if lost < m.hole || lost > int64(len(data)) {
			t.Errorf("lost %d of %d with a hole of %d", lost, len(data), m.hole)
		}
		lastOutput(&OutputReader{src: m}, true)
	})
}

func TestTheLimitThatTheWorkerLeavesForIsFoundFarBackIfItIsSearchedFor(t *testing.T) {
	data := (&Entry{Message: "leaving", limit: LimitCPU}).AppendTo(nil)
	data = append(data, strings.Repeat("and so on\n", 100_000)...)
	for search, want := range map[bool]string{true: LimitCPU, false: ""} {
		if got := readTail(&OutputReader{src: &memory{data: data}}, false, search); got.limit != want || len(got.bytes()) > tailBytes {
			t.Errorf("search %v: got %q with %d bytes, want %q", search, got.limit, len(got.bytes()), want)
		}
	}
}
