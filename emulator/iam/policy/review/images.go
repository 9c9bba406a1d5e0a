package review

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nitrolab/nitrolab/emulator/iam/policy"
)

// KeyOf is the ARN of a key that the policy can be of: one that it names, or a
// made-up one of the account it names.
func KeyOf(p *policy.Policy) string {
	account := ""
	for i := range p.Statements {
		for _, r := range p.Statements[i].Resource {
			if strings.HasPrefix(afterAccount(r), "key/") && !strings.ContainsAny(r, "*?$") {
				return r
			}
		}
		for _, principal := range principalsOf(&p.Statements[i]) {
			r, _ := NewRequester(principal, nil)
			if a := r.Principal.Account; account == "" && a != noAccount {
				account = a
			}
		}
	}
	if account == "" {
		account = "111122223333"
	}
	return "arn:aws:kms:us-east-1:" + account + ":key/00000000-0000-0000-0000-000000000000"
}

// maxImages bounds the images that one policy can name.
const maxImages = 32

// ImagesOf are the images that a policy names by their registers, each once; one
// unknown image if it names none. Zeros are no image. A register that a statement
// does not name is as the rest of the policy has it, if that agrees on a value,
// and one of its own otherwise.
func ImagesOf(p *policy.Policy) []Image {
	all := map[int][]string{}
	for i := range p.Statements {
		for pcr, values := range measurementsOf(&p.Statements[i]) {
			for _, v := range values {
				if !slices.Contains(all[pcr], v) {
					all[pcr] = append(all[pcr], v)
				}
			}
		}
	}
	var list []Image
	seen := map[Image]bool{}
	for i := range p.Statements {
		for _, image := range imagesOf(&p.Statements[i], all) {
			key := image
			key.Name = ""
			if len(list) < maxImages && !seen[key] {
				seen[key] = true
				list = append(list, image)
			}
		}
	}
	if list == nil {
		list = []Image{{Name: "an image", PCR0: stranger("0"), PCR1: stranger("1"), PCR2: stranger("2")}}
	}
	return list
}

// measurementsOf are the values by register that a statement names.
func measurementsOf(s *policy.Statement) map[int][]string {
	values := map[int][]string{}
	for _, c := range attested(s) {
		k, _ := parseKey(c.Key)
		if !k.real || k.tpm || c.Operator.Name == nullOperator {
			continue
		}
		for _, v := range c.Values {
			if isMeasurement(v) && !strings.EqualFold(v, zero) {
				values[k.pcr] = append(values[k.pcr], strings.ToLower(v))
			}
		}
	}
	return values
}

// imagesOf are those of one statement in a policy that names all. Several values
// for a register are several images, in the same order for each register.
func imagesOf(s *policy.Statement, all map[int][]string) []Image {
	values := measurementsOf(s)
	most := 0
	for _, pcr := range []int{0, 1, 2, 8} {
		most = max(most, len(values[pcr]))
	}
	var list []Image
	for n := range min(most, maxImages) {
		value := func(pcr int, otherwise string) string {
			switch v := values[pcr]; {
			case len(v) > 0:
				return v[min(n, len(v)-1)]
			case len(all[pcr]) == 1:
				return all[pcr][0]
			}
			return otherwise
		}
		own := func(pcr int) string { return stranger(fmt.Sprintf("%d of image %d of %s", pcr, n, nameOf(s))) }
		image := Image{
			Name: "image of " + nameOf(s),
			PCR0: value(0, own(0)), PCR1: value(1, own(1)), PCR2: value(2, own(2)), PCR8: value(8, ""),
		}
		if most > 1 {
			image.Name = fmt.Sprintf("image %d of %s", n+1, nameOf(s))
		}
		list = append(list, image)
	}
	return list
}

// isMeasurement reports whether text is a SHA-384 value in hexadecimal.
func isMeasurement(text string) bool {
	return len(text) == len(zero) && isHex(text)
}

func isHex(text string) bool {
	return strings.Trim(text, "0123456789abcdefABCDEF") == ""
}

// nameOf is how a person finds a statement.
func nameOf(s *policy.Statement) string {
	if s.Sid != "" {
		return fmt.Sprintf("statement %d (%s)", s.Index, printable(s.Sid))
	}
	return fmt.Sprintf("statement %d", s.Index)
}

// namedRegisters are those on which a policy, or a known identity policy, has
// conditions.
func namedRegisters(p *policy.Policy, asking []Requester) map[int]bool {
	names := map[int]bool{}
	add := func(p *policy.Policy) {
		for i := range p.Statements {
			for _, c := range attested(&p.Statements[i]) {
				if k, _ := parseKey(c.Key); k.real && !k.tpm {
					names[k.pcr] = true
				}
			}
		}
	}
	add(p)
	for _, a := range asking {
		for _, o := range a.Identity {
			add(o)
		}
	}
	return names
}
