package vectors

import (
	"encoding/asn1"
	"math/big"
	"time"
)

// DER of X.690, one element a function. What is not DER is put together from
// tlv by hand.

func tlv(tag byte, content ...[]byte) []byte {
	n := 0
	for _, c := range content {
		n += len(c)
	}
	out := []byte{tag}
	switch {
	case n < 0x80:
		out = append(out, byte(n))
	case n < 0x100:
		out = append(out, 0x81, byte(n))
	default:
		out = append(out, 0x82, byte(n>>8), byte(n))
	}
	for _, c := range content {
		out = append(out, c...)
	}
	return out
}

func sequence(content ...[]byte) []byte  { return tlv(0x30, content...) }
func set(content ...[]byte) []byte       { return tlv(0x31, content...) }
func octets(content []byte) []byte       { return tlv(0x04, content) }
func utf8String(s string) []byte         { return tlv(0x0c, []byte(s)) }
func printable(s string) []byte          { return tlv(0x13, []byte(s)) }
func bitString(content []byte) []byte    { return tlv(0x03, []byte{0}, content) }
func boolean(content byte) []byte        { return []byte{0x01, 0x01, content} }
func oid(id ...int) []byte               { return must(asn1.Marshal(asn1.ObjectIdentifier(id))) }
func integer(n *big.Int) []byte          { return must(asn1.Marshal(n)) }
func unsigned(content []byte) []byte     { return integer(new(big.Int).SetBytes(content)) }
func utcTime(t time.Time) []byte         { return tlv(0x17, []byte(t.UTC().Format("060102150405Z"))) }
func generalizedTime(t time.Time) []byte { return tlv(0x18, []byte(t.UTC().Format("20060102150405Z"))) }

var null = []byte{0x05, 0x00}

// longForm writes the length of an element in more bytes than it needs: BER,
// but not DER. The element is of less than 128 bytes.
func longForm(element []byte) []byte {
	return append([]byte{element[0], 0x81, element[1]}, element[2:]...)
}

// An attribute of a name.
type attribute struct {
	id    int // the last arc of 2.5.4.id
	value []byte
}

const (
	commonName   = 3
	country      = 6
	locality     = 7
	state        = 8
	organization = 10
	unit         = 11
)

// name has one attribute per RDN, as all of AWS's have.
func name(attributes ...attribute) []byte {
	var rdns [][]byte
	for _, a := range attributes {
		rdns = append(rdns, set(sequence(oid(2, 5, 4, a.id), a.value)))
	}
	return sequence(rdns...)
}
