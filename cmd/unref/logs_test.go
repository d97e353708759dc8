package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/detached-workers/unref/client"
	"github.com/detached-workers/unref/lifecycle"
)

func TestLogsPrintsTextAndEntries(t *testing.T) {
	newRuntimeDir(t)
	w := attach(t, "web", lifecycle.Self(tester))
	tell(t, w, say, "plain\n")
	tell(t, w, note, "careful")
	tell(t, w, say, "unfinished")
	r := unref(t, "logs", "web")
	want := regexp.MustCompile(`^plain\n\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} WARNING careful number=7 text="two words"\nunfinished\n$`)
	if r.status != exitOK || !want.MatchString(r.out) {
		t.Errorf("got %+v", r)
	}
	if r := unref(t, "logs", "-n", "10", "web"); r.out != "unfinished\n" {
		t.Errorf("of the last 10 bytes: got %q", r.out)
	}
}

func TestLogsPrintsOneJSONObjectPerLine(t *testing.T) {
	newRuntimeDir(t)
	w := attach(t, "web", lifecycle.Self(tester))
	tell(t, w, say, "<plain>\n")
	tell(t, w, note, "careful")
	lines := strings.Split(strings.TrimSpace(unref(t, "logs", "--json", "web").out), "\n")
	if len(lines) != 2 || lines[0] != `{"text":"<plain>"}` {
		t.Fatalf("got %q", lines)
	}
	var entry jsonEntry
	if err := json.Unmarshal([]byte(lines[1]), &entry); err != nil || entry.Level != "warning" || entry.Message != "careful" ||
		entry.Fields["text"] != "two words" || entry.Time.IsZero() {
		t.Errorf("got %+v, %v", entry, err)
	}
}

func TestALossIsShown(t *testing.T) {
	if got := lineText(lifecycle.Line{Lost: 12}); got != "[12 bytes were lost]" {
		t.Errorf("got %q", got)
	}
	if got := lineJSON(lifecycle.Line{Lost: 12}); got != `{"lost":12}` {
		t.Errorf("got %q", got)
	}
}

// following is "unref logs -f", running.
type following struct {
	lines  *bufio.Scanner
	status chan int // has its exit status in the end
}

func follow(ctx context.Context, t *testing.T) *following {
	t.Helper()
	reader, writer := io.Pipe()
	f := &following{bufio.NewScanner(reader), make(chan int, 1)}
	go func() {
		defer writer.Close()
		f.status <- run(ctx, []string{"logs", "-f", "web"}, strings.NewReader(""), writer, t.Output())
	}()
	return f
}

func (f *following) want(t *testing.T, line string) {
	t.Helper()
	if !f.lines.Scan() || f.lines.Text() != line {
		t.Errorf("got %q, want %q", f.lines.Text(), line)
	}
}

// end reads to the end and returns the last line and the status.
func (f *following) end() (last string, status int) {
	for f.lines.Scan() {
		last = f.lines.Text()
	}
	return last, <-f.status
}

func TestLogsFollowsUntilTheWorkerEnds(t *testing.T) {
	newRuntimeDir(t)
	w := attach(t, "web", lifecycle.Self(tester))
	tell(t, w, say, "before\n")
	f := follow(t.Context(), t)
	f.want(t, "before")
	tell(t, w, say, "after\n")
	f.want(t, "after")
	tell(t, w, say, "last words")
	if _, err := client.Call(t.Context(), w, quit, struct{}{}); err == nil {
		t.Error("the worker answered")
	}
	if last, status := f.end(); last != "last words" || status != exitOK {
		t.Errorf("got %q and exit status %d", last, status)
	}
}

func TestLogsFollowsUntilAnInterrupt(t *testing.T) {
	newRuntimeDir(t)
	w := attach(t, "web", lifecycle.Self(tester))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	f := follow(ctx, t)
	tell(t, w, say, "line\n")
	f.want(t, "line")
	cancel()
	if last, status := f.end(); last != "" || status != exitOK {
		t.Errorf("got %q and exit status %d", last, status)
	}
	if w.Err() != nil {
		t.Errorf("the worker ended: %v", w.Err())
	}
}

func TestLogsEndsWhenNobodyReads(t *testing.T) {
	newRuntimeDir(t)
	w := attach(t, "web", lifecycle.Self(tester))
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	reader.Close()
	cmd := toolCommand(t, "logs", "-f", "web")
	cmd.Stdout = writer
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	writer.Close()
	tell(t, w, say, "line\n")
	if err := cmd.Wait(); err == nil {
		t.Error("it succeeded")
	}
}
