package vectors

import "encoding/binary"

// Major types of RFC 8949 section 3.1.
const (
	majorUint  = 0
	majorBytes = 2
	majorText  = 3
	majorArray = 4
	majorMap   = 5
)

// head is the head of an item in its shortest form.
func head(major byte, n uint64) []byte {
	for width := range 5 {
		if fits(n, width) {
			return headOf(major, n, width)
		}
	}
	return nil // not reached: everything fits width 4
}

func fits(n uint64, width int) bool {
	switch width {
	case 0:
		return n < 24
	case 1:
		return n < 1<<8
	case 2:
		return n < 1<<16
	case 3:
		return n < 1<<32
	}
	return true
}

// headOf is the head of an item with its number in a form of a width: 0 is in
// the first byte, 1 to 4 are 1, 2, 4 and 8 bytes after it.
func headOf(major byte, n uint64, width int) []byte {
	b := major << 5
	switch width {
	case 0:
		return []byte{b | byte(n)}
	case 1:
		return []byte{b | 24, byte(n)}
	case 2:
		return binary.BigEndian.AppendUint16([]byte{b | 25}, uint16(n))
	case 3:
		return binary.BigEndian.AppendUint32([]byte{b | 26}, uint32(n))
	}
	return binary.BigEndian.AppendUint64([]byte{b | 27}, n)
}

func bstr(b []byte) []byte { return append(head(majorBytes, uint64(len(b))), b...) }
func tstr(s string) []byte { return append(head(majorText, uint64(len(s))), s...) }

// uint64Item always has nine bytes, as the timestamps of genuine documents.
func uint64Item(n uint64) []byte { return headOf(majorUint, n, 4) }

func array(items ...[]byte) []byte {
	return join(append([][]byte{head(majorArray, uint64(len(items)))}, items...)...)
}

// A pair is one entry of a map, both as items.
type pair struct{ key, value []byte }

func mapOf(pairs ...pair) []byte {
	out := head(majorMap, uint64(len(pairs)))
	for _, p := range pairs {
		out = append(append(out, p.key...), p.value...)
	}
	return out
}

func join(parts ...[]byte) []byte {
	var out []byte
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

var (
	cborNull      = []byte{0xf6}
	cborUndefined = []byte{0xf7}
)

// cborBreak ends an item of indefinite length.
const cborBreak = 0xff
