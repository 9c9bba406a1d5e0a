package keys

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"hash"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEncryptDecrypt(t *testing.T) {
	r, _ := newTestRing(t)
	k := create(t, r, Symmetric, "")
	for _, size := range []int{1, 15, 16, 32, MaxPlaintext} {
		for _, context := range []map[string]string{nil, {}, {"a": "b"}, {"a": "", "": "b", "ä": "\x00"}} {
			plaintext := bytes.Repeat([]byte{0xa5}, size)
			c := got(r.Encrypt(k.ID, SymmetricDefault, plaintext, context))(t)
			if s := base64.StdEncoding.EncodeToString(c.Blob); !strings.HasPrefix(s, "AQICAH") {
				t.Fatalf("blob begins with %s", s[:8])
			}
			if len(c.Blob) > MaxCiphertext {
				t.Fatalf("blob of %d bytes", len(c.Blob))
			}
			if of := got(r.CiphertextKey(c.Blob))(t); of.ID != k.ID {
				t.Fatalf("blob says %s, want %s", of.ID, k.ID)
			}
			p := got(r.Decrypt(k.ID, "", c.Blob, context))(t)
			if diff := cmp.Diff(Plaintext{plaintext, k.MaterialID}, p); diff != "" {
				t.Fatal(diff)
			}
		}
	}
	for _, size := range []int{0, MaxPlaintext + 1} {
		wantErr(t, ignore(r.Encrypt(k.ID, "", make([]byte, size), nil)), ErrValidation)
	}
}

func TestNoTwoCiphertextsAreTheSame(t *testing.T) {
	r, _ := newTestRing(t)
	k := create(t, r, Symmetric, "")
	seen := make(map[string]bool)
	for range 100 {
		c := got(r.Encrypt(k.ID, "", []byte("the same"), nil))(t)
		seen[string(c.Blob[blobSealedAt:])] = true
	}
	if len(seen) != 100 {
		t.Errorf("%d different ciphertexts of 100", len(seen))
	}
}

func TestEncryptionContextIsExact(t *testing.T) {
	r, _ := newTestRing(t)
	k := create(t, r, Symmetric, "")
	contexts := []map[string]string{
		nil,
		{"a": "b"},
		{"a": "B"},
		{"A": "b"},
		{"a": ""},
		{"": "a"},
		{"ab": ""},
		{"": "ab"},
		{"a": "b", "c": "d"},
		{"a": "d", "c": "b"},
		{"a": "bc", "d": ""},
		{"a": "b\x00\x00\x00\x01c\x00\x00\x00\x01d"},
		{"a": "b", "c": "d", "e": "f"},
	}
	for i, sealed := range contexts {
		c := got(r.Encrypt(k.ID, "", []byte("p"), sealed))(t)
		for j, given := range contexts {
			var want error
			if i != j {
				want = ErrInvalidCiphertext
			}
			if err := ignore(r.Decrypt(k.ID, "", c.Blob, given)); !errors.Is(err, want) {
				t.Errorf("sealed with %q, opened with %q: %v", sealed, given, err)
			}
		}
	}
}

// Every bit of a blob counts, and every byte.
func TestHostileBlobs(t *testing.T) {
	r, _ := newTestRing(t)
	k, other := create(t, r, Symmetric, ""), create(t, r, Symmetric, "")
	blob := got(r.Encrypt(k.ID, "", []byte("p"), nil))(t).Blob
	refused := func(what string, blob []byte) {
		t.Helper()
		p, err := r.Decrypt(k.ID, "", blob, nil)
		if err == nil || p.Plaintext != nil {
			t.Errorf("%s: decrypted", what)
		}
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%s: error %v has no exception", what, err)
		}
	}
	for bit := range len(blob) * 8 {
		b := bytes.Clone(blob)
		b[bit/8] ^= 1 << (bit % 8)
		refused("flipped", b)
	}
	for n := range len(blob) {
		refused("truncated", blob[:n])
	}
	refused("extended", append(bytes.Clone(blob), 0))
	refused("too long", make([]byte, MaxCiphertext+1))

	// A whole blob of another key, and one whose key id was exchanged.
	theirs := got(r.Encrypt(other.ID, "", []byte("p"), nil))(t).Blob
	wantErr(t, ignore(r.Decrypt(k.ID, "", theirs, nil)), ErrIncorrectKey)
	copy(theirs[blobKeyAt:blobMaterialAt], blob[blobKeyAt:])
	wantErr(t, ignore(r.Decrypt(k.ID, "", theirs, nil)), ErrInvalidCiphertext)
	copy(theirs[blobMaterialAt:blobSaltAt], blob[blobMaterialAt:])
	wantErr(t, ignore(r.Decrypt(k.ID, "", theirs, nil)), ErrInvalidCiphertext)
	wantErr(t, ignore(r.CiphertextKey(bytes.Repeat([]byte{0}, 200))), ErrInvalidCiphertext)
	wantErr(t, ignore(r.CiphertextKey(make([]byte, MaxCiphertext+1))), ErrValidation)
}

// The key id is authentic by itself: were two keys to share material, neither would
// open what is the other's.
func TestKeyIDIsAuthenticated(t *testing.T) {
	r, _ := newTestRing(t)
	k, twin := create(t, r, Symmetric, ""), create(t, r, Symmetric, "")
	r.publish(change{put: []*entry{{key: twin, materials: got(r.look(k.ID))(t).materials}}})
	blob := got(r.Encrypt(k.ID, "", []byte("p"), nil))(t).Blob
	id, err := parseUUID(twin.ID)
	must(t, err)
	copy(blob[blobKeyAt:], id[:])
	wantErr(t, ignore(r.Decrypt(twin.ID, "", blob, nil)), ErrInvalidCiphertext)
}

func TestOAEP(t *testing.T) {
	r, _ := newTestRing(t)
	k := create(t, r, RSA2048, EncryptDecrypt)
	public, err := x509.ParsePKIXPublicKey(got(r.PublicKey(k.ID))(t))
	must(t, err)
	for a, test := range map[EncryptionAlgorithm]struct {
		hash func() hash.Hash
		most int // KMS developer guide, RSA key specs
	}{
		OAEPSHA1:   {sha1.New, 214},
		OAEPSHA256: {sha256.New, 190},
	} {
		plaintext := bytes.Repeat([]byte{7}, test.most)
		c := got(r.Encrypt(k.ID, a, plaintext, nil))(t)
		if c.MaterialID != "" || len(c.Blob) != 256 {
			t.Errorf("%s: material id %q, %d bytes", a, c.MaterialID, len(c.Blob))
		}
		if p := got(r.Decrypt(k.ID, a, c.Blob, nil))(t); !bytes.Equal(p.Plaintext, plaintext) {
			t.Errorf("%s: decrypted %x", a, []byte(p.Plaintext))
		}
		wantErr(t, ignore(r.Encrypt(k.ID, a, make([]byte, test.most+1), nil)), ErrValidation)
		// Whoever has the public key encrypts as well.
		theirs, err := rsa.EncryptOAEP(test.hash(), rand.Reader, public.(*rsa.PublicKey), []byte("outside"), nil)
		must(t, err)
		if p := got(r.Decrypt(k.ID, a, theirs, nil))(t); string(p.Plaintext) != "outside" {
			t.Errorf("%s: decrypted %x", a, []byte(p.Plaintext))
		}
		labelled, err := rsa.EncryptOAEP(test.hash(), rand.Reader, public.(*rsa.PublicKey), []byte("x"), []byte("label"))
		must(t, err)
		for name, blob := range map[string][]byte{"label": labelled, "short": c.Blob[1:], "long": append(bytes.Clone(c.Blob), 0), "changed": append(bytes.Clone(c.Blob[:255]), c.Blob[255]^1)} {
			if err := ignore(r.Decrypt(k.ID, a, blob, nil)); !errors.Is(err, ErrInvalidCiphertext) {
				t.Errorf("%s %s: %v", a, name, err)
			}
		}
		wantErr(t, ignore(r.Encrypt(k.ID, a, []byte("p"), map[string]string{"a": "b"})), ErrValidation)
		wantErr(t, ignore(r.Decrypt(k.ID, a, nil, nil)), ErrValidation)
	}
	wantErr(t, ignore(r.Encrypt(k.ID, "", []byte("p"), nil)), ErrInvalidUsage)
	wantErr(t, ignore(r.Encrypt(k.ID, "SM2PKE", []byte("p"), nil)), ErrInvalidUsage)
}
