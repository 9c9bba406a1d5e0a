package eif

import (
	"errors"
	"fmt"
)

// A FormatError says which rule of the format a file breaks: the field, what
// was found there and what is allowed.
type FormatError struct {
	// Field names what is wrong, with the names of the specification:
	// "version", "section 3 (ramdisk): size in section header".
	Field string
	// Found is the value in the file, as text.
	Found string
	// Allowed is a phrase that says what would have been right: "allowed are
	// 2, 3 and 4", "header table says 12".
	Allowed string
	// Offset is the byte offset of the field in the file, -1 when the fault is
	// not in one place.
	Offset int64
}

// Error is one line, such as
// "eif: section 3 (ramdisk): size in section header is 10, header table says 12".
func (e *FormatError) Error() string {
	return fmt.Sprintf("eif: %s is %s, %s", e.Field, e.Found, e.Allowed)
}

// Errors of signatures, for errors.Is. The message of the error that wraps one
// has the details.
var (
	// ErrNotSigned says that the image has no signature section.
	ErrNotSigned = errors.New("image is not signed")
	// ErrBadSignature says that the signature is not one of the certificate's
	// key over the signed payload.
	ErrBadSignature = errors.New("signature does not verify")
	// ErrSignedOther says that the signature is good, but over something else
	// than PCR0 of this image.
	ErrSignedOther = errors.New("signature is over another image")
	// ErrCertificateExpired and ErrCertificateNotYetValid say that the signing
	// certificate does not cover the time asked for.
	ErrCertificateExpired     = errors.New("signing certificate has expired")
	ErrCertificateNotYetValid = errors.New("signing certificate is not valid yet")
)
