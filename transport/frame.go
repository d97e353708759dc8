package transport

import (
	"encoding/binary"
	"fmt"
	"io"
)

// frameType says what a frame means. The values are part of the protocol.
type frameType uint8

const (
	frameRequest frameType = 1 + iota // opens a call: request header, then body
	frameMessage                      // one message of a stream
	frameEnd                          // the caller sends no more messages
	frameResult                       // terminal: the call succeeded
	frameFail                         // terminal: the call failed
	frameCancel                       // the caller has lost interest
	frameLarge                        // the result is too large for the lane: fetch it
	frameFetch                        // asks for such a result, on a stream
	frameBell                         // the worker has written output
	frameGoAway                       // the worker takes no new calls
	frameConnect                      // from here on the stream carries raw bytes
	frameTypeEnd
)

// What a call gets in the place of an answer, never on the wire.
const (
	frameLost    frameType = 255 - iota // the connection has ended
	frameExpired                        // the call's time is over
)

// Flags. A request has flagEnd, flagStream, both, flagEnd and flagNotify, or
// flagRaw; of the other frames only terminal ones on a stream have a flag.
const (
	flagEnd    uint8 = 1 << iota // request: no messages follow; terminal frame: no call follows on this stream
	flagStream                   // request: the caller takes a stream of messages
	flagRaw                      // request: the caller wants a connection
	flagNotify                   // request: answered when received, not when done
)

// Reasons in a cancel frame.
const (
	cancelCaller   byte = 1
	cancelDeadline byte = 2
)

// headerSize is the length of a frame's header:
//
//	length  uint32  of the payload, big endian
//	type    uint8
//	flags   uint8
//	zero    uint16
//	id      uint64  of the call, big endian
const headerSize = 16

type header struct {
	length uint32
	typ    frameType
	flags  uint8
	id     uint64
}

func (h header) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, h.length)
	b = append(b, byte(h.typ), h.flags, 0, 0)
	return binary.BigEndian.AppendUint64(b, h.id)
}

func parseHeader(b []byte) (header, error) {
	h := header{
		length: binary.BigEndian.Uint32(b),
		typ:    frameType(b[4]),
		flags:  b[5],
		id:     binary.BigEndian.Uint64(b[8:]),
	}
	if h.typ == 0 || h.typ >= frameTypeEnd || b[6] != 0 || b[7] != 0 {
		return header{}, fmt.Errorf("%w: bad frame header % x", ErrProtocol, b[:headerSize])
	}
	return h, nil
}

// readHeader returns io.EOF only where a frame could have begun.
func readHeader(r io.Reader) (header, error) {
	var b [headerSize]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return header{}, err
	}
	return parseHeader(b[:])
}

// readPayload reads the payload that h announces. The memory for all of it is
// taken when a good part has come, so that a header alone can't make it allocate
// its limit.
func readPayload(r io.Reader, h header) (*buffer, error) {
	const step = 2 << 20
	buf := getBuffer()
	for _, n := range []int{min(int(h.length), step), max(0, int(h.length)-step)} {
		if _, err := io.ReadFull(r, buf.grow(n)); err != nil {
			return nil, noEOF(err)
		}
	}
	return buf, nil
}

// noEOF turns an end of input in the middle of a frame into an error.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// newFrame returns a buffer with a frame whose payload is the concatenation of
// parts. More may be appended before it is sealed. In front of it is room for
// yamux's header.
func newFrame(h header, parts ...[]byte) *buffer {
	f := getBuffer()
	size := yamuxHeader + headerSize
	for _, p := range parts {
		size += len(p)
	}
	f.reserve(size)
	f.b = h.append(append(f.b, make([]byte, yamuxHeader)...))
	for _, p := range parts {
		f.b = append(f.b, p...)
	}
	f.seal()
	return f
}

// seal sets the length in a frame's header.
func (b *buffer) seal() { binary.BigEndian.PutUint32(b.frame(), uint32(len(b.payload()))) }

// sealWithin is seal for a message of limit bytes at most.
func (b *buffer) sealWithin(limit int) error {
	if size := len(b.payload()); size > limit {
		return errMessageSize(size, limit)
	}
	b.seal()
	return nil
}

// newMessage returns a frame with an encoded message, which is not sealed.
func newMessage(id uint64, v any) (*buffer, error) {
	frame := newFrame(header{typ: frameMessage, id: id})
	return frame, frame.encode(v)
}

// stamp sets the id of the call in a frame's header.
func (b *buffer) stamp(id uint64) { binary.BigEndian.PutUint64(b.frame()[8:], id) }

func (b *buffer) frame() []byte   { return b.b[yamuxHeader:] }
func (b *buffer) payload() []byte { return b.frame()[headerSize:] }

// typ returns the type in a frame's header, and end sets the flag END there.
func (b *buffer) typ() frameType { return frameType(b.frame()[4]) }
func (b *buffer) end()           { b.frame()[5] |= flagEnd }
