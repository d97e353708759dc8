package transport

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
)

type everything struct {
	S    string            `json:"s"`
	I    int64             `cbor:"i,omitempty"`
	U    uint64            `cbor:"u"`
	F    float64           `cbor:"f"`
	B    []byte            `cbor:"b"`
	L    []string          `cbor:"l"`
	M    map[string]int    `cbor:"m"`
	T    time.Time         `cbor:"t"`
	D    time.Duration     `cbor:"d"`
	P    *everything       `cbor:"p"`
	Any  any               `cbor:"any"`
	Skip func()            `cbor:"-"`
	IM   map[int]time.Time `cbor:"im"`
}

func TestValuesSurviveTheTrip(t *testing.T) {
	at := time.Date(2026, 2, 3, 4, 5, 6, 789, time.FixedZone("", 3600))
	want := everything{
		S: "grüße", I: -5, U: math.MaxUint64, F: math.Inf(1), B: []byte{0, 1}, L: []string{"a"}, M: map[string]int{"x": 1},
		T: at, D: time.Second, P: &everything{S: "inner", T: at}, Any: map[string]any{"k": []any{int64(1), "two", true, nil}},
		IM: map[int]time.Time{7: at},
	}
	data, err := Codec{}.Encode(want)
	if err != nil {
		t.Fatal(err)
	}
	var got everything
	if err := (Codec{Strict: true}).Decode(data, &got); err != nil {
		t.Fatal(err)
	}
	if !got.T.Equal(at) || !got.IM[7].Equal(at) {
		t.Errorf("got %v, want %v", got.T, at)
	}
	got.T, got.P.T, got.IM = want.T, want.T, want.IM
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// Bytes alone are written and read here and not by the library: what comes of
// it must be the same.
func TestBytesTravelAsTheLibraryWouldSendThem(t *testing.T) {
	for _, size := range []int{0, 1, 23, 24, 255, 256, 65535, 65536, maxUsual, maxKept + 1} {
		want := bytes.Repeat([]byte{7}, size)
		usual, err := encMode.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range []any{want, Chunk(want)} {
			if data, err := (Codec{}).Encode(v); err != nil || !bytes.Equal(data, usual) {
				t.Errorf("%d bytes as a %T: other bytes than the library's, %v", size, v, err)
			}
		}
		for _, codec := range []Codec{{}, {Strict: true}, {Lend: true}} {
			var got []byte
			var chunk Chunk
			if err := errors.Join(codec.Decode(usual, &got), codec.Decode(usual, &chunk)); err != nil {
				t.Fatal(err)
			}
			if got == nil || !bytes.Equal(got, want) || chunk == nil || !bytes.Equal(chunk, want) {
				t.Errorf("%d bytes: got %d and %d", size, len(got), len(chunk))
			}
		}
	}
	for _, none := range []any{[]byte(nil), Chunk(nil)} {
		if data, err := (Codec{}).Encode(none); err != nil || !bytes.Equal(data, []byte{cborNull}) {
			t.Errorf("%T(nil): got % x, %v", none, data, err)
		}
	}
	for _, what := range []struct {
		data []byte
		want []byte // nil if it is an error
	}{
		{[]byte{0x5f, 0x41, 1, 0x42, 2, 3, 0xff}, []byte{1, 2, 3}}, // in parts
		{[]byte{0x58, 1, 9}, []byte{9}},                            // not in the shortest form
		{[]byte{0x42, 1}, nil},
		{[]byte{0x41, 1, 2}, nil},
		{[]byte{0x58}, nil},
		{[]byte{0x61, 'x'}, nil},
	} {
		var got []byte
		err := Codec{}.Decode(what.data, &got)
		if what.want == nil {
			wantErr(t, err, CodeInvalid)
		} else if err != nil || !bytes.Equal(got, what.want) {
			t.Errorf("% x: got % x, %v", what.data, got, err)
		}
	}
}

func TestOnlyAChunkIsLentAndOnlyWhereThatIsAllowed(t *testing.T) {
	var own []byte
	var ownChunk, lent Chunk
	data := []byte{0x41, 1}
	if err := errors.Join(Codec{Lend: true}.Decode(data, &own), Codec{}.Decode(data, &ownChunk), Codec{Lend: true}.Decode(data, &lent)); err != nil {
		t.Fatal(err)
	}
	data[1] = 2
	if own[0] != 1 || ownChunk[0] != 1 || lent[0] != 2 {
		t.Errorf("got %v, %v and %v after the data has changed", own, ownChunk, lent)
	}
}

type (
	ring struct {
		Next *ring
	}
	tree struct {
		Parent   *tree `cbor:"-"`
		Up       *tree `json:"-"`
		Children []*tree
	}
	keyed struct{ M map[*keyed]int }
	list  []list
)

func circular() any {
	r := new(ring)
	r.Next = r
	return r
}

func circularKey() any {
	k := &keyed{M: map[*keyed]int{}}
	k.M[k] = 1
	return k
}

func circularSlice() any {
	l := list{nil}
	l[0] = l
	return l
}

func circularMap() any {
	m := map[string]any{}
	m["self"] = m
	return m
}

func circularInterface() any {
	var p any
	p = &p
	return p
}

// nested returns an array in an array in ... with n levels.
func nested(n int) any {
	var v any = 1
	for range n {
		v = []any{v}
	}
	return v
}

func TestAValueThatHasNoEncodingIsAnEncodeError(t *testing.T) {
	for name, v := range map[string]any{
		"a function":              func() {},
		"a channel":               make(chan int),
		"a field that is one":     struct{ C chan int }{make(chan int)},
		"a function in an any":    []any{1, func() {}},
		"a ring of pointers":      circular(),
		"a map key of itself":     circularKey(),
		"a slice of itself":       circularSlice(),
		"a map of itself":         circularMap(),
		"an interface of itself":  circularInterface(),
		"too many levels":         nested(MaxDepth + 1),
		"far too many levels":     nested(100_000),
		"a pointer to a function": new(func()),
	} {
		_, err := Codec{}.Encode(v)
		if e, _ := errors.AsType[*Error](err); e == nil || e.Code != CodeEncode {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestWhatIsEncodedAtTheDepthLimitCanBeDecoded(t *testing.T) {
	data, err := Codec{}.Encode(nested(MaxDepth))
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := (Codec{}).Decode(data, &v); err != nil {
		t.Error(err)
	}
}

func TestFieldsThatDoNotTravelMayPointBack(t *testing.T) {
	root := new(tree)
	root.Children = []*tree{{Parent: root, Up: root}}
	if _, err := (Codec{}).Encode(root); err != nil {
		t.Error(err)
	}
}

func TestAMessageThatIsNoSingleSoundItemIsATypedError(t *testing.T) {
	deep := strings.Repeat("\x81", MaxDepth+1) + "\x01"
	for name, data := range map[string]string{
		"nothing":                "",
		"cut off":                "\x62a",
		"trailing garbage":       "\x01\x02",
		"a key twice":            "\xa2\x61k\x01\x61k\x02",
		"too deep":               deep,
		"too many elements":      "\x9a\x00\x10\x00\x01" + strings.Repeat("\x01", MaxElements+1),
		"a huge array's head":    "\x9b\x00\x00\x00\xff\xff\xff\xff\xff",
		"a huge string's head":   "\x7b\x00\x00\x00\xff\xff\xff\xff\xff",
		"text that is not UTF-8": "\x61\xff",
		"a lone break":           "\xff",
		"a tag without content":  "\xc1",
	} {
		for _, c := range []Codec{{}, {Strict: true}} {
			var v any
			err := c.Decode([]byte(data), &v)
			if e, _ := errors.AsType[*Error](err); e == nil || e.Code != CodeInvalid {
				t.Errorf("%s: got %v", name, err)
			}
		}
	}
}

func TestStrictDecodingRefusesUnknownFields(t *testing.T) {
	data := must(Codec{}.Encode(map[string]int{"known": 1, "unknown": 2}))
	var v struct {
		Known int `cbor:"known"`
	}
	if err := (Codec{}).Decode(data, &v); err != nil || v.Known != 1 {
		t.Errorf("got %+v, %v", v, err)
	}
	wantErr(t, Codec{Strict: true}.Decode(data, &v), CodeInvalid)
}

func TestATypeMismatchIsATypedError(t *testing.T) {
	var n int
	wantErr(t, Codec{}.Decode(must(Codec{}.Encode("text")), &n), CodeInvalid)
	var small int8
	wantErr(t, Codec{}.Decode(must(Codec{}.Encode(1000)), &small), CodeInvalid)
}
