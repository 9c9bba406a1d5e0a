package envelope_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/big"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/guest/envelope"
	"github.com/nitrolab/nitrolab/guest/envelope/envelopetest"
)

// What the emulated key service seals opens: its golden files.
func TestOpenGolden(t *testing.T) {
	key := testKey(t)
	for _, form := range []string{"constructed", "primitive"} {
		for _, n := range []int{32, 2375} {
			name := fmt.Sprintf("%s-%d.ber", form, n)
			got, err := envelope.Open(key, readFile(t, name))
			if err != nil {
				t.Errorf("%s: %v", name, err)
			} else if diff := cmp.Diff(plaintext(n), got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
		}
	}
}

func TestOpen(t *testing.T) {
	key := testKey(t)
	sha := envelopetest.TLV(0x30, envelopetest.SHA256)
	tests := []struct {
		name   string
		n      int
		change func(*envelopetest.Parts)
	}{
		{name: "empty", n: 0},
		{name: "one byte", n: 1},
		{name: "a whole block", n: 16},
		{name: "a data key", n: 32},
		{name: "an RSA-4096 private key", n: 2375},
		{name: "the longest plaintext of Decrypt", n: 4096},
		{name: "one byte in a chunk", n: 40, change: func(p *envelopetest.Parts) { p.Chunk = 1 }},
		{name: "hashes without parameters", n: 32, change: func(p *envelopetest.Parts) {
			p.KeyAlgorithm = envelopetest.OAEP(envelopetest.Hash(sha), envelopetest.Mask(sha))
		}},
		{name: "one hash without parameters", n: 32, change: func(p *envelopetest.Parts) {
			p.KeyAlgorithm = envelopetest.OAEP(envelopetest.Hash(sha), envelopetest.Mask(envelopetest.TLV(0x30, envelopetest.SHA256, envelopetest.Null)))
		}},
		{name: "constructed content of definite length", n: 32, change: func(p *envelopetest.Parts) {
			p.WholeContent = envelopetest.TLV(0xa0, envelopetest.TLV(4, p.Content[:16]), envelopetest.TLV(4, p.Content[16:]))
		}},
		{name: "indefinite lengths inside too", n: 32, change: func(p *envelopetest.Parts) {
			p.WholeRecipientSet = envelopetest.Indefinite(0x31, envelopetest.Indefinite(0x30,
				p.RecipientVersion, p.Recipient, p.KeyAlgorithm, p.EncryptedKey))
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := plaintext(tt.n)
			parts := envelopetest.New(&key.PublicKey, want)
			if tt.change != nil {
				tt.change(&parts)
			}
			for _, b := range [][]byte{parts.DER(), parts.BER()} {
				before := bytes.Clone(b)
				got, err := envelope.Open(key, b)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got, want) {
					t.Errorf("got %x, want %x", got, want)
				}
				if cap(got) != len(got) {
					t.Errorf("%d bytes of padding behind the secret are the caller's to append to", cap(got)-len(got))
				}
				if !bytes.Equal(b, before) {
					t.Error("the input was modified")
				}
			}
		})
	}
}

func TestOpenOtherKey(t *testing.T) {
	key := testKey(t)
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	b := envelopetest.Seal(&other.PublicKey, plaintext(32))
	if got, err := envelope.Open(key, b); !errors.Is(err, envelope.ErrRecipient) || got != nil {
		t.Errorf("an envelope for another key: %x, %v", got, err)
	}
	if got, err := envelope.Open(other, b); err != nil || !bytes.Equal(got, plaintext(32)) {
		t.Errorf("with that key: %x, %v", got, err)
	}
}

// Whatever is wrong behind the recipient's identifier, the error is one and the
// same, and says nothing about what was decrypted.
func TestOpenOracle(t *testing.T) {
	key := testKey(t)
	cek := plaintext(32)
	padded := append(plaintext(32), bytes.Repeat([]byte{16}, 16)...)
	padding := func(last ...byte) envelopetest.Parts {
		b := bytes.Clone(padded)
		copy(b[len(b)-len(last):], last)
		return envelopetest.NewPadded(&key.PublicKey, cek, b)
	}
	good := func() envelopetest.Parts { return envelopetest.NewPadded(&key.PublicKey, cek, padded) }
	flipped, large, label := good(), good(), good()
	flipped.EncryptedKey[len(flipped.EncryptedKey)-1] ^= 1
	// A number that is not below the modulus: the very modulus.
	large.EncryptedKey = envelopetest.TLV(4, key.N.Bytes())
	withLabel, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, &key.PublicKey, cek, []byte("label"))
	if err != nil {
		t.Fatal(err)
	}
	label.EncryptedKey = envelopetest.TLV(4, withLabel)
	// A key that is too long, and right as far as it is one.
	long := good()
	longKey, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, &key.PublicKey, append(bytes.Clone(cek), 0), nil)
	if err != nil {
		t.Fatal(err)
	}
	long.EncryptedKey = envelopetest.TLV(4, longKey)
	tests := []struct {
		name  string
		parts envelopetest.Parts
	}{
		{"OAEP", flipped},
		{"key of 33 bytes", long},
		{"ciphertext representative out of range", large},
		{"OAEP with a label", label},
		{"OAEP of zero", func() envelopetest.Parts {
			p := good()
			p.EncryptedKey = envelopetest.TLV(4, new(big.Int).FillBytes(make([]byte, key.Size())))
			return p
		}()},
		{"key of 16 bytes", envelopetest.NewPadded(&key.PublicKey, cek[:16], padded)},
		{"key of 24 bytes", envelopetest.NewPadded(&key.PublicKey, cek[:24], padded)},
		{"padding 0", padding(0)},
		{"padding 17", padding(17)},
		{"padding 255", padding(255)},
		{"padding 2 with a wrong byte", padding(1, 2)},
		{"padding 16 with a wrong first byte", padding(append([]byte{15}, bytes.Repeat([]byte{16}, 15)...)...)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := envelope.Open(key, tt.parts.BER())
			if err == nil {
				t.Fatalf("opened: %x", got)
			}
			if want := "open envelope: envelope does not decrypt"; err.Error() != want || !errors.Is(err, envelope.ErrDecrypt) {
				t.Errorf("error %q, want %q", err, want)
			}
		})
	}
	if _, err := envelope.Open(key, good().BER()); err != nil {
		t.Errorf("unchanged: %v", err)
	}
}

func BenchmarkOpen(b *testing.B) {
	key := testKey(b)
	for _, n := range []int{32, 4096} {
		sealed := envelopetest.Seal(&key.PublicKey, plaintext(n))
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := envelope.Open(key, sealed); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
