package wire

import (
	"bytes"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// First bytes of CBOR items (RFC 8949, section 3.1): the major type in the upper
// three bits, and for a map or a string its length in the lower five.
const (
	majorMask  = 0xe0
	majorUint  = 0x00
	majorBytes = 0x40
	majorText  = 0x60
	majorMap   = 0xa0
	mapOfOne   = 0xa1
	null       = 0xf6
)

// Integers and lengths take the shortest form and struct fields their order in
// Go, which is serde's. The modes differ in what nil is: an absent field in a
// request, an empty list in a reply.
var (
	requestEnc  = encMode(cbor.NilContainerAsNull)
	responseEnc = encMode(cbor.NilContainerAsEmpty)
)

func encMode(nilIs cbor.NilContainersMode) cbor.UserBufferEncMode {
	m, err := cbor.EncOptions{NilContainers: nilIs, TagsMd: cbor.TagsForbidden}.UserBufferEncMode()
	if err != nil {
		panic(fmt.Sprintf("wire: CBOR encoder options: %v", err)) // constant options
	}
	return m
}

// AppendRequest appends the CBOR of r to dst. It does not limit the length: the
// driver does, with EMSGSIZE, and the module, with [InputTooLarge].
func AppendRequest(dst []byte, r Request) ([]byte, error) {
	switch r := r.(type) {
	case DescribeNSM, GetRandom:
		return appendText(dst, r.Name()), nil
	case ExtendPCR:
		if r.Data == nil {
			r.Data = []byte{}
		}
		return appendVariant(dst, requestEnc, r.Name(), r)
	default:
		return appendVariant(dst, requestEnc, r.Name(), r)
	}
}

// AppendResponse appends the CBOR of r to dst.
func AppendResponse(dst []byte, r Response) ([]byte, error) {
	switch r := r.(type) {
	case LockPCRResponse, LockPCRsResponse:
		return appendText(dst, r.Name()), nil
	case ErrorCode:
		return appendText(appendText(append(dst, mapOfOne), r.Name()), r.String()), nil
	default:
		return appendVariant(dst, responseEnc, r.Name(), r)
	}
}

// appendVariant appends {name: fields}.
func appendVariant(dst []byte, mode cbor.UserBufferEncMode, name string, fields any) ([]byte, error) {
	buf := bytes.NewBuffer(appendText(append(dst, mapOfOne), name))
	if err := mode.MarshalToBuffer(fields, buf); err != nil {
		return dst, fmt.Errorf("encode %s: %w", name, err)
	}
	return buf.Bytes(), nil
}

// appendText appends a text string of at most 23 bytes, which every name is.
func appendText(dst []byte, s string) []byte {
	return append(append(dst, majorText|byte(len(s))), s...)
}
