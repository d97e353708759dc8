//go:build !windows

package transport

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
)

// acceptOne accepts one connection on a new socket and returns its path and what
// came of it.
func acceptOne(t *testing.T, cfg AcceptConfig) (path string, result <-chan error) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "s")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	accepted := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			accepted <- err
			return
		}
		c, err := Accept(context.Background(), conn, cfg)
		accepted <- err
		if err == nil {
			_ = c.Serve(context.Background(), func(context.Context, *Call) ([]byte, error) { return nil, nil })
		}
	}()
	return path, accepted
}

func TestOutputComesWithTheWelcomeForWhoAsks(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "spool"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteString("last words"); err != nil {
		t.Fatal(err)
	}
	for _, asks := range []bool{true, false} {
		path, accepted := acceptOne(t, AcceptConfig{Output: file})
		var hello Hello
		if asks {
			hello.Features = []string{"from the future", FeatureOutput}
		}
		c, err := Dial(t.Context(), path, DialConfig{Hello: hello})
		if err != nil {
			t.Fatal(err)
		}
		if err := <-accepted; err != nil {
			t.Fatal(err)
		}
		if _, err := c.Call(t.Context(), Request{Method: "m"}); err != nil {
			t.Errorf("asks %v: a call: %v", asks, err)
		}
		c.Close()
		switch got := c.Output(); {
		case asks != (got != nil):
			t.Errorf("asks %v: got file %v", asks, got)
		case got != nil:
			words := make([]byte, 10)
			if n, err := got.ReadAt(words, 0); err != nil || string(words[:n]) != "last words" {
				t.Errorf("read %q, %v", words[:n], err)
			}
			got.Close()
		}
	}
}

// Whoever is turned away before the welcome can be sure that nothing has
// happened.
func TestAdmitTurnsAwayBeforeTheWelcome(t *testing.T) {
	leaving := errors.New("leaving")
	path, accepted := acceptOne(t, AcceptConfig{Self: Welcome{Name: "n"}, Admit: func(hello Hello) error {
		if hello.Name != "n" {
			t.Errorf("got hello %+v", hello)
		}
		return leaving
	}})
	_, err := Dial(t.Context(), path, DialConfig{Hello: Hello{Name: "n"}})
	if !errors.Is(err, ErrNoHandshake) {
		t.Errorf("the caller got %v", err)
	}
	if err := <-accepted; !errors.Is(err, leaving) {
		t.Errorf("the worker got %v", err)
	}
}

func TestReadWithFileKeepsOneOfManyFiles(t *testing.T) {
	dir := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	theirs, err := net.Dial("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	ours, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	before := openFiles(t)
	for range 3 {
		if _, err := (fileWriter{theirs, os.Stdin}).Write([]byte("a")); err != nil {
			t.Fatal(err)
		}
	}
	got := make([]byte, 3)
	file, err := readWithFile(ours, got)
	if err != nil || string(got) != "aaa" || file == nil {
		t.Fatalf("got %q, %v, %v", got, file, err)
	}
	file.Close()
	if after := openFiles(t); after != before {
		t.Errorf("%d files were open before and %d after", before, after)
	}
	theirs.Close()
	if _, err := readWithFile(ours, got); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
