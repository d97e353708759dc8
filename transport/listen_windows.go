package transport

import (
	"net"
	"os"
)

// bind listens in place: Windows can't rename a socket that is open.
func bind(path string) (*net.UnixListener, error) {
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	return net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
}
