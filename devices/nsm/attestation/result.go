package attestation

import (
	"crypto/x509"
	"fmt"
	"time"
)

// Names of the checks, in the order in which they stand in a Result. Those of
// PCRs are "PCR0", "PCR1" and so on and stand between CheckDebug and
// CheckPublicKey, ascending.
const (
	CheckFormat    = "format"     // CBOR and COSE structure, types and counts of fields
	CheckSignature = "signature"  // ES384 signature by the leaf's key
	CheckChain     = "chain"      // one path from leaf to pinned root, and its rules
	CheckValidity  = "validity"   // every certificate valid at the time of verification
	CheckDigest    = "digest"     // SHA384
	CheckTimestamp = "timestamp"  // possible at all
	CheckFreshness = "freshness"  // not older than MaxAge
	CheckFields    = "fields"     // sizes of public_key, user_data, nonce
	CheckDebug     = "debug"      // PCR0, PCR1, PCR2 not zero
	CheckPublicKey = "public_key" // as expected
	CheckUserData  = "user_data"  // as expected
	CheckNonce     = "nonce"      // as expected
)

// CheckPCR is the name of the check of one register.
func CheckPCR(index uint) string { return fmt.Sprintf("PCR%d", index) }

// A Status is what came of a check.
type Status uint8

const (
	OK      Status = iota
	Failed         // the document is refused
	Skipped        // nothing was asked, or it could not be checked
)

// String is "ok", "FAIL" or "skipped".
func (s Status) String() string {
	switch s {
	case OK:
		return "ok"
	case Failed:
		return "FAIL"
	case Skipped:
		return "skipped"
	}
	return fmt.Sprintf("Status(%d)", uint8(s))
}

// A Check is one line of a report.
type Check struct {
	Name   string
	Status Status

	// Detail is one line for people: what was expected and found, or why the
	// check was skipped. Text from the document is quoted in it.
	Detail string

	// Err is set if and only if Status is Failed.
	Err error
}

// A Result is everything that was looked at. It is complete for refused
// documents too, as far as they could be read.
type Result struct {
	// Checks in a fixed order. The document is accepted if none is Failed.
	Checks []Check

	// Document is nil if it could not be read. Unless the document was
	// accepted, nothing in it is to be believed.
	Document *Document

	// Chain is leaf first and root last; nil if a certificate could not be read.
	Chain []*x509.Certificate

	// Time of verification.
	Time time.Time
}

// Err is nil if the document was accepted, else a *VerifyError.
func (r *Result) Err() error {
	e := &VerifyError{}
	for _, c := range r.Checks {
		if c.Status != Skipped {
			e.Made++
		}
		if c.Status == Failed {
			e.Failed = append(e.Failed, c)
		}
	}
	if len(e.Failed) == 0 {
		return nil
	}
	return e
}

// An outcome is a Check without its name.
type outcome struct {
	status Status
	detail string
	err    error
}

func passed(format string, args ...any) outcome {
	return outcome{status: OK, detail: fmt.Sprintf(format, args...)}
}

func skipped(format string, args ...any) outcome {
	return outcome{status: Skipped, detail: fmt.Sprintf(format, args...)}
}

func failed(err error) outcome {
	return outcome{status: Failed, detail: err.Error(), err: err}
}
