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
}

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

// Decode decodes data, exactly one CBOR item, into v, a pointer.
func (c Codec) Decode(data []byte, v any) error {
	mode := decLax
	if c.Strict {
		mode = decStrict
	}
	if err := mode.Unmarshal(data, v); err != nil {
		return &Error{Code: CodeInvalid, Message: fmt.Sprintf("decode %T: %v", v, err)}
	}
	return nil
}
