package transport

import (
	"fmt"
	"net"
	"os"
	"sync"
)

// Listener is a Unix socket's listener. Close removes the socket's file, but
// only if it is still the listener's own.
type Listener struct {
	*net.UnixListener
	path string
	file os.FileInfo
	once sync.Once
	err  error // of the close
}

// Listen listens on a Unix socket at path. The path shows the socket only once
// it takes connections, and replaces what was there before at one blow, unless
// that takes connections itself: then it is [syscall.EADDRINUSE].
func Listen(path string) (*Listener, error) {
	ul, err := bind(path)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	ul.SetUnlinkOnClose(false)
	file, err := os.Lstat(path)
	if err != nil {
		ul.Close()
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	return &Listener{UnixListener: ul, path: path, file: file}, nil
}

// Close stops listening. Closing again is harmless: once the socket is closed
// another file may get its inode number, so the path is looked at only before.
func (l *Listener) Close() error {
	l.once.Do(func() {
		if now, err := os.Lstat(l.path); err == nil && os.SameFile(now, l.file) {
			os.Remove(l.path)
		}
		l.err = l.UnixListener.Close()
	})
	return l.err
}
