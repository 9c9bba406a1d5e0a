// Package text is how the protocols of the inference sample take what the other side
// wrote: JSON that is exactly what was expected, and sentences fit to be shown.
package text

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"unicode"
)

// Errors of [Decode]. They quote nothing, since what was sent may hold a secret.
var (
	ErrJSON     = errors.New("not the JSON object that was expected")
	ErrTrailing = errors.New("something follows the JSON object")
)

// Decode reads one JSON object into the struct that v points to. Unknown members and
// anything behind the object are refused.
func Decode(b []byte, v any) error {
	if first := bytes.TrimLeft(b, " \t\r\n"); len(first) == 0 || first[0] != '{' {
		return ErrJSON // null would be taken for an empty object
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if d.Decode(v) != nil {
		return ErrJSON
	}
	if _, err := d.Token(); err != io.EOF {
		return ErrTrailing
	}
	return nil
}

// Printable is s on one line and without what moves a cursor.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}
