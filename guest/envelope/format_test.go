package envelope_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/nitrolab/nitrolab/guest/envelope"
	"github.com/nitrolab/nitrolab/guest/envelope/envelopetest"
)

func TestOpenFormat(t *testing.T) {
	key := testKey(t)
	tlv := envelopetest.TLV
	sha, sha1 := tlv(0x30, envelopetest.SHA256, envelopetest.Null), tlv(0x30, envelopetest.SHA1, envelopetest.Null)
	hash, mask := envelopetest.Hash(sha), envelopetest.Mask(sha)
	type parts = envelopetest.Parts
	recipient := func(p *parts) []byte {
		return tlv(0x30, p.RecipientVersion, p.Recipient, p.KeyAlgorithm, p.EncryptedKey)
	}
	tests := []struct {
		name   string
		change func(*parts)
		want   string
	}{
		{"signed data", func(p *parts) { p.ContentType = bytes.Replace(p.ContentType, []byte{7, 3}, []byte{7, 2}, 1) }, "contentType"},
		{"EnvelopedData version 0", func(p *parts) { p.Version = []byte{2, 1, 0} }, "version of EnvelopedData is 00"},
		{"EnvelopedData version in two bytes", func(p *parts) { p.Version = []byte{2, 2, 0, 2} }, "version of EnvelopedData is 0002"},
		{"originatorInfo", func(p *parts) { p.Originator = tlv(0xa0) }, "RecipientInfos"},
		{"no recipient", func(p *parts) { p.WholeRecipientSet = tlv(0x31) }, "KeyTransRecipientInfo is cut off"},
		{"two recipients", func(p *parts) { p.AfterRecipient = recipient(p) }, "more than one recipient"},
		{"another kind of recipient behind", func(p *parts) { p.AfterRecipient = tlv(0xa2, []byte{2, 1, 0}) }, "too many at the end of RecipientInfos"},
		{"recipient version 0", func(p *parts) { p.RecipientVersion = []byte{2, 1, 0} }, "version of KeyTransRecipientInfo"},
		{"issuerAndSerialNumber", func(p *parts) { p.Recipient = tlv(0x30, tlv(0x30), []byte{2, 1, 1}) }, "tag 0x30 where subjectKeyIdentifier"},
		{"SHA-1 identifier", func(p *parts) { p.Recipient = tlv(0x80, make([]byte, 20)) }, "subjectKeyIdentifier of 20 bytes"},
		{"PKCS #1 v1.5", func(p *parts) {
			p.KeyAlgorithm = tlv(0x30, []byte("\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01"), envelopetest.Null)
		}, "keyEncryptionAlgorithm is 2a864886f70d010101"},
		{"OAEP without parameters", func(p *parts) { p.KeyAlgorithm = tlv(0x30, envelopetest.RSAESOAEP) }, "RSAES-OAEP-params is cut off"},
		{"OAEP with default hashes", func(p *parts) { p.KeyAlgorithm = envelopetest.OAEP() }, "hashFunc is cut off"},
		{"OAEP with SHA-1", func(p *parts) { p.KeyAlgorithm = envelopetest.OAEP(envelopetest.Hash(sha1), mask) }, "hashFunc is 2b0e03021a"},
		{"OAEP with MGF1 over SHA-1", func(p *parts) { p.KeyAlgorithm = envelopetest.OAEP(hash, envelopetest.Mask(sha1)) }, "hash of MGF1"},
		{"OAEP with default MGF1", func(p *parts) { p.KeyAlgorithm = envelopetest.OAEP(hash) }, "maskGenFunc is cut off"},
		{"OAEP with a label", func(p *parts) {
			p.KeyAlgorithm = envelopetest.OAEP(hash, mask, tlv(0xa2, tlv(0x30, []byte("\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x09"), tlv(4, []byte("x")))))
		}, "too many at the end of RSAES-OAEP-params"},
		{"hash with odd parameters", func(p *parts) {
			p.KeyAlgorithm = envelopetest.OAEP(envelopetest.Hash(tlv(0x30, envelopetest.SHA256, tlv(4))), mask)
		}, "too many at the end of hashFunc"},
		{"short encrypted key", func(p *parts) { p.EncryptedKey = tlv(4, make([]byte, 255)) }, "encrypted key of 255 bytes, the modulus has 256"},
		{"long encrypted key", func(p *parts) { p.EncryptedKey = tlv(4, make([]byte, 257)) }, "encrypted key of 257 bytes"},
		{"something behind the encrypted key", func(p *parts) { p.EncryptedKey = append(p.EncryptedKey, 5, 0) }, "too many at the end of KeyTransRecipientInfo"},
		{"content type other than data", func(p *parts) { p.DataType = envelopetest.EnvelopedData }, "type of the encrypted content"},
		{"AES-256-GCM", func(p *parts) { p.ContentAlgorithm = tlv(0x30, envelopetest.AES256GCM, tlv(4, make([]byte, 12))) }, "contentEncryptionAlgorithm"},
		{"IV of 8 bytes", func(p *parts) { p.ContentAlgorithm = tlv(0x30, envelopetest.AES256CBC, tlv(4, make([]byte, 8))) }, "IV of 8 bytes"},
		{"no IV", func(p *parts) { p.ContentAlgorithm = tlv(0x30, envelopetest.AES256CBC) }, "IV is cut off"},
		{"no content", func(p *parts) { p.WholeContent = []byte{} }, ""},
		{"empty content", func(p *parts) { p.WholeContent = []byte{0x80, 0} }, "encrypted content of 0 bytes"},
		{"constructed content without pieces", func(p *parts) { p.WholeContent = []byte{0xa0, 0x80, 0, 0} }, "encrypted content of 0 bytes"},
		{"half a block", func(p *parts) { p.Content = p.Content[:24] }, "encrypted content of 24 bytes"},
		{"pieces of another type", func(p *parts) { p.WholeContent = tlv(0xa0, tlv(3, p.Content)) }, "at the end of encryptedContent"},
		{"pieces of pieces", func(p *parts) { p.WholeContent = tlv(0xa0, tlv(0x24, tlv(4, p.Content))) }, "at the end of encryptedContent"},
		{"primitive content of indefinite length", func(p *parts) {
			p.WholeContent = envelopetest.Indefinite(0x80, tlv(4, p.Content))
		}, "encryptedContent has no definite length"},
		{"something behind the content", func(p *parts) { p.AfterContent = envelopetest.Null }, ""},
		{"unprotectedAttrs", func(p *parts) { p.AfterContentInfo = tlv(0xa1) }, ""},
		{"a second EnvelopedData", func(p *parts) { p.AfterEnveloped = tlv(0x30) }, ""},
		{"something behind the content of ContentInfo", func(p *parts) { p.AfterExplicit = envelopetest.Null }, ""},
		{"a trailing byte", func(p *parts) { p.After = []byte{0} }, "1 bytes too many at the end of the envelope"},
		{"a trailing envelope", func(p *parts) { p.After = p.DER() }, "too many at the end of the envelope"},
		{"too long", func(p *parts) { p.Content = make([]byte, envelope.MaxSize) }, "at most 6144 are possible"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := envelopetest.New(&key.PublicKey, plaintext(32))
			tt.change(&p)
			for form, b := range map[string][]byte{"DER": p.DER(), "BER": p.BER()} {
				got, err := envelope.Open(key, b)
				if !errors.Is(err, envelope.ErrFormat) || got != nil {
					t.Errorf("%s: %x, %v; want ErrFormat", form, got, err)
				} else if !strings.Contains(err.Error(), tt.want) && form == "DER" {
					t.Errorf("%s: error %q, want %q in it", form, err, tt.want)
				}
			}
		})
	}
}

// Lengths are written in one way, so that there is one reading of the bytes.
func TestOpenLengths(t *testing.T) {
	key := testKey(t)
	good := envelopetest.New(&key.PublicKey, plaintext(32)).DER()
	content := good[4:] // of ContentInfo
	n := len(content)
	tests := []struct {
		name string
		head []byte
		want string
	}{
		{"three bytes of length", []byte{0x30, 0x83, 0, byte(n >> 8), byte(n)}, "length of ContentInfo takes 3 bytes"},
		{"127 bytes of length", []byte{0x30, 0xff}, "length of ContentInfo takes 127 bytes"},
		{"longer than it is", []byte{0x30, 0x82, byte(n >> 8), byte(n + 1)}, "left"},
		{"as long as can be", []byte{0x30, 0x82, 0xff, 0xff}, "ContentInfo of 65535 bytes"},
		{"shorter than it is", []byte{0x30, 0x82, byte(n >> 8), byte(n - 1)}, ""},
		{"long form for a short length", []byte{0x30, 0x81, 0x10}, "not the shortest"},
		{"two bytes for a length of one", []byte{0x30, 0x82, 0, 0xff}, "not the shortest"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := envelope.Open(key, append(bytes.Clone(tt.head), content...))
			if !errors.Is(err, envelope.ErrFormat) || !strings.Contains(fmt.Sprint(err), tt.want) {
				t.Errorf("error %v, want %q in it", err, tt.want)
			}
		})
	}
}

// An envelope cut off anywhere is malformed, in each form.
func TestOpenTruncated(t *testing.T) {
	key := testKey(t)
	p := envelopetest.New(&key.PublicKey, plaintext(40))
	p.Chunk = 16
	for form, b := range map[string][]byte{"DER": p.DER(), "BER": p.BER()} {
		for n := range b {
			if got, err := envelope.Open(key, b[:n:n]); !errors.Is(err, envelope.ErrFormat) || got != nil {
				t.Fatalf("%s, %d of %d bytes: %x, %v", form, n, len(b), got, err)
			}
		}
	}
}

// With any one byte changed, an envelope does not give the secret again. That
// EnvelopedData is not authenticated shows in the IV and the content: some changes
// there give another secret.
func TestOpenChanged(t *testing.T) {
	key := testKey(t)
	secret := plaintext(40)
	p := envelopetest.New(&key.PublicKey, secret)
	for form, b := range map[string][]byte{"DER": p.DER(), "BER": p.BER()} {
		iv := bytes.Index(b, envelopetest.AES256CBC) + len(envelopetest.AES256CBC)
		for i := range b {
			changed := bytes.Clone(b)
			changed[i] ^= 0x01
			got, err := envelope.Open(key, changed)
			if err == nil && (bytes.Equal(got, secret) || i < iv) {
				t.Errorf("%s: opens with another byte %d of %d", form, i, len(b))
			}
		}
	}
}
