package eif

import (
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// An intArray is bytes that CBOR carries as an array of integers, one per byte.
// The signature section has its certificate and signature in that form, because
// that is what serde makes of a Vec<u8>; a byte string is refused there.
type intArray []byte

const cborArray = 4 // major type

// MarshalCBOR writes the array with a definite length and minimal integers.
func (a intArray) MarshalCBOR() ([]byte, error) {
	wide := make([]uint16, len(a)) // a []uint8 would become a byte string
	for i, b := range a {
		wide[i] = uint16(b)
	}
	return cbor.Marshal(wide)
}

// UnmarshalCBOR reads an array of integers from 0 to 255.
func (a *intArray) UnmarshalCBOR(data []byte) error {
	if len(data) == 0 || data[0]>>5 != cborArray {
		return errors.New("not a CBOR array of integers")
	}
	var wide []uint16
	if err := signatureDecMode.Unmarshal(data, &wide); err != nil {
		return err
	}
	out := make([]byte, len(wide))
	for i, v := range wide {
		if v > 0xff {
			return fmt.Errorf("element %d is %d, allowed are 0 to 255", i, v)
		}
		out[i] = byte(v)
	}
	*a = out
	return nil
}
