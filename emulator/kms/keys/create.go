package keys

import (
	"encoding/hex"
	"fmt"
	"maps"
	"unicode/utf8"
)

// A Description says which key [Ring.Create] makes. The zero value is an enabled
// symmetric encryption key.
type Description struct {
	Spec        Spec              // empty means Symmetric
	Usage       Usage             // required for every other Spec
	Description string            // up to 8192 characters
	Policy      string            // key policy document, up to 32768 bytes; not looked into
	Tags        map[string]string // up to 50
}

// Create makes a key. RSA keys take their time: about a second for RSA_4096 on one
// core, during which the ring is free for others.
//
// Errors are [ErrValidation], [ErrUnsupported] for a Spec of AWS that this ring does
// not make, [ErrTag], and [ErrLimit] for the policy, the tags or the number of keys.
func (r *Ring) Create(d Description) (*Key, error) {
	spec, usage, err := checkSpec(d.Spec, d.Usage)
	if err != nil {
		return nil, err
	}
	if err := checkDescription(d.Description); err != nil {
		return nil, err
	}
	if err := checkPolicy(d.Policy); err != nil {
		return nil, err
	}
	if err := checkTags(d.Tags); err != nil {
		return nil, err
	}
	// The quota is looked at twice: here so that nobody computes for nothing.
	if err := r.settle(); err != nil {
		return nil, err
	}
	if err := r.room(); err != nil {
		return nil, err
	}
	id, err := r.newID()
	if err != nil {
		return nil, err
	}
	m, err := r.newMaterial(spec)
	if err != nil {
		return nil, err
	}
	k := &Key{
		ID:          id,
		ARN:         r.keyARN(id),
		Account:     r.account,
		Spec:        spec,
		Usage:       usage,
		State:       Enabled,
		Description: d.Description,
		Policy:      d.Policy,
		Tags:        maps.Clone(d.Tags),
		Created:     r.now(),
	}
	if spec == Symmetric {
		k.MaterialID = m.name()
		k.Materials = []Material{{ID: k.MaterialID, Since: k.Created}}
	}
	r.write.Lock()
	defer r.write.Unlock()
	if err := r.settleLocked(); err != nil {
		return nil, err
	}
	if err := r.room(); err != nil {
		return nil, err
	}
	if _, err := r.look(id); err == nil {
		// 122 bits do not repeat by chance.
		return nil, internal("make key id", fmt.Errorf("the source of entropy repeats itself: there is a key %s", id))
	}
	if err := r.commit(change{put: []*entry{{key: k, materials: []*material{m}}}}); err != nil {
		return nil, err
	}
	return k, nil
}

func (r *Ring) room() error {
	r.mu.RLock()
	n := len(r.keys)
	r.mu.RUnlock()
	if n >= MaxKeys {
		return fail(ErrLimit, "there are %d keys; no more are allowed", n)
	}
	return nil
}

// newID makes a random UUID (RFC 9562 section 5.4).
func (r *Ring) newID() (string, error) {
	var b [16]byte
	if err := r.read(b[:]); err != nil {
		return "", err
	}
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return formatUUID(b), nil
}

func formatUUID(b [16]byte) string {
	s := hex.EncodeToString(b[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

func checkDescription(s string) error {
	if n := utf8.RuneCountInString(s); n > MaxDescription {
		return fail(ErrValidation, "Description has %d characters; allowed are up to %d", n, MaxDescription)
	}
	return checkText("Description", s)
}

func checkPolicy(s string) error {
	if len(s) > MaxPolicy {
		return fail(ErrLimit, "Policy has %d bytes; allowed are up to %d", len(s), MaxPolicy)
	}
	return checkText("Policy", s)
}

// checkText refuses what is no text. A record of the file with such a string in it
// could be written, but not read (RFC 8949 section 3.1).
func checkText(field, s string) error {
	if !utf8.ValidString(s) {
		return fail(ErrValidation, "%s is not UTF-8", field)
	}
	return nil
}
