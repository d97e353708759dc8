//go:build !windows

package transport

import (
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// canSendFile reports whether a file can go along with what is written to conn.
func canSendFile(conn net.Conn) bool {
	_, ok := conn.(*net.UnixConn)
	return ok
}

// fileWriter writes to a Unix connection and sends a file along with the first
// byte.
type fileWriter struct {
	conn net.Conn
	file *os.File
}

func (w fileWriter) Write(p []byte) (int, error) {
	var n int
	var sent error
	raw, err := w.file.SyscallConn()
	if err != nil {
		return 0, err
	}
	// Not Fd, which would put a pollable file into blocking mode.
	if err := raw.Control(func(fd uintptr) {
		n, _, sent = w.conn.(*net.UnixConn).WriteMsgUnix(p, unix.UnixRights(int(fd)), nil)
	}); err != nil {
		return 0, err
	}
	if sent != nil || n == len(p) {
		return n, sent
	}
	rest, err := w.conn.Write(p[n:])
	return n + rest, err
}

// maxFiles is how many files a message is searched for; only one is kept.
const maxFiles = 4

// readWithFile fills p and returns the file that came along, nil if none did.
func readWithFile(conn net.Conn, p []byte) (*os.File, error) {
	uc, ok := conn.(*net.UnixConn)
	if !ok {
		_, err := io.ReadFull(conn, p)
		return nil, err
	}
	control := make([]byte, unix.CmsgSpace(4*maxFiles))
	n, controlled, _, _, err := uc.ReadMsgUnix(p, control)
	if err != nil {
		return nil, err
	}
	file := receivedFile(control[:controlled])
	if _, err := io.ReadFull(conn, p[n:]); err != nil {
		if file != nil {
			file.Close()
		}
		return nil, err
	}
	return file, nil
}

// receivedFile takes the first descriptor of a control message and closes any
// others.
func receivedFile(control []byte) *os.File {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil
	}
	var file *os.File
	for _, message := range messages {
		fds, err := unix.ParseUnixRights(&message)
		if err != nil {
			continue
		}
		for _, fd := range fds {
			if file != nil {
				unix.Close(fd)
				continue
			}
			unix.CloseOnExec(fd)
			file = os.NewFile(uintptr(fd), "output")
		}
	}
	return file
}
