package eif

import (
	"hash/crc32"
	"math/rand/v2"
	"testing"
)

// TestCRCCombine compares with the CRC of the joined message.
func TestCRCCombine(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 1, 2, 3, 4, 7, 8, 255, 256, 1000, 65537} {
		for _, k := range []int{0, 1, 544} {
			a, b := make([]byte, k), make([]byte, n)
			for i := range a {
				a[i] = byte(rng.Uint32())
			}
			for i := range b {
				b[i] = byte(rng.Uint32())
			}
			want := crc32.ChecksumIEEE(append(append([]byte(nil), a...), b...))
			got := crcCombine(crc32.ChecksumIEEE(a), crc32.ChecksumIEEE(b), int64(n))
			if got != want {
				t.Errorf("%d and %d bytes: %#08x, want %#08x", k, n, got, want)
			}
		}
	}
}

// TestCRCCombineLong has a body longer than 32 bits: the CRC of 5 GiB of zeros
// behind a non-zero register is put together from blocks in two ways.
func TestCRCCombineLong(t *testing.T) {
	const block = 64 << 20
	zeros := crc32.ChecksumIEEE(make([]byte, block))
	want := crc32.ChecksumIEEE([]byte("a"))
	body := uint32(0)
	const n = 80 // 5 GiB
	for range n {
		want = crcCombine(want, zeros, block)
		body = crcCombine(body, zeros, block)
	}
	if got := crcCombine(crc32.ChecksumIEEE([]byte("a")), body, n*block); got != want {
		t.Errorf("%#08x, want %#08x", got, want)
	}
}
