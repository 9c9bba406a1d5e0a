package kms

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms"
)

// benchDecrypt is a service with a policy on PCR0, a ciphertext, and a document.
func benchDecrypt(b *testing.B) (*env, *kms.DecryptInput) {
	b.Helper()
	e := newEnv(b)
	user := e.user(b, testAccount, "app")
	en := e.enclave(b, e.authority)
	id := e.key(b, policyFor(grantTo("arn:aws:iam::"+testAccount+":user/app", equals(pcrKey(0), en.pcrs[0]))))
	sealed := must[*kms.EncryptOutput](b)(e.client(e.root).Encrypt(ctx, &kms.EncryptInput{KeyId: &id, Plaintext: make([]byte, 32)}))
	e.root = user
	return e, &kms.DecryptInput{KeyId: &id, CiphertextBlob: sealed.CiphertextBlob, Recipient: en.recipient(b)}
}

// BenchmarkDecryptRecipient is Decrypt with a Recipient from SDK clients over TLS, on
// connections that stay open. The document is the same: KMS has no nonce.
func BenchmarkDecryptRecipient(b *testing.B) {
	e, in := benchDecrypt(b)
	c := e.client(e.root)
	e.server.Client().Transport.(*http.Transport).MaxIdleConnsPerHost = 64
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := c.Decrypt(ctx, in); err != nil {
				b.Error(err)
			}
		}
	})
}

// BenchmarkServeDecryptRecipient is the part of the service in that: a signed
// request in, an answer out.
func BenchmarkServeDecryptRecipient(b *testing.B) {
	e, in := benchDecrypt(b)
	benchServe(b, e, "Decrypt", encode(in))
}

// BenchmarkServeDecrypt is the same without a document.
func BenchmarkServeDecrypt(b *testing.B) {
	e := newEnv(b)
	id := e.key(b, nil)
	sealed := must[*kms.EncryptOutput](b)(e.client(e.root).Encrypt(ctx, &kms.EncryptInput{KeyId: &id, Plaintext: make([]byte, 32)}))
	benchServe(b, e, "Decrypt", encode(&kms.DecryptInput{KeyId: &id, CiphertextBlob: sealed.CiphertextBlob}))
}

func benchServe(b *testing.B, e *env, op string, body []byte) {
	b.Helper()
	request := e.request(b, e.root, op, body)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			w := httptest.NewRecorder()
			r := request.Clone(ctx)
			r.Body = io.NopCloser(bytes.NewReader(body))
			e.ServeHTTP(w, r)
			if w.Code != http.StatusOK {
				b.Errorf("%d %s", w.Code, w.Body)
			}
		}
	})
}
