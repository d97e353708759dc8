package transport

import (
	"bytes"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// Limits of one message's structure. Decoding holds to both; encoding holds to
// the depth, which also catches what contains itself.
const (
	MaxDepth    = 128     // nesting of arrays, maps and tags
	MaxElements = 1 << 20 // elements of one array, pairs of one map
)

// Codec turns Go values into CBOR (RFC 8949) and back. Struct fields travel by
// name in a map; the `cbor` tag renames or omits them, and without one the
// `json` tag counts. Times keep their nanoseconds and zone offset. Decoding
// refuses duplicate map keys in what it decodes, nesting deeper than [MaxDepth] and collections
// larger than [MaxElements].
type Codec struct {
	// Strict refuses fields that the target has not. By default they are
	// ignored, so that two builds can differ in what they know.
	Strict bool

	// Lend lets a decoded value of type [Chunk] refer to the data instead of
	// copying it.
	Lend bool
}

// Chunk is bytes as a whole message, for much data: on receipt they are not
// copied where that can be avoided. What a handler gets as its request is valid
// until it returns, and what Recv returns until the next Recv; the reply of a
// unary call is the caller's own. On the wire, and as a part of other values, it
// is what a []byte is.
type Chunk []byte

var (
	encMode   = must(encOptions().UserBufferEncMode())
	decLax    = must(decOptions(cbor.ExtraDecErrorNone).DecMode())
	decStrict = must(decOptions(cbor.ExtraDecErrorUnknownField).DecMode())
)

func encOptions() cbor.EncOptions {
	return cbor.EncOptions{Time: cbor.TimeRFC3339Nano, TimeTag: cbor.EncTagRequired}
}

func decOptions(extra cbor.ExtraDecErrorCond) cbor.DecOptions {
	return cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		ExtraReturnErrors: extra,
		MaxNestedLevels:   MaxDepth,
		MaxArrayElements:  MaxElements,
		MaxMapPairs:       MaxElements,
		IntDec:            cbor.IntDecConvertSignedOrFail,
		DefaultMapType:    mapType,
	}
}

// must is for options that are constants of this package.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Encode returns v as CBOR. Values that have no encoding (functions, channels,
// structures that contain themselves) are an *Error with [CodeEncode].
func (Codec) Encode(v any) ([]byte, error) {
	var b buffer
	err := b.encode(v)
	return b.b, err
}

// encode appends v as CBOR.
func (b *buffer) encode(v any) error {
	if p := byteString(v); p != nil {
		b.reserve(cborHead + len(p))
		b.b = append(appendItem(b.b, cborBytes, uint64(len(p))), p...)
		return nil
	}
	err := checkDepth(v)
	if err == nil {
		b.w = *bytes.NewBuffer(b.b)
		err = encMode.MarshalToBuffer(v, &b.w)
		b.b, b.w = b.w.Bytes(), bytes.Buffer{}
	}
	if err != nil {
		return &Error{Code: CodeEncode, Message: fmt.Sprintf("%T: %v", v, err)}
	}
	return nil
}

// byteString returns the bytes of a value that is nothing else, nil for others.
func byteString(v any) []byte {
	switch v := v.(type) {
	case []byte:
		return v
	case Chunk:
		return v
	}
	return nil
}

// assign sets what v points to, if that can only be bytes.
func (c Codec) assign(v any, content []byte) bool {
	switch p := v.(type) {
	case *[]byte:
		*p = bytes.Clone(content)
	case *Chunk:
		if *p = content; !c.Lend {
			*p = bytes.Clone(content)
		}
	default:
		return false
	}
	return true
}

// Decode decodes data, exactly one CBOR item, into v, a pointer.
func (c Codec) Decode(data []byte, v any) error {
	if n, content, ok := cutItem(data, cborBytes); ok && n == uint64(len(content)) && c.assign(v, content) {
		return nil
	}
	mode := decLax
	if c.Strict {
		mode = decStrict
	}
	if err := mode.Unmarshal(data, v); err != nil {
		return &Error{Code: CodeInvalid, Message: fmt.Sprintf("decode %T: %v", v, err)}
	}
	return nil
}
