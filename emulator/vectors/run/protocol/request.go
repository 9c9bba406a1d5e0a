package protocol

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nitrolab/nitrolab/emulator/vectors"
)

const (
	// MaxRequest is the longest line of a request, in bytes without its end. A
	// genuine one has about 10 KiB; a hostile document may be larger.
	MaxRequest = 4 << 20

	// MaxReply is the same for a reply.
	MaxReply = 64 << 10
)

// A Request is one document with all that the verifier is told about it. What is
// absent was not asked for. No roots and no PCRs are no such things: they mean
// that the verifier was set up without, which must not pass.
type Request struct {
	// ID is a number that the reply repeats. It says nothing about the case.
	ID int `json:"id"`

	// Case is the case's name, only there if the person who runs the verifier
	// asked for it. A verdict that depends on it is worth nothing.
	Case string `json:"case,omitempty"`

	// Document is what to verify; base64 (RFC 4648 section 4) on the wire.
	Document []byte `json:"document"`

	// Time of verification; RFC 3339 on the wire, UTC, maybe with a fraction.
	Time time.Time `json:"time"`

	// Archive asks to verify at the time that the document itself states.
	Archive bool `json:"archive,omitempty"`

	// Roots are the pinned root certificates, each a PEM text. No other is to be
	// trusted, not even AWS's.
	Roots []string `json:"roots"`

	// PCRs are the expected registers by index, which is decimal on the wire, the
	// value hexadecimal. One that is not named may hold anything.
	PCRs map[uint]vectors.Hex `json:"pcrs"`

	// Nonce, UserData and PublicKey are to be equal to the document's if they are
	// there. Empty means an empty byte string, not an absent one.
	Nonce     vectors.Hex `json:"nonce,omitzero"`
	UserData  vectors.Hex `json:"user_data,omitzero"`
	PublicKey vectors.Hex `json:"public_key,omitzero"`

	// MaxAgeSeconds is the greatest age of the document by its timestamp; 0 is
	// any age.
	MaxAgeSeconds int `json:"max_age_seconds,omitempty"`
}

// RequestOf is what a verifier is told about a case of the corpus. The case's
// name and the right verdict are not in it.
func RequestOf(id int, corpus *vectors.Corpus, c vectors.Case) Request {
	r := Request{
		ID: id, Document: corpus.Bytes(c), Time: c.Time.UTC(), Archive: c.Archive,
		Roots: []string{}, PCRs: c.PCRs,
		Nonce: c.Nonce, UserData: c.UserData, PublicKey: c.PublicKey, MaxAgeSeconds: c.MaxAgeSeconds,
	}
	if r.Document == nil {
		r.Document = []byte{} // null would be no document at all
	}
	if r.PCRs == nil {
		r.PCRs = map[uint]vectors.Hex{}
	}
	for _, pem := range corpus.RootPEMs(c) {
		r.Roots = append(r.Roots, string(pem))
	}
	return r
}

// ParseRequest reads one line of at most [MaxRequest] bytes.
func ParseRequest(line []byte) (Request, error) {
	var r Request
	if len(line) > MaxRequest {
		return r, fmt.Errorf("request has %d bytes; allowed are %d", len(line), MaxRequest)
	}
	if err := json.Unmarshal(line, &r); err != nil {
		return Request{}, fmt.Errorf("request: %w", err)
	}
	switch {
	case r.Document == nil:
		return Request{}, fmt.Errorf("request %d: document is missing", r.ID)
	case r.Time.IsZero():
		return Request{}, fmt.Errorf("request %d: time is missing", r.ID)
	case r.MaxAgeSeconds < 0:
		return Request{}, fmt.Errorf("request %d: max_age_seconds is %d; allowed are 0 and above", r.ID, r.MaxAgeSeconds)
	}
	return r, nil
}

// Line is the request as it is sent, with the end of the line. It fails if that
// is longer than [MaxRequest].
func (r Request) Line() ([]byte, error) {
	b, err := line(r, MaxRequest)
	if err != nil {
		return nil, fmt.Errorf("request %d: %w", r.ID, err)
	}
	return b, nil
}

func line(v any, limit int) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // PEM and base64 stay readable
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	if b.Len()-1 > limit {
		return nil, fmt.Errorf("line has %d bytes; allowed are %d", b.Len()-1, limit)
	}
	return b.Bytes(), nil
}
