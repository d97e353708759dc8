package frames

import (
	"context"

	"github.com/detached-workers/unref/bench/harness"
)

// Serve is the worker's side: it answers until the other end is gone, and
// closes the connection.
func (c *Conn) Serve() {
	defer c.Close()
	for {
		if err := c.answer(); err != nil {
			return
		}
	}
}

// answer reads one request and answers it.
func (c *Conn) answer() error {
	op, size, err := c.next()
	if err != nil {
		return err
	}
	if op == opPush {
		return c.receive(size)
	}
	request, err := c.payload(size)
	if err != nil {
		return err
	}
	harness.Echo(request)
	return c.sendBuffer(size)
}

// receive reads as many bytes and confirms them.
func (c *Conn) receive(size int) error {
	var receipt harness.Receipt
	for size > 0 {
		b, err := c.payload(min(size, c.settings.Chunk))
		if err != nil {
			return err
		}
		receipt.Add(b)
		size -= len(b)
	}
	return c.send([]byte(receipt.String()))
}

// Echo is that of [harness.Caller].
func (c *Conn) Echo(_ context.Context, payload []byte) ([]byte, error) {
	if err := c.send(payload); err != nil {
		return nil, err
	}
	return c.reply()
}

// Push is that of [harness.Caller].
func (c *Conn) Push(_ context.Context, size int) error {
	c.begin(opPush, size)
	if _, err := c.Write(c.buf[:headerSize]); err != nil {
		return err
	}
	var receipt harness.Receipt
	for chunk := range harness.Chunks(size, c.settings.Chunk) {
		receipt.Add(chunk)
		if _, err := c.Write(chunk); err != nil {
			return err
		}
	}
	confirmed, err := c.reply()
	if err != nil {
		return err
	}
	return receipt.Check(string(confirmed))
}

// reply reads one frame.
func (c *Conn) reply() ([]byte, error) {
	_, size, err := c.next()
	if err != nil {
		return nil, err
	}
	return c.payload(size)
}
