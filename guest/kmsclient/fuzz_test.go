package kmsclient

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
)

// A canned answer for every request.
type canned struct {
	status int
	body   []byte
}

func (c canned) Do(req *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: c.status, ProtoMajor: 1, ProtoMinor: 1, Request: req, Header: http.Header{},
		Body: io.NopCloser(bytes.NewReader(c.body)), ContentLength: int64(len(c.body)),
	}, nil
}

// Whatever is answered, there is a reason and no secret: no input here is sealed to
// the key.
func FuzzAnswer(f *testing.F) {
	key, err := rsa.GenerateKey(rand.Reader, MinKeyBits)
	if err != nil {
		f.Fatal(err)
	}
	client, err := New(Config{
		Region: "us-east-1", Roots: x509.NewCertPool(), Key: key, MaxAttempts: 1,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "AKIA", SecretAccessKey: "secret"}, nil
		}),
		Attest: func(context.Context, []byte) ([]byte, error) { return []byte("document"), nil },
	})
	if err != nil {
		f.Fatal(err)
	}
	options := client.sdk.Options()
	reasons := []error{ErrDenied, ErrCredentials, ErrRefused, ErrThrottled, ErrUnavailable, ErrPlaintext, ErrNotSealed, ErrKey, ErrAnswer}

	f.Add(200, []byte(`{"KeyId":"arn:aws:kms:us-east-1:1:key/k","CiphertextForRecipient":"MIAGCSqGSIb3DQEHA6CAMIACAQI="}`))
	f.Add(200, []byte(`{"KeyId":"arn:aws:kms:us-east-1:1:key/k","Plaintext":"AAAA","EncryptionAlgorithm":"SYMMETRIC_DEFAULT"}`))
	f.Add(200, []byte(`{"KeyId":null,"CiphertextForRecipient":[1]}`))
	f.Add(400, []byte(`{"__type":"AccessDeniedException","Message":"no"}`))
	f.Add(400, []byte(`{"__type":"com.amazonaws.kms#ThrottlingException"}`))
	f.Add(500, []byte(`{"__type":7}`))
	f.Add(302, []byte(`<html>`))
	f.Add(0, []byte{})
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		c := *client
		options.HTTPClient = canned{status, body}
		c.sdk = kms.New(options)
		secret, err := c.Decrypt(t.Context(), Decrypt{KeyID: "k", Ciphertext: []byte("blob")})
		var typed *Error
		if secret != nil || !errors.As(err, &typed) {
			t.Fatalf("Decrypt = %x, %v", secret, err)
		}
		for _, reason := range reasons {
			if errors.Is(err, reason) {
				return
			}
		}
		t.Errorf("an error without a reason: %v", err)
	})
}
