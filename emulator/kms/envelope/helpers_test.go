package envelope_test

import (
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
)

// recipient is the key of testdata, and its SubjectPublicKeyInfo.
func recipient(tb testing.TB) (*rsa.PrivateKey, []byte) {
	tb.Helper()
	text, err := os.ReadFile("testdata/recipient.pem")
	if err != nil {
		tb.Fatal(err)
	}
	block, _ := pem.Decode(text)
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		tb.Fatal(err)
	}
	key := parsed.(*rsa.PrivateKey)
	return key, marshal(tb, &key.PublicKey)
}

func marshal(tb testing.TB, key any) []byte {
	tb.Helper()
	spki, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	return spki
}

// seeded is the same stream of bytes each time, and no good as randomness.
func seeded(label string) *rand.ChaCha8 { return rand.NewChaCha8(sha256.Sum256([]byte(label))) }

// plaintext is n bytes that are not all the same.
func plaintext(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return b
}

// openssl is the program. Where tests count it has to be there.
func openssl(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("openssl")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("openssl is not on PATH: CI has to install it, this test is the check by somebody else's code")
		}
		t.Skip("openssl is not on PATH")
	}
	return path
}
