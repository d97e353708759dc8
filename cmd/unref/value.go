package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/detached-workers/unref/transport"
)

// Messages are CBOR, which can say more than JSON. What JSON lacks is an object with one of these as its only key, both in
// what is printed and in what is read, so that whatever a worker has said can be said to it.
const (
	bytesKey = "$base64" // a byte string: base64
	mapKey   = "$map"    // a map whose keys are not all texts: an array of pairs
	tagKey   = "$tag"    // a tagged value: its number and the value
	floatKey = "$float"  // "NaN", "Infinity" or "-Infinity"
)

// decMode keeps integers whole, however large.
var decMode = newDecMode()

func newDecMode() cbor.DecMode {
	mode, err := cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, MaxNestedLevels: transport.MaxDepth, MaxArrayElements: transport.MaxElements,
		MaxMapPairs: transport.MaxElements,
	}.DecMode()
	if err != nil {
		panic(err) // the options are constants
	}
	return mode
}

// decodeValue returns a message as JSON, null for no message.
func decodeValue(data []byte) (string, error) {
	if len(data) == 0 {
		return "null", nil
	}
	var v any
	if err := decMode.Unmarshal(data, &v); err != nil {
		return "", fmt.Errorf("decode the worker's message: %w", err)
	}
	return compactJSON(toJSON(v)), nil
}

// toJSON turns what CBOR decodes to into what JSON encodes.
func toJSON(v any) any {
	switch v := v.(type) {
	case []byte:
		return map[string]any{bytesKey: base64.StdEncoding.EncodeToString(v)}
	case cbor.ByteString:
		return toJSON([]byte(v))
	case float64:
		return floatToJSON(v)
	case big.Int:
		return json.Number(v.String())
	case time.Time:
		return v.Format(time.RFC3339Nano)
	case []any:
		list := make([]any, len(v))
		for i, element := range v {
			list[i] = toJSON(element)
		}
		return list
	case map[any]any:
		return mapToJSON(v)
	case cbor.Tag:
		return map[string]any{tagKey: []any{v.Number, toJSON(v.Content)}}
	}
	return v // texts, integers, bool, nil
}

// floatToJSON keeps a float apart from an integer of the same value.
func floatToJSON(f float64) any {
	switch {
	case math.IsNaN(f):
		return map[string]any{floatKey: "NaN"}
	case math.IsInf(f, 1):
		return map[string]any{floatKey: "Infinity"}
	case math.IsInf(f, -1):
		return map[string]any{floatKey: "-Infinity"}
	}
	text := compactJSON(f)
	if !strings.ContainsAny(text, ".e") {
		text += ".0"
	}
	return json.Number(text)
}

// mapToJSON returns an object, or pairs if an object could not be read back.
func mapToJSON(m map[any]any) any {
	object := make(map[string]any, len(m))
	var pairs [][2]any
	for key, value := range m {
		pairs = append(pairs, [2]any{toJSON(key), toJSON(value)})
		if name, ok := key.(string); ok {
			object[name] = toJSON(value)
		}
	}
	if len(object) == len(m) && !isSpecial(object) {
		return object
	}
	slices.SortFunc(pairs, func(a, b [2]any) int { return strings.Compare(compactJSON(a[0]), compactJSON(b[0])) })
	return map[string]any{mapKey: pairs}
}

// isSpecial is whether the object would be read as something else.
func isSpecial(object map[string]any) bool {
	for key := range object {
		return len(object) == 1 && slices.Contains([]string{bytesKey, mapKey, tagKey, floatKey}, key)
	}
	return false
}

// valueReader reads JSON values, one after the other.
type valueReader struct{ dec *json.Decoder }

func newValueReader(r io.Reader) *valueReader {
	dec := json.NewDecoder(r)
	dec.UseNumber()
	return &valueReader{dec}
}

// next returns the next value to send, or io.EOF after the last one.
func (r *valueReader) next() (any, error) {
	var v any
	if err := r.dec.Decode(&v); err != nil {
		if err == io.EOF {
			return nil, err
		}
		return nil, fmt.Errorf("read JSON: %w", err)
	}
	return fromJSON(v)
}

// parseValue returns the one value that is in r.
func parseValue(r io.Reader) (any, error) {
	values := newValueReader(r)
	v, err := values.next()
	if err == io.EOF {
		return nil, errors.New("read JSON: there is none")
	}
	if err != nil {
		return nil, err
	}
	if _, err := values.dec.Token(); err != io.EOF {
		return nil, errors.New("read JSON: more than one value")
	}
	return v, nil
}

// fromJSON turns what JSON decodes to into what CBOR encodes.
func fromJSON(v any) (any, error) {
	switch v := v.(type) {
	case json.Number:
		return number(v)
	case []any:
		return eachFromJSON(v)
	case map[string]any:
		if isSpecial(v) {
			return specialFromJSON(v)
		}
		object := make(map[string]any, len(v))
		for name, value := range v {
			var err error
			if object[name], err = fromJSON(value); err != nil {
				return nil, err
			}
		}
		return object, nil
	}
	return v, nil
}

func eachFromJSON(values []any) ([]any, error) {
	list := make([]any, len(values))
	for i, value := range values {
		var err error
		if list[i], err = fromJSON(value); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// number keeps integers whole. What is written with a point or an exponent is a float.
func number(n json.Number) (any, error) {
	text := string(n)
	if strings.ContainsAny(text, ".eE") {
		return n.Float64()
	}
	if i, err := strconv.ParseInt(text, 10, 64); err == nil {
		return i, nil
	}
	i, ok := new(big.Int).SetString(text, 10)
	if !ok {
		return nil, fmt.Errorf("read JSON: %q is no number", text)
	}
	return i, nil
}

// specialFromJSON reads what JSON has no form for.
func specialFromJSON(object map[string]any) (any, error) {
	for key, value := range object {
		var v any
		var err error
		switch key {
		case bytesKey:
			v, err = bytesFromJSON(value)
		case mapKey:
			v, err = mapFromJSON(value)
		case tagKey:
			v, err = tagFromJSON(value)
		case floatKey:
			v, err = floatFromJSON(value)
		}
		if err != nil {
			return nil, fmt.Errorf("read JSON: %s: %w", key, err)
		}
		return v, nil
	}
	return nil, nil
}

func bytesFromJSON(value any) ([]byte, error) {
	text, ok := value.(string)
	if !ok {
		return nil, errors.New("want base64 in a text")
	}
	return base64.StdEncoding.DecodeString(text)
}

func mapFromJSON(value any) (map[any]any, error) {
	pairs, ok := value.([]any)
	if !ok {
		return nil, errors.New("want an array of pairs")
	}
	m := make(map[any]any, len(pairs))
	for _, element := range pairs {
		pair, ok := element.([]any)
		if !ok || len(pair) != 2 {
			return nil, errors.New("want an array of pairs")
		}
		values, err := eachFromJSON(pair)
		if err != nil {
			return nil, err
		}
		key, err := mapKeyOf(values[0])
		if err != nil {
			return nil, err
		}
		m[key] = values[1]
	}
	return m, nil
}

// mapKeyOf returns a value in a form that can be the key of a map.
func mapKeyOf(v any) (any, error) {
	switch v := v.(type) {
	case []byte:
		return cbor.ByteString(v), nil
	case []any, map[string]any, map[any]any, cbor.Tag:
		return nil, errors.New("a key is a text, a number, a byte string, true, false or null")
	}
	return v, nil
}

func tagFromJSON(value any) (any, error) {
	pair, ok := value.([]any)
	if !ok || len(pair) != 2 {
		return nil, errors.New("want an array of a number and a value")
	}
	text, ok := pair[0].(json.Number)
	if !ok {
		return nil, errors.New("want an array of a number and a value")
	}
	tag, err := strconv.ParseUint(string(text), 10, 64)
	if err != nil {
		return nil, err
	}
	content, err := fromJSON(pair[1])
	return cbor.Tag{Number: tag, Content: content}, err
}

func floatFromJSON(value any) (float64, error) {
	switch value {
	case "NaN":
		return math.NaN(), nil
	case "Infinity":
		return math.Inf(1), nil
	case "-Infinity":
		return math.Inf(-1), nil
	}
	return 0, errors.New(`want "NaN", "Infinity" or "-Infinity"`)
}
