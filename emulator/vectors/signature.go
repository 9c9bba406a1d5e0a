package vectors

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	_ "crypto/sha1"   // for certificates that must be refused
	_ "crypto/sha256" // for the same
	"crypto/sha512"
	"fmt"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

const (
	sha384 = crypto.SHA384
)

var (
	p256 = elliptic.P256()
	p384 = elliptic.P384()
)

// sign signs a message deterministically: RFC 6979 for ECDSA, PKCS #1 v1.5 for
// RSA. ECDSA signatures are DER, as certificates have them (RFC 3279 2.2.3).
func (k *keyring) sign(key crypto.Signer, hash crypto.Hash, message []byte) []byte {
	var id bytes.Buffer
	switch key := key.(type) {
	case *ecdsa.PrivateKey:
		id.Write(must(key.Bytes()))
	case ed25519.PrivateKey:
		return ed25519.Sign(key, message)
	case *rsa.PrivateKey:
		id.Write(key.N.Bytes())
	default:
		panic(fault{fmt.Errorf("sign with %T: %w", key, errSigner)})
	}
	fmt.Fprintf(&id, " %v ", hash)
	id.Write(message)
	of := sha512.Sum384(id.Bytes())
	signature, ok := k.sigs[of]
	if !ok {
		h := hash.New()
		h.Write(message)
		signature = must(key.Sign(nil, h.Sum(nil), hash))
		k.sigs[of] = signature
	}
	return bytes.Clone(signature)
}

// fixedSize turns a DER signature into r and s of n bytes each, as COSE has it
// (RFC 9053 section 2.1).
func fixedSize(der []byte, n int) []byte {
	r, s := splitDER(der)
	return append(r.FillBytes(make([]byte, n)), s.FillBytes(make([]byte, n))...)
}

// asDER is the opposite of fixedSize.
func asDER(fixed []byte) []byte {
	n := len(fixed) / 2
	return joinDER(new(big.Int).SetBytes(fixed[:n]), new(big.Int).SetBytes(fixed[n:]))
}

func splitDER(der []byte) (r, s *big.Int) {
	r, s = new(big.Int), new(big.Int)
	in, content := cryptobyte.String(der), cryptobyte.String(nil)
	if !in.ReadASN1(&content, asn1.SEQUENCE) || !content.ReadASN1Integer(r) || !content.ReadASN1Integer(s) {
		broken("split signature: %x is no ECDSA signature", der)
	}
	return r, s
}

func joinDER(r, s *big.Int) []byte {
	return sequence(integer(r), integer(s))
}

// twin is the malleable twin of an ECDSA signature in DER on P-384: r and the
// order of the group minus s.
func twin(der []byte) []byte {
	r, s := splitDER(der)
	return joinDER(r, new(big.Int).Sub(p384.Params().N, s))
}

// signWithGenerator is a signature that verifies under the public key of victim
// if the generator of the curve is that very key, as explicit curve parameters
// can say (CVE-2020-0601): the private key is 1 then. r is the x coordinate of
// k times the victim's key, which is what an ECDH exchange computes.
func (k *keyring) signWithGenerator(victim *ecdsa.PrivateKey, message []byte) []byte {
	n := p384.Params().N
	scalar := must(ecdh.P384().NewPrivateKey(must(k.p384("generator nonce").Bytes())))
	r := new(big.Int).SetBytes(must(scalar.ECDH(must(victim.PublicKey.ECDH()))))
	r.Mod(r, n)
	digest := sha512.Sum384(message)
	s := new(big.Int).SetBytes(digest[:])
	s.Add(s, r)
	s.Mul(s, new(big.Int).ModInverse(new(big.Int).SetBytes(scalar.Bytes()), n))
	return joinDER(r, s.Mod(s, n))
}
