package wire

import (
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// maxNesting bounds the depth of arrays and maps in a message. Known messages
// need 3; the rest is room for values under unknown keys, which the module skips.
// Hardware's limit is not known.
const maxNesting = 32

// The decoder checks a whole message for well-formedness, against these limits
// and without allocating, before it builds any value; a length beyond the end of
// the message is found there. No message holds more elements than it has bytes.
var (
	requestDec  = decMode(MaxRequest, cbor.ExtraDecErrorNone)
	responseDec = decMode(MaxResponse, cbor.ExtraDecErrorUnknownField)
)

func decMode(size int, extra cbor.ExtraDecErrorCond) cbor.DecMode {
	m, err := cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		MaxNestedLevels:   maxNesting,
		MaxArrayElements:  size,
		MaxMapPairs:       size,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: extra,
		FieldNameMatching: cbor.FieldNameMatchingCaseSensitive,
	}.DecMode()
	if err != nil {
		panic(fmt.Sprintf("wire: CBOR decoder options: %v", err)) // constant options
	}
	return m
}

var (
	errEntries = errors.New("map of one entry wanted")
	errType    = errors.New("wrong CBOR type")
	errMissing = errors.New("missing field")
)

// variant splits a message into the name of its variant and the CBOR of its
// fields, which is nil for a variant without fields.
func variant(mode cbor.DecMode, b []byte) (name string, fields []byte, err error) {
	if len(b) > 0 && b[0]&majorMask == majorText {
		err = mode.Unmarshal(b, &name)
		return name, nil, err
	}
	var entries map[string]cbor.RawMessage
	if err := mode.Unmarshal(b, &entries); err != nil {
		return "", nil, err
	}
	if len(entries) != 1 {
		return "", nil, errEntries
	}
	for name, fields = range entries {
	}
	return name, fields, nil
}
