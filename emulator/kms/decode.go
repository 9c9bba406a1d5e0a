package kms

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"reflect"
)

// decode reads the members of an awsJson1.1 request (Smithy, "AWS JSON 1.1
// protocol") into in, a pointer to an input of the SDK. Its members are named as
// on the wire. Unlike encoding/json it tells "KeyId" from "keyid", as the service
// does: a client that misspells a member must notice. Members that the input does
// not have are ignored, null is an absent member.
func decode(body []byte, in any) error {
	return decodeStruct(body, reflect.ValueOf(in).Elem(), "request")
}

func decodeValue(raw json.RawMessage, v reflect.Value, path string) error {
	if v.Type() == bytesType {
		return decodeBlob(raw, v, path)
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return decodeValue(raw, v.Elem(), path)
	case reflect.Struct:
		return decodeStruct(raw, v, path)
	case reflect.Slice:
		return decodeList(raw, v, path)
	case reflect.Map:
		return decodeMap(raw, v, path)
	case reflect.String:
		return scalar(raw, v, path, '"', "a string")
	case reflect.Bool:
		return scalar(raw, v, path, 0, "true or false")
	case reflect.Int32:
		return scalar(raw, v, path, 0, "a whole number of 32 bits")
	}
	// Timestamps stand only in inputs of operations that are not here.
	return fmt.Errorf("%s: %v cannot be read", path, v.Type())
}

// scalar leaves the conversion to encoding/json; first is the byte the value must
// begin with, 0 for any: json.Number's rules would let a quoted number pass.
func scalar(raw json.RawMessage, v reflect.Value, path string, first byte, want string) error {
	if first != 0 && raw[0] != first {
		return wrongKind(raw, path, want)
	}
	if err := json.Unmarshal(raw, v.Addr().Interface()); err != nil {
		return wrongKind(raw, path, want)
	}
	return nil
}

func decodeStruct(raw json.RawMessage, v reflect.Value, path string) error {
	members, err := object(raw, path)
	if err != nil {
		return err
	}
	t := v.Type()
	for i := range t.NumField() {
		name := t.Field(i).Name
		raw, ok := members[name]
		if !ok || !t.Field(i).IsExported() || isNull(raw) {
			continue
		}
		if err := decodeValue(raw, v.Field(i), name); err != nil {
			return err
		}
	}
	return nil
}

func object(raw json.RawMessage, path string) (map[string]json.RawMessage, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil || members == nil {
		return nil, wrongKind(raw, path, "an object")
	}
	return members, nil
}

func decodeMap(raw json.RawMessage, v reflect.Value, path string) error {
	members, err := object(raw, path)
	if err != nil {
		return err
	}
	v.Set(reflect.MakeMapWithSize(v.Type(), len(members)))
	for key, raw := range members {
		value := reflect.New(v.Type().Elem()).Elem()
		if err := decodeElement(raw, value, path); err != nil {
			return err
		}
		v.SetMapIndex(reflect.ValueOf(key), value)
	}
	return nil
}

func decodeList(raw json.RawMessage, v reflect.Value, path string) error {
	var items []json.RawMessage
	if err := json.Unmarshal(raw, &items); err != nil || items == nil {
		return wrongKind(raw, path, "a list")
	}
	v.Set(reflect.MakeSlice(v.Type(), len(items), len(items)))
	for i, raw := range items {
		if err := decodeElement(raw, v.Index(i), path); err != nil {
			return err
		}
	}
	return nil
}

// decodeElement refuses null: lists and maps of this API have no gaps.
func decodeElement(raw json.RawMessage, v reflect.Value, path string) error {
	if isNull(raw) {
		return fmt.Errorf("%s: null is not allowed within", path)
	}
	return decodeValue(raw, v, path)
}

func decodeBlob(raw json.RawMessage, v reflect.Value, path string) error {
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return wrongKind(raw, path, "a string of base64")
	}
	blob, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return fmt.Errorf("%s: base64 with padding is expected", path)
	}
	v.SetBytes(blob)
	return nil
}

func isNull(raw json.RawMessage) bool { return string(raw) == "null" }

// wrongKind names what was found without quoting it: it may be a secret.
func wrongKind(raw json.RawMessage, path, want string) error {
	found := "something that is no JSON"
	if json.Valid(raw) {
		switch bytes.TrimLeft(raw, " \t\r\n")[0] {
		case '{':
			found = "an object"
		case '[':
			found = "a list"
		case '"':
			found = "a string"
		case 't', 'f':
			found = "a truth value"
		case 'n':
			found = "null"
		default:
			found = "a number"
		}
	}
	return fmt.Errorf("%s: %s is expected, found %s", path, want, found)
}
