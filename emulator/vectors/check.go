package vectors

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"path"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/nitrolab/nitrolab/devices/nsm/attestation"
)

var rootName = regexp.MustCompile(`^roots/[a-zA-Z0-9]+(-[a-zA-Z0-9]+)*\.pem$`)

// check finds what a case must not say.
func (c *Case) check() error {
	switch {
	case !goodID.MatchString(c.ID) || len(c.ID) > maxID:
		return fmt.Errorf("id %.100q is not a group, a hyphen and words of a-z, 0-9 and hyphens", c.ID)
	case !strings.HasPrefix(c.ID, c.Group+"-"):
		return fmt.Errorf("case %s: group is %.20q, but the id begins with another", c.ID, c.Group)
	case c.Document != "documents/"+c.ID+".cbor":
		return fmt.Errorf("case %s: document is %.100q, want documents/%s.cbor", c.ID, c.Document, c.ID)
	case len(c.SHA256) != sha256.Size:
		return fmt.Errorf("case %s: sha256 has %d bytes, want %d", c.ID, len(c.SHA256), sha256.Size)
	case c.Verdict != Accept && c.Verdict != Reject && c.Verdict != Either:
		return fmt.Errorf("case %s: verdict is %.20q, want accept, reject or either", c.ID, c.Verdict)
	case c.Level != Must && c.Level != Strict:
		return fmt.Errorf("case %s: level is %.20q, want must or strict", c.ID, c.Level)
	case c.Time.UTC().Year() < 1970 || c.Time.UTC().Year() > 9998: // any zone can write it
		return fmt.Errorf("case %s: time is not within 1970 to 9998", c.ID)
	case len(c.Roots) > maxRoots:
		return fmt.Errorf("case %s: %d roots, at most %d are allowed", c.ID, len(c.Roots), maxRoots)
	case c.MaxAgeSeconds < 0 || c.MaxAgeSeconds > maxAgeLimit:
		return fmt.Errorf("case %s: max_age_seconds is %d, 0 to %d are allowed", c.ID, c.MaxAgeSeconds, maxAgeLimit)
	case len(c.Nonce) > maxExpected || len(c.UserData) > maxExpected || len(c.PublicKey) > maxExpected:
		return fmt.Errorf("case %s: nonce, user_data or public_key of more than %d bytes", c.ID, maxExpected)
	}
	for _, text := range []struct{ name, value string }{{"title", c.Title}, {"wrong", c.Wrong}, {"source", c.Source}} {
		if len(text.value) > maxText || !utf8.ValidString(text.value) || strings.ContainsFunc(text.value, unicode.IsControl) {
			return fmt.Errorf("case %s: %s is not one line of text of at most %d bytes", c.ID, text.name, maxText)
		}
	}
	for _, name := range c.Roots {
		if !rootName.MatchString(name) || path.Clean(name) != name {
			return fmt.Errorf("case %s: root is %.100q, want roots/NAME.pem", c.ID, name)
		}
	}
	for i, v := range c.PCRs {
		if i > 31 || len(v) != 32 && len(v) != 48 && len(v) != 64 {
			return fmt.Errorf("case %s: expects PCR%d of %d bytes; there are 0 to 31, of 32, 48 or 64", c.ID, i, len(v))
		}
	}
	return nil
}

// check finds what is wrong between the parts of a corpus.
func (c *Corpus) check() error {
	ids := make(map[string]bool, len(c.Cases))
	for i := range c.Cases {
		of := &c.Cases[i]
		if err := of.check(); err != nil {
			return err
		}
		if ids[of.ID] {
			return fmt.Errorf("case %s is there twice", of.ID)
		}
		ids[of.ID] = true
		document, ok := c.Documents[of.Document]
		if sum := sha256.Sum256(document); !ok || !bytes.Equal(sum[:], of.SHA256) {
			return fmt.Errorf("case %s: %s is missing or not the file that sha256 names", of.ID, of.Document)
		}
		for _, name := range of.Roots {
			if _, err := attestation.ParseRoots(c.Roots[name]); err != nil {
				return fmt.Errorf("case %s: %s: %w", of.ID, name, err)
			}
		}
	}
	for i := range c.Cases {
		if twin := c.Cases[i].TwinOf; twin != "" && !ids[twin] {
			return fmt.Errorf("case %s: its twin %.100q is no case", c.Cases[i].ID, twin)
		}
	}
	return nil
}
