package transport

import (
	"fmt"
	"net"
	"os"
	"syscall"
)

// checkPeer refuses a connection with another user's process.
func checkPeer(conn net.Conn) error {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	var uid int
	var known bool
	var credErr error
	if err := raw.Control(func(fd uintptr) { uid, known, credErr = peerUID(int(fd)) }); err != nil {
		return err
	}
	if credErr != nil {
		return fmt.Errorf("read the peer's credentials: %w", credErr)
	}
	if known && uid != os.Geteuid() {
		return fmt.Errorf("the process at the other end of the socket belongs to uid %d, not to uid %d: %w", uid, os.Geteuid(), os.ErrPermission)
	}
	return nil
}
