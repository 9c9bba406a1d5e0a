package kms

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"time"
)

var (
	bytesType = reflect.TypeFor[[]byte]()
	timeType  = reflect.TypeFor[time.Time]()
)

// encode writes an output of the SDK as awsJson1.1. Members that are not there are
// left out and never null: kmstool refuses "Plaintext": null. A false that is not
// a pointer is written, where the SDK's own serializer leaves it out: the real
// service sends "Enabled": false and "Truncated": false, and clients that were not
// generated from the model read them without asking whether they are there.
func encode(out any) []byte {
	return appendStruct(nil, reflect.ValueOf(out).Elem())
}

func appendStruct(b []byte, v reflect.Value) []byte {
	b = append(b, '{')
	t := v.Type()
	for i := range t.NumField() {
		field := t.Field(i)
		if !field.IsExported() || field.Name == "ResultMetadata" || absent(v.Field(i)) {
			continue
		}
		if b[len(b)-1] != '{' {
			b = append(b, ',')
		}
		b = appendString(b, field.Name)
		b = append(b, ':')
		b = appendValue(b, v.Field(i))
	}
	return append(b, '}')
}

// absent: an enumeration has no other way to say so than to be empty; a string
// that may be empty is a pointer in the SDK.
func absent(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return v.IsNil()
	case reflect.String:
		return v.Len() == 0
	}
	return false
}

func appendValue(b []byte, v reflect.Value) []byte {
	switch {
	case v.Type() == bytesType:
		b = append(b, '"')
		b = base64.StdEncoding.AppendEncode(b, v.Bytes())
		return append(b, '"')
	case v.Type() == timeType:
		return appendTime(b, v.Interface().(time.Time))
	}
	switch v.Kind() {
	case reflect.Pointer:
		return appendValue(b, v.Elem())
	case reflect.Struct:
		return appendStruct(b, v)
	case reflect.Slice:
		b = append(b, '[')
		for i := range v.Len() {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendValue(b, v.Index(i))
		}
		return append(b, ']')
	case reflect.String:
		return appendString(b, v.String())
	case reflect.Bool:
		return strconv.AppendBool(b, v.Bool())
	case reflect.Int32:
		return strconv.AppendInt(b, v.Int(), 10)
	}
	// Unreachable with the outputs of this package; a test encodes all of them.
	panic(fmt.Sprintf("kms: %v in an output", v.Type()))
}

// appendTime gives seconds since 1970 with milliseconds, the service's resolution.
func appendTime(b []byte, t time.Time) []byte {
	return strconv.AppendFloat(b, float64(t.UnixMilli())/1000, 'f', -1, 64)
}

func appendString(b []byte, s string) []byte {
	quoted, err := json.Marshal(s)
	if err != nil {
		panic("kms: " + err.Error()) // no string fails
	}
	return append(b, quoted...)
}
