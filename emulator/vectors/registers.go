package vectors

import (
	"fmt"
	"slices"

	"github.com/nitrolab/nitrolab/devices/nsm/attestation"
)

// entry is one entry of the map of registers.
func entry(i uint, value []byte) pair { return pair{head(majorUint, uint64(i)), bstr(value)} }

// productionEntries are productionPCRs as entries, ascending.
func productionEntries(k *keyring) []pair {
	all := productionPCRs(k)
	var out []pair
	for i := range uint(len(all)) {
		out = append(out, entry(i, all[i]))
	}
	return out
}

// entries changes the map of registers.
func entries(change func([]pair) []pair) func(*draft) {
	return func(d *draft) {
		d.set(keyPCRs, mapOf(change(productionEntries(d.world.keys))...))
	}
}

// registerShapes are A8: maps of registers.
func registerShapes(k *kitchen) {
	legalRegisters(k)
	x := pcr(k.keyring, "x")
	good := productionPCRs(k.keyring)
	add := func(more ...pair) func(*draft) {
		return entries(func(p []pair) []pair { return append(p, more...) })
	}
	format := []string{attestation.CheckFormat}
	item := func(value []byte) func(*draft) { return func(d *draft) { d.set(keyPCRs, value) } }
	key := func(key []byte) func(*draft) { return add(pair{key, bstr(x)}) }
	k.cook("A8", recipe{fails: format, source: specContent}, []recipe{
		{id: "twice-second-right", title: "PCR0 twice, first another and then the expected value", forge: entries(func(p []pair) []pair { return append([]pair{entry(0, x)}, p...) }), source: rfcCBORMap},
		{id: "twice-first-right", title: "PCR0 twice, first the expected and then another value", forge: add(entry(0, x)), source: rfcCBORMap},
		{id: "twice-equal", title: "PCR0 twice with the same value", forge: add(entry(0, good[0])), source: rfcCBORMap},
		{id: "twice-zero-first", title: "PCR0 twice, first zero and then the expected value", forge: entries(func(p []pair) []pair { return append([]pair{entry(0, make([]byte, 48))}, p...) }), source: rfcCBORMap},
		{id: "pcr15-twice", title: "PCR15 twice", forge: add(entry(15, x)), source: rfcCBORMap},
		{id: "pcr32", title: "a PCR32", forge: key(head(majorUint, 32))},
		{id: "pcr255", title: "a PCR255", forge: key(head(majorUint, 255))},
		{id: "pcr256", title: "a PCR256, which is PCR0 in eight bits", forge: key(head(majorUint, 256))},
		{id: "pcr-2-to-32", title: "a PCR4294967296, which is PCR0 in 32 bits", forge: key(head(majorUint, 1<<32))},
		{id: "pcr-2-to-64-minus-1", title: "a PCR18446744073709551615", forge: key(head(majorUint, 1<<64-1))},
		{id: "pcr-minus-1", title: "a PCR-1", forge: key([]byte{0x20})},
		{id: "text-index", title: "an index in text", forge: key(tstr("0"))},
		{id: "byte-string-index", title: "an index in a byte string", forge: key(bstr([]byte{0}))},
		{id: "float-index", title: "an index of 0.0", forge: key([]byte{0xf9, 0, 0})},
		{id: "null-index", title: "an index of null", forge: key(cborNull)},
		{id: "boolean-index", title: "an index of false", forge: key([]byte{0xf4})},
		{id: "bignum-index", title: "an index of bignum 0", forge: key([]byte{0xc2, 0x41, 0x00})},
		{id: "array-index", title: "an index of an array", forge: key([]byte{0x81, 0x00})},
		{id: "no-entry", title: "no register", forge: item([]byte{0xa0})},
		{id: "33-entries", title: "33 registers", forge: func(d *draft) { d.setPCRs(dense(33)) }},
		{id: "192-entries", title: "192 registers", forge: func(d *draft) { d.setPCRs(dense(192)) }},
		{id: "one-less-than-stated", title: "a map of 17 with 16 entries", forge: item(append([]byte{0xb1}, pcrItem(good)[1:]...)), source: rfcCBOR},
		{id: "one-more-than-stated", title: "a map of 15 with 16 entries", forge: item(append([]byte{0xaf}, pcrItem(good)[1:]...)), source: rfcCBOR},
		{id: "array-of-registers", title: "an array of the values instead of a map", forge: func(d *draft) {
			var items [][]byte
			for i := range uint(16) {
				items = append(items, bstr(good[i]))
			}
			d.set(keyPCRs, array(items...))
		}},
		{id: "map-in-byte-string", title: "the map in a byte string", forge: item(bstr(pcrItem(good)))},
		{id: "named-registers", title: `keys "PCR0" to "PCR15", as tools print them`, forge: func(d *draft) {
			var pairs []pair
			for i := range uint(16) {
				pairs = append(pairs, pair{tstr(fmt.Sprintf("PCR%d", i)), bstr(good[i])})
			}
			d.set(keyPCRs, mapOf(pairs...))
		}},
		{id: "indefinite-map", title: "a map of indefinite length", forge: item(join([]byte{0xbf}, pcrItem(good)[1:], []byte{cborBreak})), level: Strict, source: "in genuine documents of both forms everything inside the payload's map is definite"},
	})
	for width := 1; width <= 4; width++ {
		k.add("A8", recipe{
			id: fmt.Sprintf("twice-other-form-%d", 1<<(width-1)), title: fmt.Sprintf("PCR0 twice, once with its index in %d bytes", 1<<(width-1)),
			forge: key(headOf(majorUint, 0, width)), fails: format, source: rfcCBORMap,
			wrong: "0 and a longer form of 0 are one key",
		})
	}
	registerValues(k)
}

// legalRegisters are the shapes that AWS's definition allows: a map of all
// locked registers.
func legalRegisters(k *kitchen) {
	dense32 := func(p map[uint][]byte) {
		for i := range uint(32) {
			if p[i] == nil {
				p[i] = make([]byte, 48)
			}
		}
	}
	one := func(i uint) func(map[uint][]byte) {
		return func(p map[uint][]byte) { p[i] = pcr(k.keyring, "locked by the application") }
	}
	signer := pcr(k.keyring, "image signer")
	k.cook("A8", recipe{verdict: Accept, source: specDocument}, []recipe{
		{id: "0-to-31", title: "32 registers: the enclave locked all", forge: withPCRs(dense32), source: "LockPCRs with range 32"},
		{id: "0-to-31-definite", title: "32 registers, in a map of nine", forge: func(d *draft) { withPCRs(dense32)(d); d.definite() }},
		{id: "0-to-15-and-16", title: "PCR0 to PCR15 and PCR16", forge: withPCRs(one(16))},
		{id: "0-to-15-and-20", title: "PCR0 to PCR15 and PCR20", forge: withPCRs(one(20)), source: "Cantina review of base/nitro-validator 2026, 3.1.1"},
		{id: "0-to-15-and-31", title: "PCR0 to PCR15 and PCR31, which is expected", forge: withPCRs(one(31)), tell: func(c *Case) { c.PCRs[31] = Hex(pcr(k.keyring, "locked by the application")) }},
		{id: "24-entries", title: "24 registers: the head of the map has two bytes", forge: func(d *draft) {
			withPCRs(func(p map[uint][]byte) {
				dense32(p)
				for i := uint(24); i < 32; i++ {
					delete(p, i)
				}
			})(d)
		}},
		{id: "signed-image", title: "PCR8 set and expected: a signed image", forge: withPCRs(func(p map[uint][]byte) { p[8] = signer }), tell: func(c *Case) { c.PCRs[8] = signer }},
		{id: "no-role", title: "PCR3 zero: the instance has no role", forge: withPCRs(zeroed(48, 3))},
		{id: "descending", title: "registers in descending order", forge: entries(func(p []pair) []pair { slices.Reverse(p); return p }), level: Strict, source: rfcCBORMap},
		{id: "0-to-2-alone", title: "three registers", forge: withPCRs(func(p map[uint][]byte) {
			for i := uint(3); i < 16; i++ {
				delete(p, i)
			}
		}), level: Strict},
		{id: "32-bytes-in-pcr9", title: "a register of 32 bytes, which the definition allows", forge: withPCRs(zeroed(32, 9)), level: Strict},
		{id: "64-bytes-in-pcr9", title: "a register of 64 bytes, which the definition allows", forge: withPCRs(zeroed(64, 9)), level: Strict},
	})
	for width := 1; width <= 4; width++ {
		k.add("A8", recipe{
			id: fmt.Sprintf("index-of-%d-bytes", 1<<(width-1)), title: fmt.Sprintf("index of PCR15 in %d bytes more than it needs", 1<<(width-1)),
			verdict: Either, level: Strict, source: rfcCBOR,
			forge: entries(func(p []pair) []pair { p[15].key = headOf(majorUint, 15, width); return p }),
		})
	}
}

// registerValues are wrong sizes and types, in PCR0, which is expected, and in
// PCR15, which is not.
func registerValues(k *kitchen) {
	for _, i := range []int{0, 15} {
		value := func(v []byte) func(*draft) {
			return entries(func(p []pair) []pair { p[i].value = v; return p })
		}
		sized := func(n int) []byte { return bstr(make([]byte, n)) }
		for _, v := range []struct {
			id, title string
			item      []byte
		}{
			{"empty", "of no bytes", sized(0)},
			{"one-byte", "of one byte", sized(1)},
			{"31-bytes", "of 31 bytes", sized(31)},
			{"33-bytes", "of 33 bytes", sized(33)},
			{"47-bytes", "of 47 bytes", sized(47)},
			{"49-bytes", "of 49 bytes", sized(49)},
			{"63-bytes", "of 63 bytes", sized(63)},
			{"65-bytes", "of 65 bytes", sized(65)},
			{"4096-bytes", "of 4096 bytes", sized(4096)},
			{"null", "null", cborNull},
			{"undefined", "undefined", cborUndefined},
			{"text", "in text: 48 characters", tstr(fmt.Sprintf("%048d", 0))},
			{"hex", "in hex digits, as text", tstr(fmt.Sprintf("%096d", 0))},
			{"number", "a number", []byte{0x00}},
			{"array", "an array of 48 numbers", append([]byte{0x98, 48}, make([]byte, 48)...)},
			{"map", "a map", []byte{0xa0}},
			{"false", "false", []byte{0xf4}},
		} {
			k.add("A8", recipe{
				id: fmt.Sprintf("pcr%d-%s", i, v.id), title: fmt.Sprintf("PCR%d %s", i, v.title),
				forge: value(v.item), fails: []string{attestation.CheckFormat}, source: specContent,
			})
		}
		k.add("A8", recipe{
			id: fmt.Sprintf("pcr%d-tagged", i), title: fmt.Sprintf("PCR%d with a tag", i),
			forge: entries(func(p []pair) []pair { p[i].value = append([]byte{0xd5}, p[i].value...); return p }),
			fails: []string{attestation.CheckFormat}, level: Strict, source: specDocument,
		})
		k.add("A8", recipe{
			id: fmt.Sprintf("pcr%d-in-chunks", i), title: fmt.Sprintf("PCR%d a byte string of indefinite length", i),
			forge: value(join([]byte{0x5f}, sized(24), sized(24), []byte{cborBreak})),
			fails: []string{attestation.CheckFormat}, level: Strict, source: "in genuine documents of both forms everything inside the payload's map is definite",
		})
	}
}
