package envelope_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/nitrolab/nitrolab/guest/envelope"
	"github.com/nitrolab/nitrolab/guest/envelope/envelopetest"
)

func FuzzOpen(f *testing.F) {
	key := testKey(f)
	for _, name := range []string{"constructed-32.ber", "primitive-32.ber", "constructed-2375.ber", "primitive-2375.ber"} {
		f.Add(readFile(f, name))
	}
	p := envelopetest.New(&key.PublicKey, plaintext(20))
	p.Chunk = 8
	f.Add(p.DER())
	f.Add(p.BER())
	f.Add(p.BER()[:300])
	f.Add([]byte{0x30, 0x80, 0, 0})
	f.Add(bytes.Repeat([]byte{0x30, 0x80}, 2000))
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		secret, err := envelope.Open(key, b)
		switch {
		case !bytes.Equal(b, before):
			t.Error("the input was modified")
		case err == nil && len(secret) >= len(b):
			t.Errorf("%d bytes out of %d", len(secret), len(b))
		case err == nil:
		case secret != nil:
			t.Errorf("a secret with an error: %v", err)
		case !errors.Is(err, envelope.ErrFormat) && !errors.Is(err, envelope.ErrRecipient) && !errors.Is(err, envelope.ErrDecrypt):
			t.Errorf("an error without a reason: %v", err)
		}
	})
}
