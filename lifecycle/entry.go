package lifecycle

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

const (
	recordStart = 0x1e // RS, as in RFC 7464; JSON text never holds it raw
	entryPrefix = `{"unref":1,`

	maxEntry   = 256 << 10 // an encoded entry, RS and LF included
	cutMessage = 16 << 10  // what is kept of the message of a longer one; escaping makes it at most six times as long
	cutField   = 256       // and of each of its fields
	cutFields  = 64        // and how many of these
)

// Entry is one log entry of a worker. In the spool it is RS (0x1e), one line of compact JSON, and LF, written with a
// single write, so that it stays whole between what other writers print.
type Entry struct {
	Time    time.Time
	Level   string
	Message string
	// Fields must not be changed while the entry is written. An error stands for its text, a duration for its usual
	// form, and a value that JSON cannot encode for its fmt.Sprint text. Read back, numbers are int64 where they are
	// whole, else float64.
	Fields map[string]any

	limit string // that the worker leaves for, one of those of [ExitError.Limit]; empty in all other entries
}

type wireEntry struct {
	Unref   int                        `json:"unref"`
	Time    time.Time                  `json:"time"`
	Level   string                     `json:"level"`
	Message string                     `json:"msg"`
	Limit   string                     `json:"limit,omitempty"`
	Fields  map[string]json.RawMessage `json:"fields,omitempty"`
}

type readEntry struct {
	Unref   int            `json:"unref"`
	Time    time.Time      `json:"time"`
	Level   string         `json:"level"`
	Message string         `json:"msg"`
	Limit   string         `json:"limit"`
	Fields  map[string]any `json:"fields"`
}

// AppendTo appends the encoded entry to b. An entry of more than 256 KiB is cut and has the field "unref_cut", which
// says how long it was.
func (e *Entry) AppendTo(b []byte) []byte {
	wire := wireEntry{Unref: 1, Time: e.time(), Level: e.Level, Message: e.Message, Limit: e.limit, Fields: encodeFields(e.Fields)}
	record := wire.encode()
	if len(record)+2 > maxEntry {
		record = wire.cut(len(record)).encode()
	}
	b = append(b, recordStart)
	b = append(b, record...)
	return append(b, '\n')
}

// time avoids the years that RFC 3339 and thus JSON cannot express.
func (e *Entry) time() time.Time {
	if y := e.Time.UTC().Year(); y < 1 || y > 9998 {
		return time.Time{}
	}
	return e.Time.UTC()
}

func (w *wireEntry) encode() []byte {
	record, err := json.Marshal(w)
	if err != nil { // cannot happen: every part is known to encode
		record, _ = json.Marshal(wireEntry{Unref: 1, Level: "error", Message: "unencodable log entry: " + err.Error()})
	}
	return record
}

func (w *wireEntry) cut(size int) *wireEntry {
	short := *w
	short.Level = short.Level[:min(len(short.Level), cutField)]
	short.Message = short.Message[:min(len(short.Message), cutMessage)]
	short.Fields = map[string]json.RawMessage{"unref_cut": encodeValue(fmt.Sprintf("entry of %d bytes", size))}
	for _, key := range slices.Sorted(maps.Keys(w.Fields))[:min(len(w.Fields), cutFields)] {
		value := w.Fields[key]
		if len(value) > cutField {
			value = encodeValue(string(value[:cutField]) + "...")
		}
		short.Fields[key[:min(len(key), cutField)]] = value
	}
	return &short
}

func encodeFields(fields map[string]any) map[string]json.RawMessage {
	if len(fields) == 0 {
		return nil
	}
	encoded := make(map[string]json.RawMessage, len(fields))
	for key, value := range fields {
		encoded[key] = encodeValue(value)
	}
	return encoded
}

// encodeValue never fails and never panics, whatever methods the value has.
func encodeValue(value any) (encoded json.RawMessage) {
	defer func() {
		if recover() != nil {
			encoded, _ = json.Marshal(fmt.Sprint(value)) // fmt survives panics of the methods it calls
		}
	}()
	switch v := value.(type) {
	case error:
		value = v.Error()
	case time.Duration:
		value = v.String()
	}
	encoded, err := json.Marshal(value)
	if err != nil {
		encoded, _ = json.Marshal(fmt.Sprint(value))
	}
	return encoded
}

// decodeEntry parses a record without its LF. It is strict where that costs nothing: only what AppendTo can have written
// is an entry.
func decodeEntry(record []byte) (*Entry, bool) {
	if len(record)+1 > maxEntry || len(record) == 0 || record[0] != recordStart {
		return nil, false
	}
	record = record[1:]
	if !bytes.HasPrefix(record, []byte(entryPrefix)) || !json.Valid(record) {
		return nil, false
	}
	var read readEntry
	dec := json.NewDecoder(bytes.NewReader(record))
	dec.UseNumber()
	if err := dec.Decode(&read); err != nil || read.Unref != 1 {
		return nil, false
	}
	for key, value := range read.Fields {
		read.Fields[key] = plainNumbers(value)
	}
	return &Entry{Time: read.Time, Level: read.Level, Message: read.Message, Fields: read.Fields, limit: read.Limit}, true
}

func plainNumbers(value any) any {
	switch v := value.(type) {
	case json.Number:
		return plainNumber(v)
	case map[string]any:
		for key := range v {
			v[key] = plainNumbers(v[key])
		}
	case []any:
		for i := range v {
			v[i] = plainNumbers(v[i])
		}
	}
	return value
}

// plainNumber keeps the json.Number where neither int64 nor float64 holds it exactly enough.
func plainNumber(n json.Number) any {
	if i, err := n.Int64(); err == nil {
		return i
	}
	if f, err := n.Float64(); err == nil && strings.ContainsAny(n.String(), ".eE") {
		return f
	}
	return n
}

// String renders the entry as "level: message key=value", keys in order.
func (e *Entry) String() string {
	var b strings.Builder
	if e.Level != "" {
		b.WriteString(e.Level + ": ")
	}
	b.WriteString(e.Message)
	for _, key := range slices.Sorted(maps.Keys(e.Fields)) {
		fmt.Fprintf(&b, " %s=%v", key, e.Fields[key])
	}
	return b.String()
}

// EntryWriter writes entries, each with a single write. When writes fail, because the disk is full, it counts the lost
// entries and says so as soon as a write succeeds again. It never blocks on a reader. It is safe for concurrent use; the
// zero EntryWriter writes to standard error.
type EntryWriter struct {
	// W is where entries go. Nil means os.Stderr.
	W io.Writer

	lost  atomic.Int64
	cause atomic.Pointer[error] // of the newest failure
}

// WriteEntry writes e. An error means that e was lost and has been counted.
func (w *EntryWriter) WriteEntry(e *Entry) error {
	lost := w.lost.Swap(0)
	var record []byte
	if lost > 0 {
		record = w.lostEntry(lost, e.Time).AppendTo(record)
	}
	if _, err := w.writer().Write(e.AppendTo(record)); err != nil {
		w.cause.Store(&err)
		w.lost.Add(lost + 1)
		return err
	}
	return nil
}

func (w *EntryWriter) lostEntry(lost int64, at time.Time) *Entry {
	message := fmt.Sprintf("%d log entries were lost", lost)
	if cause := w.cause.Load(); cause != nil {
		message += ": " + (*cause).Error()
	}
	return &Entry{Time: at, Level: "warning", Message: message, Fields: map[string]any{"lost": lost}}
}

func (w *EntryWriter) writer() io.Writer {
	if w.W != nil {
		return w.W
	}
	return os.Stderr
}
