package transport

import (
	"context"
	"encoding/binary"
	"fmt"
	"unicode/utf8"
)

// requestHeader precedes the body in a request frame's payload. It is one CBOR
// array. The usual form is written and read here, because both happen in each
// call; the codec reads all others.
type requestHeader struct {
	_        struct{} `cbor:",toarray"`
	Method   string
	Timeout  int64 // nanoseconds that remain for the call; 0 means no limit
	Metadata map[string]string
}

// The first bytes of CBOR items that a request header consists of: the type in
// the upper three bits, and below the length, the number, or where that is.
const (
	cborUint  = 0 << 5
	cborBytes = 2 << 5
	cborText  = 3 << 5
	cborArray = 4 << 5
	cborMap   = 5 << 5
	cborNull  = 0xf6

	cborHead = 9 // bytes that the beginning of an item takes at most

	cborOneByte    = 24 // the number is in the next byte
	cborTwoBytes   = 25
	cborFourBytes  = 26
	cborEightBytes = 27
)

// appendHeader appends the header of a request that has been checked.
func (r *Request) appendHeader(ctx context.Context, b []byte) []byte {
	b = append(b, cborArray|3)
	b = appendText(b, r.Method)
	b = appendItem(b, cborUint, uint64(r.limit(ctx)))
	if r.Metadata == nil {
		return append(b, cborNull)
	}
	b = appendItem(b, cborMap, uint64(len(r.Metadata)))
	for k, v := range r.Metadata {
		b = appendText(appendText(b, k), v)
	}
	return b
}

func appendText(b []byte, s string) []byte {
	return append(appendItem(b, cborText, uint64(len(s))), s...)
}

// appendItem appends the beginning of an item in its shortest form.
func appendItem(b []byte, typ byte, n uint64) []byte {
	switch {
	case n < cborOneByte:
		return append(b, typ|byte(n))
	case n < 1<<8:
		return append(b, typ|cborOneByte, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, typ|cborTwoBytes), uint16(n))
	case n < 1<<32:
		return binary.BigEndian.AppendUint32(append(b, typ|cborFourBytes), uint32(n))
	default:
		return binary.BigEndian.AppendUint64(append(b, typ|cborEightBytes), n)
	}
}

// decodeRequest splits a request frame's payload into header and body.
func decodeRequest(payload []byte) (requestHeader, []byte, error) {
	h, body, ok := usualHeader(payload)
	if !ok {
		var err error
		if body, err = decLax.UnmarshalFirst(payload, &h); err != nil {
			return h, nil, fmt.Errorf("%w: bad request header: %w", ErrProtocol, err)
		}
	}
	if len(h.Method) > maxMethod {
		return h, nil, fmt.Errorf("%w: method name of %d bytes, limit %d", ErrProtocol, len(h.Method), maxMethod)
	}
	return h, body, nil
}

// usualHeader reads a header of the usual form: definite lengths, a time that
// is not negative, and no metadata.
func usualHeader(b []byte) (h requestHeader, body []byte, ok bool) {
	if len(b) == 0 || b[0] != cborArray|3 {
		return h, nil, false
	}
	n, b, ok := cutItem(b[1:], cborText)
	if !ok || n > uint64(len(b)) || !utf8.Valid(b[:n]) {
		return h, nil, false
	}
	method, b := b[:n], b[n:]
	timeout, b, ok := cutItem(b, cborUint)
	if !ok || timeout > 1<<63-1 || len(b) == 0 || b[0] != cborNull {
		return h, nil, false
	}
	return requestHeader{Method: string(method), Timeout: int64(timeout)}, b[1:], true
}

// cutItem cuts the beginning of an item of a type off b and returns its number.
func cutItem(b []byte, typ byte) (n uint64, rest []byte, ok bool) {
	if len(b) == 0 || b[0]&(7<<5) != typ {
		return 0, nil, false
	}
	info, b := b[0]&31, b[1:]
	switch {
	case info < cborOneByte:
		return uint64(info), b, true
	case info == cborOneByte && len(b) >= 1:
		return uint64(b[0]), b[1:], true
	case info == cborTwoBytes && len(b) >= 2:
		return uint64(binary.BigEndian.Uint16(b)), b[2:], true
	case info == cborFourBytes && len(b) >= 4:
		return uint64(binary.BigEndian.Uint32(b)), b[4:], true
	case info == cborEightBytes && len(b) >= 8:
		return binary.BigEndian.Uint64(b), b[8:], true
	}
	return 0, nil, false
}
