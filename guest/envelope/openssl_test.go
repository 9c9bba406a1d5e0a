package envelope_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/nitrolab/nitrolab/guest/envelope"
)

// What OpenSSL seals opens: DER with the content in one piece, and BER as a stream.
func TestOpenSSL(t *testing.T) {
	program := openssl(t)
	key := testKey(t)
	spki, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	// OpenSSL names a recipient by the identifier in its certificate.
	id := sha256.Sum256(spki)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "recipient"}, SubjectKeyId: id[:],
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	certificate := filepath.Join(t.TempDir(), "recipient.pem")
	if err := os.WriteFile(certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"cms", "-encrypt", "-binary", "-aes256", "-keyid", "-outform", "DER", "-recip", certificate,
		"-keyopt", "rsa_padding_mode:oaep", "-keyopt", "rsa_oaep_md:sha256"}
	for _, form := range []struct {
		name    string
		options []string
	}{{"DER", nil}, {"BER", []string{"-stream", "-indef"}}} {
		for _, n := range []int{1, 16, 32, 2375, 4096} {
			t.Run(fmt.Sprintf("%s-%d", form.name, n), func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				c := exec.CommandContext(ctx, program, slices.Concat(args, form.options)...)
				var stderr bytes.Buffer
				c.Stdin, c.Stderr = bytes.NewReader(plaintext(n)), &stderr
				sealed, err := c.Output()
				if err != nil {
					t.Fatalf("openssl cms: %v\n%s", err, &stderr)
				}
				got, err := envelope.Open(key, sealed)
				if err != nil || !bytes.Equal(got, plaintext(n)) {
					t.Errorf("Open(%x...) = %x, %v", sealed[:min(len(sealed), 128)], got, err)
				}
			})
		}
	}
}
