package transport

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
)

func TestListenReplacesAStaleSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	stale.Close()
	if err := os.WriteFile(path+".tmp", nil, 0o600); err != nil { // a crash between bind and rename
		t.Fatal(err)
	}
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	for range 2 {
		l.Close()
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) > 0 {
		t.Errorf("Close left %v", left)
	}
}

// LESSONS 15: closing removes the listener's own file only, also when it is
// closed again after its inode number was given to another socket.
func TestCloseRemovesOnlyItsOwnSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	listen := func() *Listener {
		os.Remove(path) // which Listen itself does only to sockets that are dead
		l, err := Listen(path)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	first := listen()
	second := listen()
	first.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Fatalf("the first listener removed the second's socket: %v", err)
	}
	second.Close()
	for range 20 {
		third := listen()
		first.Close()
		second.Close()
		if _, err := os.Lstat(path); err != nil {
			t.Fatalf("a listener that is closed again removed another's socket: %v", err)
		}
		third.Close()
		first, second = third, first
	}
}

// The path never shows a socket that refuses connections.
func TestAPathShowsOnlyListeningSockets(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows can't rename a socket that is open")
	}
	path := filepath.Join(t.TempDir(), "s")
	var wg sync.WaitGroup
	done := make(chan struct{})
	var last *Listener
	defer func() { last.Close() }()
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			conn, err := net.Dial("unix", path)
			if err == nil {
				conn.Close()
			} else if !errors.Is(err, syscall.EAGAIN) && !errors.Is(err, os.ErrNotExist) {
				t.Errorf("connect: %v", err)
				return
			}
		}
	})
	old := []*Listener{l}
	for range 200 {
		os.Remove(path)
		next, err := Listen(path)
		if err != nil {
			t.Fatal(err)
		}
		old = append(old, next)
	}
	close(done)
	wg.Wait()
	for _, l := range old[:len(old)-1] {
		l.Close()
	}
	last = old[len(old)-1]
}

// LESSONS 15: a foreign live socket at our path is not unlinked.
func TestListenLeavesALiveSocketAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	foreign, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer foreign.Close()
	if _, err := Listen(path); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("got %v", err)
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatalf("the foreign socket: %v", err)
	}
	conn.Close()
}

func TestListenNamesThePath(t *testing.T) {
	path := filepath.Join(t.TempDir(), "missing", "s")
	if _, err := Listen(path); !errors.Is(err, os.ErrNotExist) || err.Error()[:10+len(path)] != "listen on "+path {
		t.Errorf("got %v", err)
	}
}
