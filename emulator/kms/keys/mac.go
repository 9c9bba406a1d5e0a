package keys

import (
	"crypto/hmac"
	"slices"
)

// GenerateMAC makes the HMAC of a message of 1..4096 bytes. Errors are
// [ErrNotFound], [ErrDisabled], [ErrInvalidState], [ErrInvalidUsage] for a key or
// algorithm of another kind, and [ErrValidation].
func (r *Ring) GenerateMAC(id string, a MACAlgorithm, message []byte) ([]byte, error) {
	e, err := r.usableFor(id, GenerateVerifyMAC)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(e.key.MACAlgorithms(), a) {
		return nil, e.key.incompatible(string(a))
	}
	if len(message) == 0 || len(message) > MaxPlaintext {
		return nil, fail(ErrValidation, "Message has %d bytes; allowed are 1 to %d", len(message), MaxPlaintext)
	}
	h := hmac.New(a.hash().New, e.current().private().secret)
	h.Write(message)
	return h.Sum(nil), nil
}

// VerifyMAC checks an HMAC in constant time. The error is [ErrInvalidMAC] if it is
// another one; others are those of GenerateMAC.
func (r *Ring) VerifyMAC(id string, a MACAlgorithm, message, mac []byte) error {
	want, err := r.GenerateMAC(id, a, message)
	if err != nil {
		return err
	}
	if !hmac.Equal(want, mac) {
		return &Error{Exception: ErrInvalidMAC}
	}
	return nil
}
