package attestation

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/nitrolab/nitrolab/devices/weaken"
)

// fields checks the sizes that Parse leaves open.
func (v *verification) fields() outcome {
	var have []string
	for _, f := range []struct {
		key   string
		value []byte
		least int
	}{
		{keyPublicKey, v.doc.PublicKey, 1},
		{keyUserData, v.doc.UserData, 0},
		{keyNonce, v.doc.Nonce, 0},
	} {
		if f.value == nil {
			continue
		}
		if n := len(f.value); n < f.least || n > v.MaxField {
			return failed(fail(ErrFields, "%s: expected %d to %d bytes, found %d", f.key, f.least, v.MaxField, n))
		}
		have = append(have, fmt.Sprintf("%s %d bytes", f.key, len(f.value)))
	}
	if have == nil {
		return passed("no optional field is set")
	}
	return passed("%s", strings.Join(have, ", "))
}

// debug refuses documents with a zero or absent PCR0, PCR1 or PCR2, whatever
// the policy expects there. A debug enclave has a genuine document in which
// these three are zero and PCR3 and PCR4 are not. An image with one ramdisk is
// no exception: its PCR2 measures nothing and is still not zero.
func (v *verification) debug() outcome {
	var zero []string
	for i := range uint(3) {
		if pcr, ok := v.doc.PCRs[i]; !ok || isZero(pcr) {
			zero = append(zero, CheckPCR(i))
		}
	}
	if v.doc.NitroTPM {
		return skipped("a NitroTPM has no debug mode")
	}
	list := strings.Join(zero, ", ")
	off := v.Weaken.Off(weaken.ZeroPCR)
	switch {
	case off && zero != nil:
		return skipped("%s: %s zero or absent, accepted", v.Weaken, list)
	case off:
		return skipped("%s", v.Weaken)
	case zero != nil:
		return failed(fail(ErrDebug, "%s zero or absent: the enclave ran in debug mode", list))
	}
	return passed("PCR0, PCR1, PCR2 are not zero")
}

func isZero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }

func (v *verification) pcr(i uint) outcome {
	want, ok := v.PCRs[i]
	found, have := v.doc.PCRs[i]
	switch {
	case !ok && v.NoPCRPolicy:
		return skipped("any value: the caller has no PCR policy")
	case !ok:
		return skipped("any value: the policy does not name it")
	case !have:
		return failed(fail(ErrPCR, "expected %s, found none: it was not locked", short(want)))
	case bytes.Equal(want, found):
		return passed("%s", short(found))
	}
	detail := differ(want, found)
	if i <= 2 && isZero(found) && !v.doc.NitroTPM {
		detail += ": the enclave ran in debug mode"
	}
	return failed(fail(ErrPCR, "%s", detail))
}

// expected compares an optional field; want is nil if it is not to be compared.
func (v *verification) expected(want, found []byte, reason error) outcome {
	switch {
	case want == nil:
		return skipped("no value is expected")
	case found == nil:
		return failed(fail(reason, "expected %s, found none", short(want)))
	case bytes.Equal(want, found):
		return passed("%s, as expected", short(found))
	}
	return failed(fail(reason, "%s", differ(want, found)))
}

// differ tells two values apart, also where their ends are the same.
func differ(want, found []byte) string {
	w, f := short(want), short(found)
	switch {
	case len(want) != len(found):
		return fmt.Sprintf("expected %s (%d bytes), found %s (%d bytes)", w, len(want), f, len(found))
	case w != f:
		return fmt.Sprintf("expected %s, found %s", w, f)
	}
	at := 0
	for want[at] == found[at] {
		at++
	}
	return fmt.Sprintf("expected %s, found %s, which differs first in byte %d: %02x, %02x", w, f, at, want[at], found[at])
}

// short is a value in hex: first two bytes and last, or all of up to four.
func short(b []byte) string {
	switch n := len(b); {
	case n == 0:
		return "empty"
	case n <= 4:
		return fmt.Sprintf("%x", b)
	default:
		return fmt.Sprintf("%x…%x", b[:2], b[n-1:])
	}
}
