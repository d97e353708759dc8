// Package frames is bytes with a length before them over a connection, for the
// systems that add nothing to that, and both sides of the benchmark's service.
//
// At any point in time one call is under way on a connection. Start with
// [Settings], [Conn.Serve] and [Conn.Echo].
package frames

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
)

// A frame is a header of 8 bytes, which is the size of what follows with the
// operation in its highest byte, and that many bytes. The reply to a push is a
// frame with the receipt.
const (
	headerSize = 8
	opShift    = 56

	opEcho = 0
	opPush = 1
)

// readAhead is enough for a small frame to arrive with one read. Larger ones
// are read straight to where they belong.
const readAhead = 4 << 10

// Settings are what suits a kind of connection.
type Settings struct {
	// Joined is up to which size header and payload are copied into one buffer
	// and written at once. Above it they are written from where they are.
	Joined int

	// Chunk is how much of a push is written and read at a time.
	Chunk int
}

// Conn is one end of a connection, for one goroutine.
type Conn struct {
	net.Conn
	settings Settings
	r        *bufio.Reader
	buf      []byte // a frame: the header's place, then payload

	// What send hands to the kernel, here so that it need not be allocated.
	parts   [2][]byte
	buffers net.Buffers
}

// New returns an end of c. Closing it closes c.
func (s Settings) New(c net.Conn) *Conn {
	return &Conn{Conn: c, settings: s, r: bufio.NewReaderSize(c, readAhead), buf: make([]byte, headerSize+readAhead)}
}

// room returns the buffer's place for a payload of this size.
func (c *Conn) room(size int) []byte {
	if len(c.buf) < headerSize+size {
		c.buf = make([]byte, headerSize+size)
	}
	return c.buf[headerSize : headerSize+size]
}

// next reads a header.
func (c *Conn) next() (op, size int, err error) {
	b, err := c.r.Peek(headerSize)
	if err != nil {
		return 0, 0, err
	}
	n := binary.LittleEndian.Uint64(b)
	_, err = c.r.Discard(headerSize)
	return int(n >> opShift), int(n & (1<<opShift - 1)), err
}

// payload reads what follows a header, into the buffer. It is valid until the
// next frame.
func (c *Conn) payload(size int) ([]byte, error) {
	b := c.room(size)
	_, err := io.ReadFull(c.r, b)
	return b, err
}

// begin puts a header into the buffer.
func (c *Conn) begin(op, size int) {
	binary.LittleEndian.PutUint64(c.buf, uint64(op)<<opShift|uint64(size))
}

// sendBuffer sends the payload of this size that is in the buffer already.
func (c *Conn) sendBuffer(size int) error {
	c.begin(opEcho, size)
	_, err := c.Write(c.buf[:headerSize+size])
	return err
}

// send sends a payload.
func (c *Conn) send(payload []byte) error {
	if len(payload) <= c.settings.Joined {
		return c.sendBuffer(copy(c.room(len(payload)), payload))
	}
	c.begin(opEcho, len(payload))
	c.parts = [2][]byte{c.buf[:headerSize], payload}
	c.buffers = c.parts[:]
	_, err := c.buffers.WriteTo(c.Conn)
	return err
}
