package envelope_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/emulator/kms/envelope"
)

var update = flag.Bool("update", false, "write the golden files of testdata")

// A real answer of KMS with a secret of 32 bytes, in the bytes that do not depend on
// chance. What is in between is checked by opening it.
const (
	layoutHead = "3080" + "06092a864886f70d010703" + "a080" + "3080" + "020102" +
		"3182016b" + "30820167" + "020102" + "8020"
	layoutOAEP = "303c06092a864886f70d010107302fa00f300d06096086480165030402010500" +
		"a11c301a06092a864886f70d010108300d06096086480165030402010500" + "04820100"
	layoutContent = "3080" + "06092a864886f70d010701" + "301d060960864801650304012a0410"
	layoutTail    = "0000" + "0000" + "0000" + "0000" + "0000"
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// take cuts want from the front of b.
func take(t *testing.T, b []byte, want string) []byte {
	t.Helper()
	rest, ok := bytes.CutPrefix(b, unhex(want))
	if !ok {
		t.Fatalf("bytes differ:\ngot  %x\nwant %s", b[:min(len(b), len(want)/2)], want)
	}
	return rest
}

// A secret of 32 bytes becomes the real answer byte for byte, but for what is random,
// and opens with the primitives of the standard library.
func TestSealLayout(t *testing.T) {
	key, spki := recipient(t)
	secret := plaintext(32)
	tests := []struct {
		form    envelope.Form
		size    int
		content string // before the 48 bytes of content
		tail    string
	}{
		{envelope.Constructed, 493, "a080" + "0430", layoutTail},
		{envelope.Primitive, 489, "8030", strings.TrimPrefix(layoutTail, "0000")},
	}
	for _, tt := range tests {
		t.Run(tt.form.String(), func(t *testing.T) {
			sealed, err := envelope.Seal(rand.Reader, spki, secret, tt.form)
			if err != nil {
				t.Fatal(err)
			}
			if len(sealed) != tt.size {
				t.Errorf("%d bytes, want %d", len(sealed), tt.size)
			}
			b := take(t, sealed, layoutHead)
			id := sha256.Sum256(spki)
			b = take(t, b, hex.EncodeToString(id[:]))
			b = take(t, b, layoutOAEP)
			encryptedKey, b := b[:256], b[256:]
			b = take(t, b, layoutContent)
			iv, b := b[:16], b[16:]
			b = take(t, b, tt.content)
			content, b := b[:48], b[48:]
			if b = take(t, b, tt.tail); len(b) != 0 {
				t.Fatalf("%d bytes too many", len(b))
			}

			cek, err := rsa.DecryptOAEP(sha256.New(), nil, key, encryptedKey, nil)
			if err != nil || len(cek) != 32 {
				t.Fatalf("content-encryption key of %d bytes, %v", len(cek), err)
			}
			block, err := aes.NewCipher(cek)
			if err != nil {
				t.Fatal(err)
			}
			got := make([]byte, len(content))
			cipher.NewCBCDecrypter(block, iv).CryptBlocks(got, content)
			want := append(plaintext(32), bytes.Repeat([]byte{16}, 16)...)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("content (-want +got):\n%s", diff)
			}
		})
	}
}

// chunks are the lengths of the OCTET STRINGs of a constructed content.
func chunks(t *testing.T, sealed []byte) (lengths []int) {
	t.Helper()
	_, b, ok := bytes.Cut(sealed, unhex(layoutContent))
	if !ok {
		t.Fatal("no EncryptedContentInfo")
	}
	b = take(t, b[16:], "a080")
	for b[0] == 4 {
		n, head := int(b[1]), 2
		switch {
		case n == 0x81:
			n, head = int(b[2]), 3
		case n == 0x82:
			n, head = int(b[2])<<8|int(b[3]), 4
		}
		lengths = append(lengths, n)
		b = b[head+n:]
	}
	if len(take(t, b, layoutTail)) != 0 {
		t.Fatal("bytes too many")
	}
	return lengths
}

func TestSealChunks(t *testing.T) {
	_, spki := recipient(t)
	tests := []struct {
		plaintext int
		want      []int
	}{
		{0, []int{16}},
		{15, []int{16}},
		{16, []int{32}},
		{111, []int{112}},
		{112, []int{128}}, // long form of the length
		{983, []int{992}},
		{992, []int{1000, 8}},
		{1984, []int{1000, 1000}},
		{2375, []int{1000, 1000, 384}},
		{envelope.MaxPlaintext, []int{1000, 1000, 1000, 1000, 112}},
	}
	for _, tt := range tests {
		sealed, err := envelope.Seal(rand.Reader, spki, make([]byte, tt.plaintext), envelope.Constructed)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, chunks(t, sealed)); diff != "" {
			t.Errorf("%d bytes, chunks (-want +got):\n%s", tt.plaintext, diff)
		}
	}
}

// The golden files are what guest/envelope opens in its tests.
func TestSealGolden(t *testing.T) {
	_, spki := recipient(t)
	for _, form := range []envelope.Form{envelope.Constructed, envelope.Primitive} {
		for _, n := range []int{32, 2375} {
			name := fmt.Sprintf("%v-%d.ber", form, n)
			t.Run(name, func(t *testing.T) {
				got, err := envelope.Seal(seeded(name), spki, plaintext(n), form)
				if err != nil {
					t.Fatal(err)
				}
				path := filepath.Join("testdata", name)
				if *update {
					if err := os.WriteFile(path, got, 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("bytes (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// All randomness is the caller's, and each part of an envelope has its own.
func TestSealRandom(t *testing.T) {
	_, spki := recipient(t)
	seal := func(r io.Reader) []byte {
		t.Helper()
		b, err := envelope.Seal(r, spki, plaintext(32), envelope.Constructed)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if !bytes.Equal(seal(seeded("a")), seal(seeded("a"))) {
		t.Error("the same reader gives other bytes")
	}
	a, b := seal(seeded("a")), seal(seeded("b"))
	// Encrypted key, IV and content of the layout.
	for _, part := range []struct {
		name     string
		from, to int
	}{{"encrypted key", 131, 387}, {"IV", 415, 431}, {"content", 435, 483}} {
		if bytes.Equal(a[part.from:part.to], b[part.from:part.to]) {
			t.Errorf("%s does not depend on the reader", part.name)
		}
	}

	broken := errors.New("entropy is gone")
	for n := range 80 { // 48 for key and IV, 32 for the seed of OAEP
		r := io.MultiReader(io.LimitReader(seeded("a"), int64(n)), iotest.ErrReader(broken))
		if b, err := envelope.Seal(r, spki, plaintext(32), envelope.Constructed); !errors.Is(err, broken) || b != nil {
			t.Fatalf("reader fails after %d bytes: %x, %v", n, b, err)
		}
	}
}

// modulus is an odd number of so many bits; nobody knows its factors.
func modulus(bits int) *big.Int {
	n := new(big.Int).SetBytes(plaintext((bits + 7) / 8))
	n.And(n, new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), uint(bits)), big.NewInt(1)))
	return n.SetBit(n, bits-1, 1).SetBit(n, 0, 1)
}

func TestSealKeys(t *testing.T) {
	for _, bits := range []int{2048, 2056, 3072, 4096} {
		spki := marshal(t, &rsa.PublicKey{N: modulus(bits), E: 65537})
		for _, form := range []envelope.Form{envelope.Constructed, envelope.Primitive} {
			sealed, err := envelope.Seal(rand.Reader, spki, plaintext(envelope.MaxPlaintext), form)
			if err != nil {
				t.Fatalf("%d bits: %v", bits, err)
			}
			if limit := 6144; len(sealed) > limit {
				t.Errorf("%d bits, %v: %d bytes, CiphertextForRecipient has at most %d", bits, form, len(sealed), limit)
			}
		}
	}

	key, spki := recipient(t)
	ec, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	even := modulus(2048)
	even.SetBit(even, 0, 0)
	longLength := append([]byte{0x30, 0x83, 0x00}, spki[2:]...) // the length in three bytes
	tests := []struct {
		name string
		spki []byte
		want string
	}{
		{"empty", nil, "no SubjectPublicKeyInfo"},
		{"noise", []byte("not a key"), "no SubjectPublicKeyInfo"},
		{"PKCS #1", x509.MarshalPKCS1PublicKey(&key.PublicKey), "no SubjectPublicKeyInfo"},
		{"trailing byte", append(bytes.Clone(spki), 0), "no SubjectPublicKeyInfo"},
		{"BER length", longLength, "no SubjectPublicKeyInfo"},
		{"cut off", spki[:len(spki)-1], "no SubjectPublicKeyInfo"},
		{"EC", marshal(t, &ec.PublicKey), "*ecdsa.PublicKey, only RSA is"},
		{"1024 bits", marshal(t, &rsa.PublicKey{N: modulus(1024), E: 65537}), "RSA of 1024 bits"},
		{"2047 bits", marshal(t, &rsa.PublicKey{N: modulus(2047), E: 65537}), "RSA of 2047 bits"},
		{"4097 bits", marshal(t, &rsa.PublicKey{N: modulus(4097), E: 65537}), "RSA of 4097 bits"},
		{"16384 bits", marshal(t, &rsa.PublicKey{N: modulus(16384), E: 65537}), "at most 1024 are possible"},
		{"exponent 1", marshal(t, &rsa.PublicKey{N: modulus(2048), E: 1}), "exponent 1"},
		{"even exponent", marshal(t, &rsa.PublicKey{N: modulus(2048), E: 65536}), "exponent 65536"},
		{"even modulus", marshal(t, &rsa.PublicKey{N: even, E: 65537}), "even modulus"},
		{"exponent above 31 bits", marshal(t, &rsa.PublicKey{N: modulus(2048), E: 1<<31 + 1}), "exponent 2147483649"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, err := envelope.Seal(rand.Reader, tt.spki, plaintext(32), envelope.Constructed)
			if !errors.Is(err, envelope.ErrKey) || !strings.Contains(fmt.Sprint(err), tt.want) || b != nil {
				t.Errorf("Seal = %x, %v; want ErrKey with %q", b, err, tt.want)
			}
		})
	}
}

func TestSealRefuses(t *testing.T) {
	_, spki := recipient(t)
	if b, err := envelope.Seal(rand.Reader, spki, make([]byte, envelope.MaxPlaintext+1), envelope.Constructed); !errors.Is(err, envelope.ErrPlaintext) || b != nil {
		t.Errorf("a long plaintext: %x, %v", b, err)
	}
	if b, err := envelope.Seal(rand.Reader, spki, nil, 2); err == nil || err.Error() != "seal: unknown form Form(2)" || b != nil {
		t.Errorf("an unknown form: %x, %v", b, err)
	}
}

func FuzzSealKey(f *testing.F) {
	_, spki := recipient(f)
	f.Add(spki)
	f.Add(marshal(f, &rsa.PublicKey{N: modulus(4096), E: 3}))
	f.Add(marshal(f, &rsa.PublicKey{N: modulus(2047), E: 3}))
	f.Add([]byte("0\x80\x00\x00"))
	f.Fuzz(func(t *testing.T, spki []byte) {
		sealed, err := envelope.Seal(seeded("fuzz"), spki, plaintext(32), envelope.Constructed)
		if err != nil && !errors.Is(err, envelope.ErrKey) {
			t.Errorf("%v is not about the key", err)
		}
		if id := sha256.Sum256(spki); err == nil && !bytes.Contains(sealed, id[:]) {
			t.Error("the envelope does not name the key")
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	_, spki := recipient(b)
	for _, n := range []int{32, 4096} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			secret := plaintext(n)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := envelope.Seal(rand.Reader, spki, secret, envelope.Constructed); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
