package attestation

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
)

// Reasons to refuse a document. They are found by errors.Is in what [Verify]
// and, as far as they concern the bytes alone, [Parse] return.
var (
	ErrFormat      = errors.New("malformed document")
	ErrSignature   = errors.New("signature is not the leaf's")
	ErrChain       = errors.New("certificates do not lead to a pinned root")
	ErrExpired     = errors.New("certificate has expired")
	ErrNotYetValid = errors.New("certificate is not yet valid")
	ErrDigest      = errors.New("digest is not SHA384")
	ErrTimestamp   = errors.New("timestamp is impossible")
	ErrStale       = errors.New("document is too old")
	ErrFields      = errors.New("field is longer or shorter than allowed")
	ErrDebug       = errors.New("enclave ran in debug mode")
	ErrPCR         = errors.New("PCR is not as expected")
	ErrPublicKey   = errors.New("public key is not as expected")
	ErrUserData    = errors.New("user data is not as expected")
	ErrNonce       = errors.New("nonce is not as expected")
)

// Mistakes of the caller of [Verify]: nothing was checked.
var (
	ErrNoRoot      = errors.New("no root certificate is pinned")
	ErrNoPCRPolicy = errors.New("no PCR is expected, and NoPCRPolicy is not set")
	ErrOptions     = errors.New("options contradict each other")
)

// A failure is a reason with what was expected and found.
type failure struct {
	reason error
	detail string
}

func (f *failure) Error() string { return f.detail }
func (f *failure) Unwrap() error { return f.reason }

// fail makes a failure. Whatever a document could put into the text, also by
// way of a library's error, stays on one line and moves no cursor.
func fail(reason error, format string, args ...any) error {
	return &failure{reason, strings.Map(printable, fmt.Sprintf(format, args...))}
}

func printable(r rune) rune {
	if unicode.IsPrint(r) {
		return r
	}
	return '?'
}

// A ValidityError says that a certificate is not valid at the time of
// verification. errors.Is finds ErrExpired or ErrNotYetValid in it.
type ValidityError struct {
	Certificate         string // place in the chain and common name
	NotBefore, NotAfter time.Time
	At                  time.Time // the time of verification
}

// By is how far outside the validity the time of verification lies; it is
// always positive.
func (e *ValidityError) By() time.Duration {
	if e.At.Before(e.NotBefore) {
		return e.NotBefore.Sub(e.At)
	}
	return e.At.Sub(e.NotAfter)
}

func (e *ValidityError) Error() string {
	if e.At.Before(e.NotBefore) {
		return fmt.Sprintf("%s is valid from %s, %v after the time of verification %s: is the clock slow?",
			e.Certificate, stamp(e.NotBefore), round(e.By()), stamp(e.At))
	}
	return fmt.Sprintf("%s expired at %s, %v before the time of verification %s",
		e.Certificate, stamp(e.NotAfter), round(e.By()), stamp(e.At))
}

// Unwrap gives the sentinel.
func (e *ValidityError) Unwrap() error {
	if e.At.Before(e.NotBefore) {
		return ErrNotYetValid
	}
	return ErrExpired
}

// round leaves milliseconds only where they matter.
func round(d time.Duration) time.Duration {
	if d < 10*time.Second && d > -10*time.Second {
		return d.Round(time.Millisecond)
	}
	return d.Round(time.Second)
}

// A VerifyError lists the checks a document failed; there is at least one.
// errors.Is and errors.As look through the errors of all of them.
type VerifyError struct {
	Failed []Check
	Made   int // the number of checks made, failed or not
}

func (e *VerifyError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "attestation document refused: %d of %d checks failed", len(e.Failed), e.Made)
	for i, c := range e.Failed {
		separator := "; "
		if i == 0 {
			separator = ": "
		}
		b.WriteString(separator + c.Name + ": " + c.Detail)
	}
	return b.String()
}

// Unwrap gives the error of each failed check.
func (e *VerifyError) Unwrap() []error {
	errs := make([]error, len(e.Failed))
	for i, c := range e.Failed {
		errs[i] = c.Err
	}
	return errs
}
