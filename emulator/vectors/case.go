package vectors

import (
	"encoding/hex"
	"fmt"
	"time"
)

// A Verdict is what a verifier says about a document.
type Verdict string

const (
	Accept Verdict = "accept"
	Reject Verdict = "reject"

	// Either marks a case about which AWS's texts contradict each other or say
	// nothing, and where neither answer is unsafe. It demands that there is an
	// answer: no crash and no hang.
	Either Verdict = "either"
)

// A Level says how much a wrong answer weighs.
type Level string

const (
	// Must marks what AWS's definition of the document, RFC 5280 section 6 (path
	// validation), RFC 9052 (COSE) or plain security demands. A verifier that
	// fails one is wrong.
	Must Level = "must"

	// Strict marks encoding rules, oddities and shapes of certificates that only
	// an issuer under the pinned root could sign. A verifier that differs is
	// lenient (or, for Accept, narrow), without a known way to abuse it.
	Strict Level = "strict"
)

// Hex is a byte string that JSON has as lower-case hex digits. Nil and empty
// are two things: the first is left out, the second is "".
type Hex []byte

// MarshalText implements encoding.TextMarshaler.
func (h Hex) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h), nil }

// UnmarshalText implements encoding.TextUnmarshaler. The result is never nil.
func (h *Hex) UnmarshalText(text []byte) error {
	b, err := hex.AppendDecode([]byte{}, text)
	if err != nil {
		return fmt.Errorf("hex string: %w", err)
	}
	*h = b
	return nil
}

// A Case is one document with what a verifier is told and what it has to say:
// one line of cases.jsonl.
type Case struct {
	// ID is unique in the corpus and stays the same from version to version:
	// the group, a hyphen, and words of a-z, 0-9 and hyphens; at most 80 bytes.
	ID string `json:"id"`

	// Group is "A1" to "A24" of the attack catalogue, or "good" for documents in
	// every legal shape.
	Group string `json:"group"`

	// Title says in one line what the case is.
	Title string `json:"title"`

	// Wrong says what is wrong with the document or with what the verifier is
	// told; empty if nothing is.
	Wrong string `json:"wrong,omitempty"`

	// Document is the file with the raw document, relative to the directory, with
	// slashes: "documents/<id>.cbor". It may be empty, but it is always there.
	Document string `json:"document"`

	// SHA256 is that of the document file.
	SHA256 Hex `json:"sha256"`

	// Verdict of a correct verifier.
	Verdict Verdict `json:"verdict"`

	// Level of the case.
	Level Level `json:"level"`

	// Time of verification, UTC.
	Time time.Time `json:"time"`

	// Archive tells the verifier to verify at the time the document itself
	// states, as for documents kept in an archive; Time is the present then,
	// when the certificates have expired. A verifier without such a mode skips
	// these cases.
	Archive bool `json:"archive,omitempty"`

	// Roots are the files of the pinned root certificates, PEM, relative to the
	// directory. No roots means that the verifier was set up without any.
	Roots []string `json:"roots"`

	// PCRs are the expected registers by index. No PCRs means that the verifier
	// was set up without a policy, which must not pass.
	PCRs map[uint]Hex `json:"pcrs"`

	// Nonce, UserData and PublicKey are expected if not nil; empty but not nil
	// expects an empty byte string.
	Nonce     Hex `json:"nonce,omitzero"`
	UserData  Hex `json:"user_data,omitzero"`
	PublicKey Hex `json:"public_key,omitzero"`

	// MaxAgeSeconds is the greatest age of the document by its timestamp; 0
	// means that the verifier is told none.
	MaxAgeSeconds int `json:"max_age_seconds,omitempty"`

	// Fails are the checks of devices/nsm/attestation that must fail, in its
	// order, and no others; CallRefused alone if the verifier has to refuse the
	// call. Only for rejected documents. Other verifiers need not agree.
	Fails []string `json:"fails,omitempty"`

	// TwinOf is the id of the case that has the same signed payload in other
	// bytes. Whoever keeps a list of documents seen has to find the two equal.
	TwinOf string `json:"twin_of,omitempty"`

	// Source says where the rule or the attack is written down.
	Source string `json:"source"`
}

// CallRefused stands in Case.Fails for an expectation that no document can
// meet: no root, or no PCR policy.
const CallRefused = "call"
