package vectors

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rsa"
	"crypto/sha512"
	"errors"
	"fmt"
	"math/big"
)

// MinSeed is the shortest seed Generate takes, in bytes. There is nothing to
// protect: the keys of a corpus are no secrets. Two teams should not get the
// same ones by chance.
const MinSeed = 8

// MaxSeed is the longest seed, in bytes: it is written into the corpus.
const MaxSeed = 1024

// A keyring makes every key, serial number and measurement of a corpus out of
// its seed, by HKDF under a label. Go's own key generation cannot be used for
// this: since Go 1.26 it ignores the random source it is given.
//
// Its methods panic on errors that constant labels and lengths exclude;
// generation recovers, see Generate.
type keyring struct {
	seed  []byte
	cache map[string]crypto.Signer
	sigs  map[[sha512.Size384]byte][]byte // signatures by key and message
}

func newKeyring(seed []byte) *keyring {
	return &keyring{seed, make(map[string]crypto.Signer), make(map[[sha512.Size384]byte][]byte)}
}

// A fault is a panic of this package's own about something that cannot happen
// with the recipes as they stand.
type fault struct{ err error }

func must[T any](v T, err error) T {
	if err != nil {
		panic(fault{err})
	}
	return v
}

func broken(format string, args ...any) { panic(fault{fmt.Errorf(format, args...)}) }

// bytes are n bytes for label; the same label always gives the same bytes.
func (k *keyring) bytes(label string, n int) []byte {
	return must(hkdf.Key(sha512.New384, k.seed, []byte("nitrolab attestation vectors"), label, n))
}

// cached gives the key under label, making it the first time.
func (k *keyring) cached(label string, make func() crypto.Signer) crypto.Signer {
	key, ok := k.cache[label]
	if !ok {
		key = make()
		k.cache[label] = key
	}
	return key
}

// p384 is the key for label on the only curve of this PKI.
func (k *keyring) p384(label string) *ecdsa.PrivateKey { return k.ecdsa(elliptic.P384(), label) }

// ecdsa is the key for label on a curve. Rounds go on where the bytes are no
// scalar: that is never in practice, and half of the time for P-521, whose
// order has one bit in its first byte and is masked to it.
func (k *keyring) ecdsa(curve elliptic.Curve, label string) *ecdsa.PrivateKey {
	label = curve.Params().Name + " " + label
	key := k.cached(label, func() crypto.Signer {
		bits := curve.Params().BitSize
		for round := range 64 {
			raw := k.bytes(fmt.Sprintf("%s key %d", label, round), (bits+7)/8)
			if bits%8 != 0 {
				raw[0] &= 1<<(bits%8) - 1
			}
			if key, err := ecdsa.ParseRawPrivateKey(curve, raw); err == nil {
				return key
			}
		}
		broken("derive %s key: no valid scalar in 64 rounds", label)
		return nil
	})
	return key.(*ecdsa.PrivateKey) // the label has the curve in it
}

func (k *keyring) ed25519(label string) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(k.bytes("Ed25519 "+label, ed25519.SeedSize))
}

// rsa2048 is an RSA key: the first primes after two derived numbers.
func (k *keyring) rsa2048(label string) *rsa.PrivateKey {
	key := k.cached("RSA "+label, func() crypto.Signer {
		e := big.NewInt(65537)
		p, q := k.prime("RSA "+label+" p"), k.prime("RSA "+label+" q")
		one := big.NewInt(1)
		phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
		d := new(big.Int).ModInverse(e, phi)
		if d == nil {
			broken("derive RSA key: %v divides an order", e)
		}
		key := &rsa.PrivateKey{
			PublicKey: rsa.PublicKey{N: new(big.Int).Mul(p, q), E: 65537},
			D:         d, Primes: []*big.Int{p, q},
		}
		key.Precompute()
		if err := key.Validate(); err != nil {
			panic(fault{fmt.Errorf("derive RSA key: %w", err)})
		}
		return key
	})
	return key.(*rsa.PrivateKey) // the label says RSA
}

// prime is the first prime of 1024 bits after the derived number whose
// predecessor 65537 does not divide. Its two top bits are set, so that a
// product of two has 2048.
func (k *keyring) prime(label string) *big.Int {
	raw := k.bytes(label, 128)
	raw[0] |= 0xc0
	raw[127] |= 1
	p, two := new(big.Int).SetBytes(raw), big.NewInt(2)
	e := big.NewInt(65537)
	for ; ; p.Add(p, two) {
		before := new(big.Int).Sub(p, big.NewInt(1))
		if before.Mod(before, e).Sign() != 0 && p.ProbablyPrime(16) {
			return p
		}
	}
}

// errSigner means that a recipe asks for a signature that its key cannot make.
var errSigner = errors.New("key and signature algorithm do not fit")
