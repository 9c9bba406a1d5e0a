package run

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nitrolab/nitrolab/devices/nsm/attestation"
	"github.com/nitrolab/nitrolab/emulator/vectors"
)

// A Selection leaves out cases. The zero value leaves out none.
type Selection struct {
	// Level vectors.Must asks about those cases only; empty is all.
	Level vectors.Level

	// Groups are the only ones asked about if there are any; SkipGroups are not.
	Groups, SkipGroups []string

	// Without names what the verifier cannot be told. A document that is to be
	// refused for nothing else is not shown to it.
	Without []Expectation
}

// An Expectation is something a verifier can be told.
type Expectation string

const (
	Roots     Expectation = "roots" // that no root is pinned at all
	PCRs      Expectation = "pcrs"
	Nonce     Expectation = "nonce"
	UserData  Expectation = "user-data"
	PublicKey Expectation = "public-key"
	MaxAge    Expectation = "max-age"
	Archive   Expectation = "archive"
)

// Expectations are all of them.
var Expectations = []Expectation{Roots, PCRs, Nonce, UserData, PublicKey, MaxAge, Archive}

// Check finds names that are none.
func (s *Selection) Check() error {
	if s.Level != "" && s.Level != vectors.Must && s.Level != vectors.Strict {
		return fmt.Errorf("run vectors: level is %q; allowed are %s and %s", s.Level, vectors.Must, vectors.Strict)
	}
	for _, e := range s.Without {
		if !slices.Contains(Expectations, e) {
			return fmt.Errorf("run vectors: %q is nothing a verifier is told; allowed are %s", e, join(Expectations))
		}
	}
	return nil
}

func join[T ~string](list []T) string {
	words := make([]string, len(list))
	for i, v := range list {
		words[i] = string(v)
	}
	return strings.Join(words, ", ")
}

// skips says why a case is left out, or nothing.
func (s *Selection) skips(c vectors.Case) string {
	switch {
	case s.Level == vectors.Must && c.Level != vectors.Must:
		return "level " + string(c.Level)
	case len(s.Groups) > 0 && !slices.Contains(s.Groups, c.Group), slices.Contains(s.SkipGroups, c.Group):
		return "group " + c.Group
	}
	for _, e := range s.Without {
		if s.needs(c, e) {
			return "needs " + string(e)
		}
	}
	return ""
}

// needs reports whether the verdict about c hangs on what a verifier that is not
// told the expectations in Without cannot know, e among them.
func (s *Selection) needs(c vectors.Case, e Expectation) bool {
	if e == Archive {
		return c.Archive // the certificates have expired at the time of the case
	}
	if c.Verdict != vectors.Reject || len(c.Fails) == 0 {
		return false
	}
	found := false
	for _, check := range c.Fails {
		by, ok := expectationOf(check, c)
		if !ok || !slices.Contains(s.Without, by) {
			return false // refused for another reason too
		}
		found = found || by == e
	}
	return found
}

// expectationOf is what a failed check compares the document with, if it does.
func expectationOf(check string, c vectors.Case) (Expectation, bool) {
	switch check {
	case attestation.CheckNonce:
		return Nonce, true
	case attestation.CheckUserData:
		return UserData, true
	case attestation.CheckPublicKey:
		return PublicKey, true
	case attestation.CheckFreshness:
		return MaxAge, true
	case vectors.CallRefused:
		if len(c.Roots) == 0 {
			return Roots, true
		}
		return PCRs, true
	}
	return PCRs, strings.HasPrefix(check, "PCR")
}
