package envelope

import (
	"bytes"
	"testing"
)

// The constant-time reading of the padding agrees with the obvious one for every
// last byte, with every byte of the padding wrong in turn.
func TestUnpad(t *testing.T) {
	obvious := func(b []byte) (int, int) {
		last := int(b[len(b)-1])
		if last == 0 || last > 16 || !bytes.Equal(b[len(b)-last:], bytes.Repeat([]byte{byte(last)}, last)) {
			return len(b), 0
		}
		return len(b) - last, 1
	}
	for _, size := range []int{16, 48} {
		for last := range 256 {
			for wrong := -1; wrong < 18 && wrong < size; wrong++ {
				b := bytes.Repeat([]byte{byte(last)}, size)
				if wrong >= 0 {
					b[size-1-wrong] ^= 0x80
				}
				wantN, wantOK := obvious(b)
				if n, ok := unpad(b); n != wantN || ok != wantOK {
					t.Fatalf("unpad(%x) = %d, %d; want %d, %d", b, n, ok, wantN, wantOK)
				}
			}
		}
	}
}
