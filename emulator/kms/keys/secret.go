package keys

import (
	"fmt"
	"io"
	"log/slog"
	"strconv"
)

// A Secret is plaintext or key material on its way to a caller. It is assignable to
// []byte, and whoever prints, logs or marshals it as it is gets its length only.
type Secret []byte

// Format implements fmt.Formatter for every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// String implements fmt.Stringer.
func (s Secret) String() string { return "[redacted " + strconv.Itoa(len(s)) + " bytes]" }

// LogValue implements slog.LogValuer.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText implements encoding.TextMarshaler, and with it what encoding/json
// makes of a Secret.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Wipe overwrites the bytes with zeros. Copies that were made of them remain.
func (s Secret) Wipe() { clear(s) }
