package kms

import (
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"slices"
	"time"

	"github.com/nitrolab/nitrolab/devices/weaken"
	"github.com/nitrolab/nitrolab/emulator/iam"
	"github.com/nitrolab/nitrolab/emulator/kms/keys"
)

// DefaultWindow is how old the document of a Recipient may be. AWS's text names
// no limit; five minutes is what is commonly reported.
const DefaultWindow = 5 * time.Minute

// DefaultDocumentError is the error code for a document that does not verify.
// AWS's text names none, and the model of the API has none for it.
const DefaultDocumentError = codeValidation

// DebugDocuments says what becomes of documents of enclaves in debug mode: those
// whose PCR0, PCR1 or PCR2 is zero or absent.
type DebugDocuments uint8

const (
	// DebugByPolicy releases to a debug enclave only what the policy grants
	// because of the zeros: if it would grant the same to any measured image, or
	// without a document, nobody meant debug enclaves, and the request is denied.
	DebugByPolicy DebugDocuments = iota

	// DebugAccept treats zeros as any other value, as AWS seems to: a policy
	// without conditions on PCR0 to PCR2 then releases to debug enclaves.
	DebugAccept

	// DebugRefuse refuses the document as if its signature were wrong.
	DebugRefuse
)

// String names the choice.
func (d DebugDocuments) String() string {
	switch d {
	case DebugByPolicy:
		return "by policy"
	case DebugAccept:
		return "accept"
	case DebugRefuse:
		return "refuse"
	}
	return fmt.Sprintf("DebugDocuments(%d)", uint8(d))
}

// Config is what a [Service] is made of. Directory, Ring and Roots are required.
type Config struct {
	// Region and Account of the keys, such as us-east-1 and 123456789012. They
	// must be those of Ring.
	Region, Account string

	// Directory knows the principals and their credentials.
	Directory *iam.Directory

	// Ring holds the keys. The Service does not close it.
	Ring *keys.Ring

	// Roots are the root certificates of attestation documents, at least one.
	Roots []*x509.Certificate

	// Clock gives the time of the Host; nil means time.Now. It is called from
	// several goroutines at once.
	Clock func() time.Time

	// Entropy is read for request ids, content keys and IVs; nil means
	// crypto/rand. Reads are serialized.
	Entropy io.Reader

	// Window is how old a document may be by its timestamp; zero means
	// DefaultWindow, negative as old as its certificates allow, three hours. A
	// timestamp of more than a minute ahead is refused in any case.
	Window time.Duration

	// Debug says what becomes of documents of debug enclaves.
	Debug DebugDocuments

	// DocumentError is the error code for a document that does not verify; empty
	// means DefaultDocumentError.
	DocumentError string

	// Primitive makes CiphertextForRecipient hold its content as one primitive
	// OCTET STRING, a form seen once in an answer of the real service, instead of
	// the constructed one. It is there to test clients.
	Primitive bool

	// Audit, if not nil, is called with every event, one at a time and before the
	// answer is sent. It must not call the Service.
	Audit func(Event)

	// Log is for failures of the service itself; nil discards.
	Log *slog.Logger

	// Weaken can switch off weaken.RecipientDocument, weaken.RecipientValidity or
	// weaken.RecipientConditions, in tests only.
	Weaken weaken.Set
}

var (
	regionForm  = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-[0-9]{1,2}$`)
	accountForm = regexp.MustCompile(`^[0-9]{12}$`)
	codeForm    = regexp.MustCompile(`^[A-Za-z]{1,64}$`)
)

// withDefaults checks c and fills in what was left out.
func (c Config) withDefaults() (Config, error) {
	switch {
	case !regionForm.MatchString(c.Region):
		return c, fmt.Errorf("region %q: a name such as us-east-1 is expected", c.Region)
	case !accountForm.MatchString(c.Account):
		return c, fmt.Errorf("account %q: twelve digits are expected", c.Account)
	case c.Directory == nil:
		return c, errors.New("no Directory")
	case c.Ring == nil:
		return c, errors.New("no Ring")
	case len(c.Roots) == 0 || slices.Contains(c.Roots, nil):
		return c, errors.New("no attestation root")
	case c.Debug > DebugRefuse:
		return c, fmt.Errorf("unknown %v", c.Debug)
	}
	if c.DocumentError == "" {
		c.DocumentError = DefaultDocumentError
	}
	if !codeForm.MatchString(c.DocumentError) {
		return c, fmt.Errorf("document error %.80q: an error code such as ValidationException is expected", c.DocumentError)
	}
	if c.Window == 0 {
		c.Window = DefaultWindow
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Entropy == nil {
		c.Entropy = rand.Reader
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c, nil
}
