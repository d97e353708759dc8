package transport

import (
	"io"
	"net"
	"os"
)

// canSendFile reports whether a file can go along with what is written to conn:
// Unix sockets carry no files here.
func canSendFile(net.Conn) bool { return false }

// fileWriter is never used here.
type fileWriter struct {
	net.Conn
	file *os.File
}

// readWithFile fills p. No file comes along here.
func readWithFile(conn net.Conn, p []byte) (*os.File, error) {
	_, err := io.ReadFull(conn, p)
	return nil, err
}
