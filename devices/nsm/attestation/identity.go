package attestation

import (
	"crypto/ecdsa"
	"encoding/hex"
	"errors"
	"fmt"
	"time"
)

// An identity is what is random about one certificate.
type identity struct {
	key    signer
	keyID  []byte
	random []byte // 8 bytes of name, 1 of extra, 23 of serial
}

const (
	nameSize     = 8
	identitySize = 32
)

// identity derives the one that belongs to label.
func (a *Authority) identity(label string) (*identity, error) {
	key, err := a.seed.key(label)
	if err != nil {
		return nil, err
	}
	public, ok := key.Public().(*ecdsa.PublicKey)
	if !ok {
		return nil, errors.New("derive " + label + " key: not an ECDSA key")
	}
	id, err := keyID(public)
	if err != nil {
		return nil, err
	}
	random, err := a.seed.derive(label, identitySize)
	if err != nil {
		return nil, err
	}
	return &identity{key: key, keyID: id, random: random}, nil
}

// name is the 16 hex digits in front of a CA's common name.
func (id *identity) name() string { return hex.EncodeToString(id.random[:nameSize]) }

// extra is one byte for a choice.
func (id *identity) extra() byte { return id.random[nameSize] }

// serial is n random bytes, at most 23. The top bit may be set: DER then has
// one byte more, as in some of AWS's.
func (id *identity) serial(n int) []byte { return id.random[nameSize+1:][:n] }

// label names a certificate issued at a time, in whole seconds like everything
// in a certificate.
func label(level, who string, issued time.Time) string {
	return fmt.Sprintf("%s %s %d", level, who, issued.Unix())
}

// listID is the UUID (version 4) in the URL of an issuer's revocation list.
func (a *Authority) listID(issuer string) (string, error) {
	b, err := a.seed.derive("revocation list "+issuer, 16)
	if err != nil {
		return "", err
	}
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]), nil
}
