package review

import (
	"strings"

	"github.com/nitrolab/nitrolab/emulator/iam/policy"
)

// values looks at the keys and values of conditions on an attestation: KMS
// compares the 96 lower-case hexadecimal digits of a register.
func (r *reviewer) values(s *policy.Statement) {
	for _, c := range attested(s) {
		k, _ := parseKey(c.Key)
		key := printable(c.Key)
		if !k.real {
			r.add(Warning, s, nil, "%s is no key of KMS, so no request has it; there are ImageSha384, PCR0 to PCR%d, and NitroTPMPCR0 to NitroTPMPCR%d", key, lastPCR, lastTPMPCR)
			continue
		}
		if k.tpm {
			r.add(Note, s, nil, "%s is of EC2 instances with NitroTPM; no enclave has it", key)
		}
		if c.Operator.Name == nullOperator {
			continue
		}
		if !strings.HasPrefix(c.Operator.Name, "String") {
			r.add(Warning, s, nil, "%s on %s compares no text; what is needed is StringEqualsIgnoreCase", c.Operator, key)
			continue
		}
		for _, v := range c.Values {
			r.value(s, c, v)
		}
	}
}

// value looks at one value. Zeros are seen when requests are played.
func (r *reviewer) value(s *policy.Statement, c *policy.Condition, v string) {
	key := printable(c.Key)
	like := strings.HasSuffix(c.Operator.Name, "Like")
	switch {
	case strings.Contains(v, "${"):
	case like && strings.ContainsAny(v, "*?"):
		r.add(Warning, s, nil, "a value of %s has a wildcard, so it names less than a measurement: an image that fits can be found by trying", key)
	case len(v) != len(zero):
		r.add(Warning, s, nil, "a value of %s has %d characters; a measurement has %d, so it equals none", key, len(v), len(zero))
	case !isHex(v):
		r.add(Warning, s, nil, "a value of %s is not hexadecimal, so it equals no measurement", key)
	case v != strings.ToLower(v) && !strings.Contains(c.Operator.Name, "IgnoreCase"):
		r.add(Warning, s, nil, "a value of %s has upper-case digits and %s minds the case: it equals no measurement; what is needed is lower case, or StringEqualsIgnoreCase", key, c.Operator)
	}
}
