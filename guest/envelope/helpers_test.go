package envelope_test

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"os"
	"os/exec"
	"testing"
)

// sealed is the folder of the envelopes that emulator/kms/envelope makes, and of
// the key that opens them.
const sealed = "../../emulator/kms/envelope/testdata/"

// readFile is a file of sealed.
func readFile(tb testing.TB, name string) []byte {
	tb.Helper()
	b, err := os.ReadFile(sealed + name)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// testKey is the key of sealed.
func testKey(tb testing.TB) *rsa.PrivateKey {
	tb.Helper()
	block, _ := pem.Decode(readFile(tb, "recipient.pem"))
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		tb.Fatal(err)
	}
	return key.(*rsa.PrivateKey)
}

// plaintext is what is in the envelopes of sealed.
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
