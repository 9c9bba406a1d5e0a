package attestation

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// strict decodes single items of a document. Everything inside the payload's
// outer map is of definite length, untagged, and at most two levels deep (an
// array or map of byte strings); 4 is the least the library can be told.
// Lengths are checked against the input before anything is allocated.
var strict = func() cbor.DecMode {
	mode, err := cbor.DecOptions{
		DupMapKey:        cbor.DupMapKeyEnforcedAPF,
		IndefLength:      cbor.IndefLengthForbidden,
		TagsMd:           cbor.TagsForbidden,
		MaxNestedLevels:  4,
		MaxArrayElements: maxCABundle,
		MaxMapPairs:      maxPCRs,
	}.DecMode()
	if err != nil {
		panic("attestation: " + err.Error()) // constant options
	}
	return mode
}()

// Major types of RFC 8949 section 3.1.
const (
	majorUint  = 0
	majorBytes = 2
	majorText  = 3
	majorArray = 4
	majorMap   = 5
)

var majorNames = [8]string{
	"an unsigned integer", "a negative integer", "a byte string", "a text string",
	"an array", "a map", "a tag", "a simple value or float",
}

const (
	cborNull  = 0xf6
	cborBreak = 0xff
)

// next splits the first item off data.
func next(data []byte) (item cbor.RawMessage, rest []byte, err error) {
	rest, err = strict.UnmarshalFirst(data, &item)
	if err != nil {
		return nil, nil, err
	}
	return item, rest, nil
}

// decode reads item into v if it is of the major type; the library alone would
// take an array of small integers for a byte string, among other things.
func decode(item cbor.RawMessage, major byte, v any) error {
	if len(item) == 0 {
		return errors.New("is missing")
	}
	if got := item[0] >> 5; got != major {
		return fmt.Errorf("is %s, not %s", majorNames[got], majorNames[major])
	}
	return strict.Unmarshal(item, v)
}

// mapHead reads the head of a map. pairs is -1 for a map of indefinite length.
func mapHead(data []byte) (pairs int, rest []byte, err error) {
	if len(data) == 0 {
		return 0, nil, errors.New("is empty")
	}
	if got := data[0] >> 5; got != majorMap {
		return 0, nil, fmt.Errorf("is %s, not a map", majorNames[got])
	}
	info, rest := data[0]&0x1f, data[1:]
	var n uint64
	switch {
	case info < 24:
		n = uint64(info)
	case info <= 27:
		size := 1 << (info - 24)
		if len(rest) < size {
			return 0, nil, errors.New("ends inside the length of a map")
		}
		var b [8]byte
		copy(b[8-size:], rest)
		n, rest = binary.BigEndian.Uint64(b[:]), rest[size:]
	case info == 31:
		return -1, rest, nil
	default:
		return 0, nil, fmt.Errorf("has a reserved head %02x", data[0])
	}
	if n > uint64(len(rest)) { // each pair takes two bytes at least
		return 0, nil, fmt.Errorf("says it has %d entries in %d bytes", n, len(rest))
	}
	return int(n), rest, nil // bounded by len(rest)
}

// eachPair calls f for every entry of the map that data begins with, in wire
// order, and returns what follows the map. More entries than limit are refused,
// and so is a map of indefinite length unless the caller allows it.
func eachPair(data []byte, limit int, indefinite bool, f func(key, value cbor.RawMessage) error) (rest []byte, err error) {
	pairs, rest, err := mapHead(data)
	if err != nil {
		return nil, err
	}
	if pairs < 0 && !indefinite {
		return nil, errors.New("is a map of indefinite length")
	}
	if pairs > limit {
		return nil, fmt.Errorf("has %d entries, at most %d are allowed", pairs, limit)
	}
	for n := 0; n != pairs; n++ {
		if pairs < 0 && len(rest) > 0 && rest[0] == cborBreak {
			return rest[1:], nil
		}
		if n == limit {
			return nil, fmt.Errorf("has more than %d entries", limit)
		}
		var key, value cbor.RawMessage
		if key, rest, err = next(rest); err != nil {
			return nil, fmt.Errorf("key %d: %w", n, err)
		}
		if value, rest, err = next(rest); err != nil {
			return nil, fmt.Errorf("value %d: %w", n, err)
		}
		if err := f(key, value); err != nil {
			return nil, err
		}
	}
	return rest, nil
}
