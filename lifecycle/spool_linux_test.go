package lifecycle

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func newTestSpool(t *testing.T) *spool {
	t.Helper()
	f, err := createSpool(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return newSpool(f, nil, func() {})
}

// realSize is what the file takes on disk.
func realSize(t *testing.T, f *os.File) int64 {
	t.Helper()
	var stat unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &stat); err != nil {
		t.Fatal(err)
	}
	return stat.Blocks * 512
}

func TestTheSpoolHasNoName(t *testing.T) {
	for name, create := range map[string]func(string) (*os.File, error){"tmpfile": createSpool, "unlinked": createUnlinked} {
		dir := t.TempDir()
		f, err := create(dir)
		if err != nil {
			t.Fatal(err)
		}
		if entries, _ := os.ReadDir(dir); len(entries) > 0 {
			t.Errorf("%s: got %v", name, entries)
		}
		f.WriteString("one\n")
		f.WriteAt(nil, 0)
		f.Close()
	}
}

func TestASlowReaderLearnsExactlyWhatItLost(t *testing.T) {
	s := newTestSpool(t)
	line := []byte(strings.Repeat("y", 999) + "\n")
	r := NewOutputReader(s.file)
	var wrote, read, lost int64
	count := func() {
		for line, ok := r.Next(); ok; line, ok = r.Next() {
			if line.Lost > 0 {
				lost += line.Lost
			} else {
				read += int64(len(line.Text)) + 1
			}
		}
	}
	for i := range 60_000 {
		n, err := s.file.Write(line)
		if err != nil {
			t.Fatal(err)
		}
		wrote += int64(n)
		if i%100 == 0 {
			s.bound()
		}
		if i%20_000 == 5 {
			count()
		}
	}
	count()
	if lost == 0 || read+lost != wrote || read%1000 != 0 {
		t.Errorf("read %d and lost %d of %d", read, lost, wrote)
	}
	if got := realSize(t, s.file); got > spoolMax+1<<20 {
		t.Errorf("the spool takes %d bytes", got)
	}
}

func TestEveryByteIsReadOrCountedAtFullSpeed(t *testing.T) {
	s := newTestSpool(t)
	const total = 100 << 20
	line := []byte(strings.Repeat("z", 4095) + "\n")
	var writer sync.WaitGroup
	var finished atomic.Bool
	writer.Go(func() {
		defer finished.Store(true)
		for range total / len(line) {
			if _, err := s.file.Write(line); err != nil {
				t.Error(err)
			}
			s.bound()
		}
	})
	r := NewOutputReader(s.file)
	var got int64
	for last := false; !last; {
		last = finished.Load()
		for line, ok := r.Next(); ok; line, ok = r.Next() {
			switch {
			case line.Lost > 0:
				got += line.Lost
			case line.Text != string(bytes.TrimSuffix([]byte(strings.Repeat("z", 4096)), []byte("z"))):
				t.Fatalf("a line that was never written: %.100q", line.Text)
			default:
				got += int64(len(line.Text)) + 1
			}
		}
	}
	writer.Wait()
	if got != total {
		t.Errorf("got %d of %d", got, total)
	}
}

func TestTheSpoolBeginsAgainBelowTheFileSizeLimit(t *testing.T) {
	s := newTestSpool(t)
	s.limit = 10 << 20
	r := NewOutputReader(s.file)
	for range 11 {
		s.file.Write(bytes.Repeat([]byte("0123456\n"), 1<<17))
		s.bound()
	}
	fmt.Fprintln(s.file, "new")
	if size, _ := (spoolSource{s.file}).Size(); size != 4 {
		t.Errorf("got size %d", size)
	}
	for line, ok := r.Next(); ok; line, ok = r.Next() {
		if line.Text == "new" {
			return
		}
	}
	t.Error("the reader did not find the new beginning")
}

func TestAReaderBehindATruncationGoesOnAtTheBeginning(t *testing.T) {
	s := newTestSpool(t)
	s.file.WriteString("one\ntwo\n")
	r := NewOutputReader(s.file)
	readAll(r)
	other, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", s.file.Fd()), os.O_WRONLY|os.O_TRUNC, 0) // as "> /dev/stderr" does
	if err != nil {
		t.Fatal(err)
	}
	other.Close()
	s.file.WriteString("new\n")
	s.bound()
	if got := fmt.Sprint(show(readAll(r))); got != "[L:1 T:new]" {
		t.Errorf("got %s", got)
	}
}

// LESSONS 13
func TestAFloodIsBoundedOnDiskWithoutAnyReader(t *testing.T) {
	p := startReady(t, role(t, "flood"))
	await(t, "much output", func() bool {
		size, _ := spoolSource{p.spool}.Size()
		return size > 100<<20
	})
	// The writer never waits, so the real size may overshoot while the other end is not scheduled.
	if got := realSize(t, p.spool); got > 8*spoolMax {
		t.Errorf("the spool takes %d bytes", got)
	}
}

func TestWatchersAreToldThatTheOutputGrew(t *testing.T) {
	for name, wait := range map[string]func(*os.File) func(){
		"inotify": func(f *os.File) func() {
			wait, forget := growth(f, nil, func() {})
			t.Cleanup(forget)
			return wait
		},
		"polling": func(f *os.File) func() { return growthByPolling(f, time.Millisecond, func() {}) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newTestSpool(t)
			next := wait(s.file)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var calls atomic.Int64
			var all sync.WaitGroup
			defer all.Wait()
			defer cancel()
			all.Go(func() {
				if err := s.watch(ctx, func() { calls.Add(1) }); err != context.Canceled {
					t.Error(err)
				}
			})
			await(t, "watcher", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.watchers) == 1 })
			for range 3 {
				before := calls.Load()
				s.file.WriteString("x\n")
				next()
				s.tell()
				await(t, "call", func() bool { return calls.Load() > before })
			}
		})
	}
}

func TestAFullDeviceOnlyCostsEntries(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	w := &EntryWriter{W: full}
	if err := w.WriteEntry(&Entry{Message: "m"}); err == nil {
		t.Error("no error")
	}
}
