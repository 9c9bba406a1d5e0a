package kms

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/nitrolab/nitrolab/emulator/kms/keys"
)

// A validation collects what is wrong with the members of a request, for one
// ValidationException in the service's words, which people search for: "1
// validation error detected: Value … at 'keyId' failed to satisfy constraint: …".
// Limits are those of the KMS API reference.
type validation struct{ problems []string }

func (v *validation) fail(value, member, constraint string, args ...any) {
	v.problems = append(v.problems, fmt.Sprintf("Value %s at '%s' failed to satisfy constraint: Member must %s",
		value, member, fmt.Sprintf(constraint, args...)))
}

// err is nil if nothing is wrong.
func (v *validation) err() error {
	switch n := len(v.problems); n {
	case 0:
		return nil
	case 1:
		return refuse(codeValidation, "1 validation error detected: %s", v.problems[0])
	default:
		return refuse(codeValidation, "%d validation errors detected: %s", n, strings.Join(v.problems, "; "))
	}
}

func quoted(s string) string {
	const most = 128
	if len(s) > most {
		s = s[:most] + "..."
	}
	return "'" + strings.ToValidUTF8(s, "?") + "'"
}

// text is a required string of least to most characters.
func (v *validation) text(member string, s *string, least, most int) {
	if s == nil {
		v.fail("null", member, "not be null")
		return
	}
	v.optional(member, s, least, most)
}

// optional is a string of least to most characters, if it is there.
func (v *validation) optional(member string, s *string, least, most int) {
	if s == nil {
		return
	}
	switch n := utf8.RuneCountInString(*s); {
	case n < least:
		v.fail(quoted(*s), member, "have length greater than or equal to %d", least)
	case n > most:
		v.fail(quoted(*s), member, "have length less than or equal to %d", most)
	}
}

// keyID is a required KeyId.
func (v *validation) keyID(member string, s *string) { v.text(member, s, 1, keys.MaxKeyID) }

// blob is a required byte string. Its bytes are not shown: they may be a secret.
func (v *validation) blob(member string, b []byte, most int) {
	switch n := len(b); {
	case b == nil:
		v.fail("null", member, "not be null")
	case n == 0:
		v.fail("of 0 bytes", member, "have length greater than or equal to 1")
	case n > most:
		v.fail(fmt.Sprintf("of %d bytes", n), member, "have length less than or equal to %d", most)
	}
}

// number is an integer of least to most, if it is there.
func (v *validation) number(member string, n *int32, least, most int32) {
	switch {
	case n == nil:
	case *n < least:
		v.fail(fmt.Sprintf("'%d'", *n), member, "have value greater than or equal to %d", least)
	case *n > most:
		v.fail(fmt.Sprintf("'%d'", *n), member, "have value less than or equal to %d", most)
	}
}

// one checks an enumeration of the SDK; empty is one that is not there.
func one[T interface {
	~string
	Values() []T
}](v *validation, member string, value T) {
	if all := value.Values(); value != "" && !slices.Contains(all, value) {
		names := make([]string, len(all))
		for i, name := range all {
			names[i] = string(name)
		}
		v.fail(quoted(string(value)), member, "satisfy enum value set: [%s]", strings.Join(names, ", "))
	}
}

// needed is one that must be there.
func needed[T interface {
	~string
	Values() []T
}](v *validation, member string, value T) {
	if value == "" {
		v.fail("null", member, "not be null")
	}
	one(v, member, value)
}

// grantTokens refuses tokens: there are no grants, so none is valid.
func (c *call) grantTokens(tokens []string) error {
	if len(tokens) > 0 {
		return refuse("InvalidGrantTokenException", "grants are not emulated; no grant token is valid")
	}
	return nil
}

// maxDocument is the longest AttestationDocument (KMS API reference, RecipientInfo),
// in bytes. Package attestation has a smaller limit of its own.
const maxDocument = 256 << 10

func (v *validation) recipient(r *types.RecipientInfo) {
	if r == nil {
		return
	}
	v.blob("recipient.attestationDocument", r.AttestationDocument, maxDocument)
	needed(v, "recipient.keyEncryptionAlgorithm", r.KeyEncryptionAlgorithm)
}

// tags checks a list of tags and gives it as a map.
func (v *validation) tags(list []types.Tag) map[string]string {
	tags := make(map[string]string, len(list))
	for i, t := range list {
		at := fmt.Sprintf("tags.%d.member.", i+1)
		v.text(at+"tagKey", t.TagKey, 1, keys.MaxTagKey)
		v.text(at+"tagValue", t.TagValue, 0, keys.MaxTagValue)
		if t.TagKey == nil || t.TagValue == nil {
			continue
		}
		if _, twice := tags[*t.TagKey]; twice {
			v.fail(quoted(*t.TagKey), at+"tagKey", "be unique")
		}
		tags[*t.TagKey] = *t.TagValue
	}
	return tags
}

// value of a pointer; the zero value if it is nil.
func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
