package eif

import "hash/crc32"

// crcCombine returns the CRC-32 (IEEE) of A followed by B from those of A and B
// and the length of B. The header holds the size of the signature, which is
// known only after everything in front of it was hashed, and comes first in the
// CRC: with this the body is written once and its CRC joined afterwards.
//
// Appending n zero bytes to a message multiplies its CRC register by x^(8n)
// modulo the polynomial; CRC(A||B) is CRC(A) so shifted, plus CRC(B).
func crcCombine(a, b uint32, lenB int64) uint32 {
	shift := uint32(1) << 31 // x^0; the bit order is reflected: bit 31 is x^0
	power := uint32(1) << 23 // x^8, one byte
	for n := lenB; n > 0; n >>= 1 {
		if n&1 != 0 {
			shift = crcMultiply(shift, power)
		}
		power = crcMultiply(power, power)
	}
	return crcMultiply(a, shift) ^ b
}

// crcMultiply multiplies two polynomials modulo the CRC-32 polynomial, all in
// reflected bit order.
func crcMultiply(a, b uint32) uint32 {
	var product uint32
	for bit := uint32(1) << 31; bit != 0; bit >>= 1 {
		if a&bit != 0 {
			product ^= b
		}
		// b times x.
		carry := b & 1
		b >>= 1
		if carry != 0 {
			b ^= crc32.IEEE
		}
	}
	return product
}
