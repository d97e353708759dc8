package transport

import (
	"encoding"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/fxamacker/cbor/v2"
)

var mapType = reflect.TypeFor[map[string]any]()

// checkDepth refuses values that nest deeper than [MaxDepth]. The encoder
// follows pointers without end, so a structure that contains itself would
// overflow the stack, which no recover can catch. Types that can't nest
// endlessly, which are most, are recognised once and cost a map look-up.
func checkDepth(v any) error {
	if v == nil || !deep(reflect.TypeOf(v)) {
		return nil
	}
	return walk(reflect.ValueOf(v), MaxDepth, 0)
}

// deepTypes caches deep's verdict: reflect.Type to bool.
var deepTypes sync.Map

// deep reports whether values of type t may nest without a bound that the
// type itself gives: whether t reaches itself or an interface.
func deep(t reflect.Type) bool {
	if verdict, ok := deepTypes.Load(t); ok {
		return verdict.(bool)
	}
	verdict := reaches(t, map[reflect.Type]bool{})
	deepTypes.Store(t, verdict)
	return verdict
}

// reaches follows t with the types on the path so far.
func reaches(t reflect.Type, path map[reflect.Type]bool) bool {
	if opaque(t) {
		return false
	}
	if path[t] || t.Kind() == reflect.Interface {
		return true
	}
	path[t] = true
	defer delete(path, t)
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return reaches(t.Elem(), path)
	case reflect.Map:
		return reaches(t.Key(), path) || reaches(t.Elem(), path)
	case reflect.Struct:
		for f := range t.Fields() {
			if encoded(f) && reaches(f.Type, path) {
				return true
			}
		}
	}
	return false
}

var opaqueTypes = []reflect.Type{
	reflect.TypeFor[cbor.Marshaler](),
	reflect.TypeFor[encoding.BinaryMarshaler](),
}

// opaque reports whether t encodes itself and so is no structure to walk.
func opaque(t reflect.Type) bool {
	if t == reflect.TypeFor[time.Time]() {
		return true
	}
	for _, marshaler := range opaqueTypes {
		if t.Kind() != reflect.Interface && t.Implements(marshaler) {
			return true
		}
	}
	return false
}

// encoded reports whether the encoder looks at the field.
func encoded(f reflect.StructField) bool {
	tag := f.Tag.Get("cbor")
	if tag == "" {
		tag = f.Tag.Get("json")
	}
	return tag != "-" && (f.IsExported() || f.Anonymous)
}

// walk descends to at most left levels of collections, with at most
// [MaxDepth] pointers and interfaces between two of them.
func walk(v reflect.Value, left, hops int) error {
	if left < 0 || hops > MaxDepth {
		return fmt.Errorf("nested deeper than %d levels, or contains itself", MaxDepth)
	}
	if !v.IsValid() || opaque(v.Type()) {
		return nil
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		return walk(v.Elem(), left, hops+1)
	case reflect.Slice, reflect.Array:
		return walkElements(v, left-1)
	case reflect.Map:
		for iter := v.MapRange(); iter.Next(); {
			if err := walk(iter.Key(), left-1, 0); err != nil {
				return err
			}
			if err := walk(iter.Value(), left-1, 0); err != nil {
				return err
			}
		}
	case reflect.Struct:
		for f, field := range v.Fields() {
			if !encoded(f) {
				continue
			}
			if err := walk(field, left-1, 0); err != nil {
				return err
			}
		}
	}
	return nil
}

func walkElements(v reflect.Value, left int) error {
	if !deep(v.Type().Elem()) {
		return nil
	}
	for i := range v.Len() {
		if err := walk(v.Index(i), left, 0); err != nil {
			return err
		}
	}
	return nil
}
