//go:build !windows

package transport

import (
	"net"
	"os"
	"syscall"
)

// bind listens under a temporary name and renames the socket, because between
// bind(2) and listen(2) a path looks like a stale socket.
func bind(path string) (*net.UnixListener, error) {
	if conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"}); err == nil {
		_ = conn.Close()
		return nil, syscall.EADDRINUSE // somebody listens there, and is not to be displaced
	}
	temp := path + ".tmp"
	if err := os.Remove(temp); err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: temp, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	if err := os.Rename(temp, path); err != nil {
		os.Remove(temp)
		l.Close()
		return nil, err
	}
	return l, nil
}
