package nsmtest

import (
	"encoding/binary"
	"slices"
)

// The requests are put together from the items below and not by the library
// that the device decodes them with, so that a mistake there cannot hide; and
// many could not be made by an encoder at all.

// CBOR major types (RFC 8949, section 3.1), in place.
const (
	majorUint  = 0x00
	majorNeg   = 0x20
	majorBytes = 0x40
	majorText  = 0x60
	majorMap   = 0xa0

	indefinite = 0x1f
	stop       = 0xff
)

var (
	null      = []byte{0xf6}
	undefined = []byte{0xf7}
	minusOne  = []byte{majorNeg} // the argument is 0

	// selfDescribed is tag 55799, which changes nothing about the item after it
	// (RFC 8949, section 3.4.6).
	selfDescribed = []byte{0xd9, 0xd9, 0xf7}
)

// head is the first bytes of an item, in the shortest form.
func head(major byte, n uint64) []byte {
	switch {
	case n < 24:
		return []byte{major | byte(n)}
	case n < 1<<8:
		return wide(major, n, 1)
	case n < 1<<16:
		return wide(major, n, 2)
	case n < 1<<32:
		return wide(major, n, 4)
	}
	return wide(major, n, 8)
}

// wide is a head whose argument takes 1, 2, 4 or 8 bytes, needed or not.
func wide(major byte, n uint64, width int) []byte {
	info := map[int]byte{1: 24, 2: 25, 4: 26, 8: 27}[width]
	b := binary.BigEndian.AppendUint64(nil, n)
	return append([]byte{major | info}, b[8-width:]...)
}

func integer(n uint64) []byte { return head(majorUint, n) }

func text(s string) []byte { return append(head(majorText, uint64(len(s))), s...) }

func byteString(b []byte) []byte { return append(head(majorBytes, uint64(len(b))), b...) }

// mapOf is a map of the keys and values in items, which alternate.
func mapOf(items ...[]byte) []byte {
	return append(head(majorMap, uint64(len(items)/2)), slices.Concat(items...)...)
}

// fields is a map whose keys are texts.
func fields(items ...any) []byte {
	var flat [][]byte
	for i := 0; i < len(items); i += 2 {
		flat = append(flat, text(items[i].(string)), items[i+1].([]byte))
	}
	return mapOf(flat...)
}

// variant is {name: fields}.
func variant(name string, items ...any) []byte {
	return mapOf(text(name), fields(items...))
}
