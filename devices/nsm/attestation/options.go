package attestation

import (
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"github.com/nitrolab/nitrolab/devices/weaken"
)

// DefaultMaxField is the longest public_key, user_data or nonce that Verify
// accepts unless told otherwise, in bytes. AWS's text contradicts itself: its
// definition says 0 to 1024 for all three, its list of checks 1 to 1024, 0 to
// 512 and 0 to 512 (nsm-api#52), and hardware signs up to what fits into a
// request of 4096 bytes. The definition is followed here, with one thing of the
// list: a public key is never empty.
const DefaultMaxField = 1024

// Options say what a document must be like. Roots and PCRs are required.
type Options struct {
	// Roots are the pinned root certificates. The first certificate of the
	// document's cabundle must be one of them, byte for byte; that a document
	// brings a root along means nothing.
	Roots []*x509.Certificate

	// PCRs are the expected registers by index. One that is not named here is
	// not compared, which the Result says for PCR0, PCR1 and PCR2. At least one
	// is required unless NoPCRPolicy is set: an empty policy accepts every
	// enclave there is.
	PCRs map[uint][]byte

	// NitroTPM wants the document of an EC2 instance with a NitroTPM, and PCRs are
	// registers of the TPM. Else the document has to be an enclave's: the two kinds
	// never pass for each other.
	NitroTPM bool

	// NoPCRPolicy says that any measurement will do. Debug enclaves are refused
	// all the same.
	NoPCRPolicy bool

	// PublicKey, UserData and Nonce are compared if they are not nil. Empty but
	// not nil expects an empty byte string, which differs from an absent one.
	PublicKey, UserData, Nonce []byte

	// MaxAge is how old the document may be by its timestamp; zero means as old
	// as its certificates allow, three hours. A nonce says more.
	MaxAge time.Duration

	// Time of verification; zero means now.
	Time time.Time

	// AtDocumentTime verifies at the time the document itself states, to read
	// documents from an archive. Whoever holds a leaf key of the past can make
	// such a document today. Time and MaxAge must be zero then.
	AtDocumentTime bool

	// MaxField bounds public_key, user_data and nonce, in bytes; zero means
	// DefaultMaxField.
	MaxField int

	// Weaken can switch off weaken.ZeroPCR, in tests only.
	Weaken weaken.Set
}

// check finds mistakes of the caller.
func (o *Options) check() error {
	if len(o.Roots) == 0 || slices.Contains(o.Roots, nil) {
		return ErrNoRoot
	}
	if len(o.PCRs) == 0 && !o.NoPCRPolicy {
		return ErrNoPCRPolicy
	}
	if len(o.PCRs) != 0 && o.NoPCRPolicy {
		return fmt.Errorf("%w: PCRs and NoPCRPolicy", ErrOptions)
	}
	for i, v := range o.PCRs {
		if i >= maxPCRs {
			return fmt.Errorf("%w: PCR%d is expected, the last is PCR%d", ErrOptions, i, maxPCRs-1)
		}
		if !slices.Contains([]int{32, 48, 64}, len(v)) {
			return fmt.Errorf("%w: PCR%d is expected to have %d bytes, a PCR has 48 (or 32 or 64)", ErrOptions, i, len(v))
		}
	}
	if o.AtDocumentTime && (!o.Time.IsZero() || o.MaxAge != 0) {
		return fmt.Errorf("%w: AtDocumentTime and Time or MaxAge", ErrOptions)
	}
	if o.MaxAge < 0 || o.MaxField < 0 {
		return fmt.Errorf("%w: negative MaxAge or MaxField", ErrOptions)
	}
	return nil
}
