package review

import (
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"maps"
	"strings"
)

// An Image has the measurements of an enclave image, in lower-case hexadecimal.
// PCR8 is "" for an image that is not signed.
type Image struct {
	Name                   string
	PCR0, PCR1, PCR2, PCR8 string
}

// A Request is a kind of request for a key, a row of a [Report].
type Request struct {
	Name string

	// Attested is set for the image itself in production mode: it is to get a key.
	Attested bool

	// Allowed is set for what is not the image but may get a key: the same code
	// without a signature, or another image of a signer whom the policy names.
	Allowed bool

	registers map[int]string // what is known of the document; nil: there is none
}

// zero is what PCR0, PCR1, PCR2 and PCR8 of a debug enclave have, and a register
// that nothing was measured into.
var zero = strings.Repeat("0", 2*sha512.Size384)

// stranger is a register of an image that is not known to the policy.
func stranger(name string) string {
	sum := sha512.Sum384([]byte("nitrolab: a measurement of no image: " + name))
	return hex.EncodeToString(sum[:])
}

// document is what a document of an image says. Registers 5 to 7 and 9 to 15 are
// locked before anything could be measured into them, so they are zero; 3 and 4
// are those of the instance, and 16 to 31 the enclave's own to extend, so they can
// be what the policy wants.
func document(pcr0, pcr1, pcr2, pcr8 string) map[int]string {
	m := map[int]string{0: pcr0, 1: pcr1, 2: pcr2, 8: pcr8}
	if pcr8 == "" {
		m[8] = zero
	}
	for _, i := range []int{5, 6, 7, 9, 10, 11, 12, 13, 14, 15} {
		m[i] = zero
	}
	return m
}

// requests are those that matter for images and a policy that names registers, and
// named images beside these. Those that a policy could not tell from others before
// them are left out.
func requests(images, named []Image, names map[int]bool) []Request {
	var list []Request
	other0, other1, other2, other8 := stranger("PCR0"), stranger("PCR1"), stranger("PCR2"), stranger("PCR8")
	signed := false
	for _, i := range images {
		list = append(list, Request{Name: i.Name, Attested: true, registers: document(i.PCR0, i.PCR1, i.PCR2, i.PCR8)})
		signed = signed || i.PCR8 != ""
	}
	add := func(name string, allowed bool, registers map[int]string) {
		list = append(list, Request{Name: name, Allowed: allowed, registers: registers})
	}
	add("debug mode", false, document(zero, zero, zero, ""))
	add("another image", false, document(other0, other1, other2, ""))
	for _, i := range named {
		add("other "+i.Name, false, document(i.PCR0, i.PCR1, i.PCR2, i.PCR8))
	}
	for _, i := range images {
		if names[1] {
			add("another application on the kernel of "+i.Name, false, document(other0, i.PCR1, other2, ""))
		}
		if names[2] {
			add("the application of "+i.Name+" on another kernel", false, document(other0, other1, i.PCR2, ""))
		}
		if i.PCR8 != "" && names[8] {
			add("another image by the signer of "+i.Name, true, document(other0, other1, other2, i.PCR8))
		}
	}
	if names[8] || signed {
		add("another image by another signer", false, document(other0, other1, other2, other8))
		for _, i := range images {
			if i.PCR8 != "" {
				add(i.Name+" without its signature", true, document(i.PCR0, i.PCR1, i.PCR2, ""))
			}
			add(i.Name+" by another signer", true, document(i.PCR0, i.PCR1, i.PCR2, other8))
		}
	}
	add("no document", false, nil)
	return list
}

// context are the condition keys of the request.
func (r Request) context() map[string][]string {
	if r.registers == nil {
		return map[string][]string{}
	}
	m := map[string][]string{attestationPrefix + "ImageSha384": {r.registers[0]}}
	for i, v := range r.registers {
		m[fmt.Sprintf("%sPCR%d", attestationPrefix, i)] = []string{v}
	}
	return m
}

// knows reports whether the value of a condition key is known, be it that the key
// is absent.
func (r Request) knows(key string) bool {
	k, ok := parseKey(key)
	if !ok {
		return false
	}
	if r.registers == nil || k.tpm || !k.real {
		return true
	}
	_, known := r.registers[k.pcr]
	return known
}

// with adds to a context.
func with(context, more map[string][]string) map[string][]string {
	m := maps.Clone(context)
	maps.Copy(m, more)
	return m
}
