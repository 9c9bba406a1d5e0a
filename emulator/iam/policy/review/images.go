package review

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nitrolab/nitrolab/emulator/iam/policy"
)

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
			if !seen[key] {
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

// others are the images that a policy names by PCR0 and that are none of given: a
// release that should have gone, or somebody else's.
func others(p *policy.Policy, given []Image) []Image {
	if len(given) == 0 {
		return nil
	}
	named := map[string]bool{}
	for i := range p.Statements {
		for _, v := range measurementsOf(&p.Statements[i])[0] {
			named[v] = true
		}
	}
	return slices.DeleteFunc(ImagesOf(p), func(i Image) bool {
		return !named[i.PCR0] || slices.ContainsFunc(given, func(g Image) bool { return strings.EqualFold(g.PCR0, i.PCR0) })
	})
}

// measurementsOf are the values by register that a statement is for, each once: what
// an Allow wants them to be, and a Deny wants them not to differ from.
func measurementsOf(s *policy.Statement) map[int][]string {
	values := map[int][]string{}
	for _, c := range attested(s) {
		k, _ := parseKey(c.Key)
		if !k.real || k.tpm || c.Operator.Name == nullOperator || c.Operator.Negated() != (s.Effect == policy.Deny) {
			continue
		}
		for _, v := range c.Values {
			v = strings.ToLower(v)
			if isMeasurement(v) && v != zero && !slices.Contains(values[k.pcr], v) {
				values[k.pcr] = append(values[k.pcr], v)
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
	for n := range most {
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
