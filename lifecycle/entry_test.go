package lifecycle

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

type panics struct{}

func (panics) MarshalJSON() ([]byte, error) { panic("no") }

func decoded(t *testing.T, e *Entry) *Entry {
	t.Helper()
	data := e.AppendTo(nil)
	if len(data) > maxEntry || data[0] != recordStart || bytes.IndexByte(data, '\n') != len(data)-1 || bytes.LastIndexByte(data, recordStart) != 0 {
		t.Fatalf("not one record: %.100q", data)
	}
	got, ok := decodeEntry(data[:len(data)-1])
	if !ok {
		t.Fatalf("not an entry: %.200q", data)
	}
	return got
}

func TestAnEntryComesBackAsItWas(t *testing.T) {
	e := &Entry{
		Time: time.Date(2026, 11, 21, 1, 2, 3, 4, time.UTC), Level: "info", Message: "a \x1e\n\"b\" ü",
		Fields: map[string]any{"i": int64(1) << 60, "f": 1.5, "s": "x", "b": true, "n": nil, "l": []any{int64(1), "2"}},
	}
	if got := decoded(t, e); !reflect.DeepEqual(got, e) {
		t.Errorf("got %+v, want %+v", got, e)
	}
}

func TestAnEntryKeepsTheLimitThatTheWorkerLeavesFor(t *testing.T) {
	e := &Entry{Time: time.Unix(0, 0).UTC(), Level: "error", Message: "leaving", limit: LimitOpenFiles}
	const want = `{"unref":1,"time":"1970-01-01T00:00:00Z","level":"error","msg":"leaving","limit":"open files"}`
	if got := string(e.AppendTo(nil)); got != "\x1e"+want+"\n" {
		t.Errorf("got %q", got)
	}
	if got := decoded(t, e); !reflect.DeepEqual(got, e) {
		t.Errorf("got %+v, want %+v", got, e)
	}
}

func TestNoFieldMakesAnEntryFail(t *testing.T) {
	var loop map[string]any
	loop = map[string]any{"loop": &loop}
	loop["self"] = loop
	fields := map[string]any{
		"func": func() {}, "chan": make(chan int), "nan": math.NaN(), "panics": panics{}, "nil": (*os.PathError)(nil),
		"complex": 1i, "error": fmt.Errorf("x: %w", os.ErrNotExist), "duration": time.Second, "bytes": []byte("\xff"),
	}
	got := decoded(t, &Entry{Message: "m", Time: time.Date(-5, 1, 1, 0, 0, 0, 0, time.UTC), Fields: fields})
	if len(got.Fields) != len(fields) || got.Fields["error"] != "x: file does not exist" || got.Fields["duration"] != "1s" || got.Fields["nan"] != "NaN" {
		t.Errorf("got %v", got)
	}
}

func TestAnEntryThatIsTooLongIsCutAndSaysSo(t *testing.T) {
	for name, e := range map[string]*Entry{
		"message": {Message: strings.Repeat("\x00", 1<<20)},
		"level":   {Level: strings.Repeat("\xff", 1<<20)},
		"field":   {Message: "m", Fields: map[string]any{"a": strings.Repeat("<", 1<<20), "b": 1}},
		"key":     {Message: "m", Fields: map[string]any{strings.Repeat("\x01", 1<<20): 1}},
		"all":     {Message: strings.Repeat("\x00", 1<<20), Fields: manyFields()},
	} {
		t.Run(name, func(t *testing.T) {
			got := decoded(t, e)
			if text, ok := got.Fields["unref_cut"].(string); !ok || !strings.HasPrefix(text, "entry of ") {
				t.Errorf("got %v", got.Fields["unref_cut"])
			}
			if name == "field" && (got.Message != "m" || got.Fields["b"] != int64(1)) {
				t.Errorf("lost what was short: %v", got.Fields["b"])
			}
		})
	}
}

func manyFields() map[string]any {
	fields := make(map[string]any)
	for i := range 5000 {
		fields[fmt.Sprint(i)+strings.Repeat("\x01", 1000)] = strings.Repeat("\"", 1000)
	}
	return fields
}

// fullDisk fails while it is full.
type fullDisk struct {
	mu   sync.Mutex // protects what follows
	full bool
	out  bytes.Buffer
}

func (d *fullDisk) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.full {
		return 0, errors.New("no space left on device")
	}
	return d.out.Write(p)
}

func (d *fullDisk) set(full bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.full = full
}

func TestEntriesLostOnAFullDiskAreCounted(t *testing.T) {
	disk := &fullDisk{full: true}
	w := &EntryWriter{W: disk}
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if w.WriteEntry(&Entry{Message: "lost"}) == nil {
				t.Error("no error")
			}
		})
	}
	all.Wait()
	disk.set(false)
	for range 2 {
		if err := w.WriteEntry(&Entry{Level: "info", Message: "kept"}); err != nil {
			t.Error(err)
		}
	}
	got := show(readAll(&OutputReader{src: &memory{data: disk.out.Bytes()}}))
	want := []string{"E:warning: 50 log entries were lost: no space left on device lost=50", "E:info: kept", "E:info: kept"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
