package vectors

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/nitrolab/nitrolab/devices/nsm/attestation"
)

// pcrFails are the names of our checks of registers, after other checks.
func pcrFails(indexes ...uint) []string {
	var out []string
	for _, i := range indexes {
		out = append(out, attestation.CheckPCR(i))
	}
	return out
}

var failsDebug = []string{attestation.CheckDebug}

// withPCRs makes a document of other registers: productionPCRs after a change.
func withPCRs(change func(pcrs map[uint][]byte)) func(*draft) {
	return func(d *draft) {
		pcrs := productionPCRs(d.world.keys)
		change(pcrs)
		d.setPCRs(pcrs)
	}
}

func zeroed(size int, indexes ...uint) func(map[uint][]byte) {
	return func(pcrs map[uint][]byte) {
		for _, i := range indexes {
			pcrs[i] = make([]byte, size)
		}
	}
}

// zeros are what a policy that was copied from a debug enclave expects.
func zeros(indexes ...uint) map[uint]Hex {
	out := make(map[uint]Hex)
	for _, i := range indexes {
		out[i] = make([]byte, 48)
	}
	return out
}

// debugMode are A4 and A5.
func debugMode(k *kitchen) {
	debug := func(d *draft) { d.setPCRs(debugPCRs(k.keyring)) }
	expect := func(pcrs map[uint]Hex) func(*Case) { return func(c *Case) { c.PCRs = pcrs } }
	production := append(slices.Clone(failsDebug), pcrFails(0, 1, 2)...)
	k.cook("A4", recipe{fails: failsDebug, source: "nitriding-daemon#7; nsm-api#18: PCR3 and PCR4 stay in debug mode"}, []recipe{
		{id: "debug-pcr3-pcr4", title: "debug enclave: PCR0 to PCR2 zero, PCR3 and PCR4 set", forge: debug, fails: production},
		{id: "debug-definite-map", title: "the same in a map of nine", forge: func(d *draft) { debug(d); d.definite() }, fails: production},
		{id: "debug-no-role", title: "debug enclave of an instance without a role: PCR4 alone is set", forge: withPCRs(zeroed(48, 0, 1, 2, 3)), fails: production},
		{id: "debug-policy-of-pcr3-pcr4", title: "debug enclave, policy names PCR3 and PCR4", forge: debug, tell: expect(k.expectPCRs(3, 4)), wrong: "the registers that the policy names match, in a debug enclave too"},
		{id: "debug-policy-of-pcr4", title: "debug enclave, policy names PCR4", forge: debug, tell: expect(k.expectPCRs(4)), wrong: "the register that the policy names matches, in a debug enclave too"},
		{id: "debug-policy-of-pcr8", title: "debug enclave, policy expects PCR8 to be zero", forge: debug, tell: expect(k.expectPCRs(8))},
		{id: "debug-policy-of-zeros", title: "debug enclave, policy expects PCR0, PCR1 and PCR2 to be zero", forge: debug, tell: expect(zeros(0, 1, 2)), level: Strict, wrong: "a policy copied from a debug enclave; zero is never the measurement of an image"},
		{id: "debug-policy-of-zero-pcr0", title: "debug enclave, policy expects PCR0 to be zero and nothing else", forge: debug, tell: expect(zeros(0)), level: Strict, wrong: "a policy copied from a debug enclave; zero is never the measurement of an image"},
		{id: "pcr0-zero", title: "PCR0 alone is zero, policy names PCR1 and PCR2", forge: withPCRs(zeroed(48, 0)), tell: expect(k.expectPCRs(1, 2)), level: Strict},
		{id: "pcr1-zero", title: "PCR1 alone is zero, policy names PCR0 and PCR2", forge: withPCRs(zeroed(48, 1)), tell: expect(k.expectPCRs(0, 2)), level: Strict},
		{id: "pcr2-zero", title: "PCR2 alone is zero, policy names PCR0 and PCR1", forge: withPCRs(zeroed(48, 2)), tell: expect(k.expectPCRs(0, 1)), level: Strict, wrong: "an image of one ramdisk measures nothing in PCR2, and that is not zero"},
		{id: "pcr0-absent", title: "no PCR0, policy names PCR4", forge: withPCRs(func(p map[uint][]byte) { delete(p, 0) }), tell: expect(k.expectPCRs(4)), level: Strict, wrong: "PCR0 to PCR15 are locked from the beginning, so they are always there"},
		{id: "pcr0-to-pcr2-absent", title: "no PCR0, PCR1 and PCR2, policy names PCR4", forge: withPCRs(func(p map[uint][]byte) { delete(p, 0); delete(p, 1); delete(p, 2) }), tell: expect(k.expectPCRs(4)), level: Strict},
	})
	allZero := withPCRs(zeroed(48, 0, 1, 2, 3, 4))
	k.cook("A5", recipe{fails: failsDebug, source: "Cantina review of base/nitro-validator 2026, 3.2.1"}, []recipe{
		{id: "all-zero", title: "all registers zero", forge: allZero, fails: production},
		{id: "all-zero-policy-of-pcr3-pcr4", title: "all registers zero, policy expects PCR3 and PCR4 to be", forge: allZero, tell: expect(zeros(3, 4))},
		{id: "all-zero-policy-of-zeros", title: "all registers zero, policy expects PCR0, PCR1 and PCR2 to be", forge: allZero, tell: expect(zeros(0, 1, 2)), level: Strict, wrong: "zero is never the measurement of an image"},
		{id: "zeros-of-32-bytes", title: "PCR0, PCR1 and PCR2 of 32 zero bytes, policy names PCR4", forge: withPCRs(zeroed(32, 0, 1, 2)), tell: expect(k.expectPCRs(4)), wrong: "a comparison with 48 zero bytes does not find it"},
		{id: "zeros-of-64-bytes", title: "PCR0, PCR1 and PCR2 of 64 zero bytes, policy names PCR4", forge: withPCRs(zeroed(64, 0, 1, 2)), tell: expect(k.expectPCRs(4)), wrong: "a comparison with 48 zero bytes does not find it"},
		{id: "zero-32-registers", title: "32 registers, all zero, policy names PCR31", forge: func(d *draft) { d.setPCRs(dense(32)) }, tell: expect(zeros(31))},
	})
	none := func(c *Case) { c.PCRs = map[uint]Hex{} }
	k.cook("A6", recipe{fails: []string{CallRefused}, source: "keep#590; worldcoin/pontifex#30"}, []recipe{
		{id: "no-policy", title: "a good document, and the verifier expects no register", tell: none, wrong: "an empty policy accepts every enclave there is"},
		{id: "no-policy-definite-map", title: "the same, in a map of nine", forge: (*draft).definite, tell: none, wrong: "an empty policy accepts every enclave there is"},
		{id: "no-policy-debug", title: "a debug enclave, and the verifier expects no register", forge: debug, tell: none},
		{id: "no-policy-nonce-matches", title: "the nonce is as expected, but no register is", tell: func(c *Case) { none(c); c.Nonce = goodNonce(k.keyring) }, wrong: "an empty policy accepts every enclave there is"},
	})
}

// otherImages are A7 and A9: genuine documents of something else.
func otherImages(k *kitchen) {
	other := func(indexes ...uint) func(*draft) {
		return withPCRs(func(p map[uint][]byte) {
			for _, i := range indexes {
				p[i] = pcr(k.keyring, fmt.Sprintf("other %d", i))
			}
		})
	}
	edit := func(i uint, change func(v []byte) []byte) func(*draft) {
		return withPCRs(func(p map[uint][]byte) { p[i] = change(bytes.Clone(p[i])) })
	}
	expect := func(indexes ...uint) func(*Case) {
		return func(c *Case) { c.PCRs = k.expectPCRs(indexes...) }
	}
	signer := Hex(pcr(k.keyring, "image signer"))
	k.cook("A7", recipe{source: "Trail of Bits 2024-02: check PCR1 and PCR2 in addition to PCR0"}, []recipe{
		{id: "other-pcr0", title: "another PCR0", forge: other(0), fails: pcrFails(0)},
		{id: "other-pcr1", title: "another PCR1", forge: other(1), fails: pcrFails(1)},
		{id: "other-pcr2", title: "another PCR2", forge: other(2), fails: pcrFails(2)},
		{id: "other-pcr1-and-pcr2", title: "another PCR1 and PCR2", forge: other(1, 2), fails: pcrFails(1, 2)},
		{id: "other-image", title: "another image: PCR0, PCR1 and PCR2 differ", forge: other(0, 1, 2), fails: pcrFails(0, 1, 2)},
		{id: "swapped", title: "PCR1 and PCR2 swapped", forge: withPCRs(func(p map[uint][]byte) { p[1], p[2] = p[2], p[1] }), fails: pcrFails(1, 2)},
		{id: "in-other-registers", title: "the expected values stand in PCR5 to PCR7", forge: withPCRs(func(p map[uint][]byte) {
			for i := range uint(3) {
				p[i+5], p[i] = p[i], pcr(k.keyring, fmt.Sprintf("other %d", i))
			}
		}), fails: pcrFails(0, 1, 2)},
		{id: "first-bit", title: "PCR0 differs in its first bit", forge: edit(0, func(v []byte) []byte { v[0] ^= 0x80; return v }), fails: pcrFails(0)},
		{id: "last-bit", title: "PCR0 differs in its last bit", forge: edit(0, func(v []byte) []byte { v[47] ^= 1; return v }), fails: pcrFails(0)},
		{id: "prefix-of-32-bytes", title: "PCR0 is the first 32 bytes of the expected value", forge: edit(0, func(v []byte) []byte { return v[:32] }), fails: pcrFails(0), wrong: "a comparison of the shorter length does not find it"},
		{id: "continued-to-64-bytes", title: "PCR0 is the expected value and 16 zero bytes", forge: edit(0, func(v []byte) []byte { return append(v, make([]byte, 16)...) }), fails: pcrFails(0), wrong: "a comparison of the shorter length does not find it"},
		{id: "reversed", title: "PCR0 with its bytes from the last to the first", forge: edit(0, func(v []byte) []byte { slices.Reverse(v); return v }), fails: pcrFails(0)},
		{id: "absent-pcr2", title: "no PCR2, which is expected", forge: withPCRs(func(p map[uint][]byte) { delete(p, 2) }), fails: []string{attestation.CheckDebug, attestation.CheckPCR(2)}},
		{id: "unsigned-image", title: "PCR8 is zero, a signer is expected", tell: func(c *Case) { c.PCRs[8] = signer }, fails: pcrFails(8)},
		{id: "other-signer", title: "PCR8 of another signer", forge: other(8), tell: func(c *Case) { c.PCRs[8] = signer }, fails: pcrFails(8)},
		{id: "signer-alone-is-not-enough", title: "PCR8 as expected, PCR0 another", forge: withPCRs(func(p map[uint][]byte) { p[8] = signer; p[0] = pcr(k.keyring, "other 0") }), tell: func(c *Case) { c.PCRs[8] = signer }, fails: pcrFails(0)},
		{id: "absent-pcr16", title: "no PCR16, which is expected", tell: func(c *Case) { c.PCRs[16] = make([]byte, 48) }, fails: pcrFails(16), wrong: "an absent register is not a zero one"},
		{id: "pcr31-expected", title: "32 registers, another PCR31", forge: func(d *draft) {
			pcrs := dense(32)
			for i, v := range productionPCRs(k.keyring) {
				pcrs[i] = v
			}
			d.setPCRs(pcrs)
		}, tell: func(c *Case) { c.PCRs[31] = Hex(pcr(k.keyring, "locked by the application")) }, fails: pcrFails(31)},
	})
	k.cook("A9", recipe{source: "chainlink-common#2196"}, []recipe{
		{id: "other-instance", title: "the same image on another instance, PCR4 expected", forge: other(4), tell: expect(0, 1, 2, 4), fails: pcrFails(4)},
		{id: "other-role", title: "the same image under another role, PCR3 expected", forge: other(3), tell: expect(0, 1, 2, 3), fails: pcrFails(3)},
		{id: "no-role", title: "the same image on an instance without a role, PCR3 expected", forge: withPCRs(zeroed(48, 3)), tell: expect(0, 1, 2, 3), fails: pcrFails(3)},
		{id: "role-instead-of-instance", title: "PCR3 and PCR4 swapped", forge: withPCRs(func(p map[uint][]byte) { p[3], p[4] = p[4], p[3] }), tell: expect(0, 1, 2, 3, 4), fails: pcrFails(3, 4)},
		{id: "zero-instance", title: "PCR4 zero, an instance is expected", forge: withPCRs(zeroed(48, 4)), tell: expect(0, 1, 2, 4), fails: pcrFails(4)},
	})
}
