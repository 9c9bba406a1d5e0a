package vectors

import (
	"encoding/pem"
	"time"
)

// Format names the layout of a corpus directory. It is in corpus.json.
const Format = "nitrolab-attestation-vectors/1"

// Reference is the time at which [Generate]'s documents are made. It is fixed,
// so that files do not rot; verification happens a second later unless a case
// says otherwise.
var Reference = time.Date(2026, time.November, 23, 9, 51, 41, 250_000_000, time.UTC)

// A Corpus is a set of cases with the files they name.
type Corpus struct {
	// Seed all keys come from.
	Seed []byte

	// Reference is the time at which the documents were made, see [Reference].
	Reference time.Time

	// Cases in a fixed order, by group.
	Cases []Case

	// Documents by Case.Document.
	Documents map[string][]byte

	// Roots are PEM files, one certificate each, by the names in Case.Roots.
	Roots map[string][]byte
}

// Bytes is the document of a case of this corpus. The caller does not modify it.
func (c *Corpus) Bytes(of Case) []byte { return c.Documents[of.Document] }

// RootPEMs are the root certificates of a case of this corpus, one PEM text each.
func (c *Corpus) RootPEMs(of Case) [][]byte {
	texts := make([][]byte, 0, len(of.Roots))
	for _, name := range of.Roots {
		texts = append(texts, c.Roots[name])
	}
	return texts
}

// RealTime reports whether a verifier that knows no other time than now can be
// asked about the case, if the corpus was made for now: its time is the one
// right after the document was made.
func (c *Corpus) RealTime(of Case) bool {
	return !of.Archive && of.Time.Equal(c.Reference.Add(delay))
}

// delay is the time between making a document and verifying it, unless the
// clock is what a case is about.
const delay = time.Second

func rootPEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
