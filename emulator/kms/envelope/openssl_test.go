package envelope_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"os/exec"
	"testing"
	"time"

	"github.com/nitrolab/nitrolab/emulator/kms/envelope"
)

// OpenSSL opens what we seal, in each form and with one, two and five chunks.
func TestOpenSSL(t *testing.T) {
	program := openssl(t)
	_, spki := recipient(t)
	for _, form := range []envelope.Form{envelope.Constructed, envelope.Primitive} {
		for _, n := range []int{1, 16, 32, 1000, 2375, envelope.MaxPlaintext} {
			t.Run(fmt.Sprintf("%v-%d", form, n), func(t *testing.T) {
				sealed, err := envelope.Seal(rand.Reader, spki, plaintext(n), form)
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				c := exec.CommandContext(ctx, program, "cms", "-decrypt", "-inform", "DER", "-inkey", "testdata/recipient.pem")
				var stderr bytes.Buffer
				c.Stdin, c.Stderr = bytes.NewReader(sealed), &stderr
				got, err := c.Output()
				if err != nil {
					t.Fatalf("openssl cms: %v\n%s", err, &stderr)
				}
				if !bytes.Equal(got, plaintext(n)) {
					t.Errorf("openssl read %x", got)
				}
			})
		}
	}
}
