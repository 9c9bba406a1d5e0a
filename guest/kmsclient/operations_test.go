package kmsclient_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/devices/weaken"
	"github.com/nitrolab/nitrolab/guest/envelope"
	"github.com/nitrolab/nitrolab/guest/envelope/envelopetest"
	"github.com/nitrolab/nitrolab/guest/kmsclient"
)

// An operation is one of the five with a Recipient.
type operation struct {
	name     string
	secret   []byte // of the answer
	clear    string // member with the secret in the clear
	request  map[string]any
	answer   map[string]any // without the secret
	call     func(context.Context, *kmsclient.Client) (secret []byte, rest any, err error)
	rest     any  // what the call returns besides the secret
	anyKey   bool // the answer names no key
	exactLen bool // the length of the secret is known
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func operations() []operation {
	dataKey := bytes.Repeat([]byte{0xd7}, 32)
	return []operation{
		{
			name: "Decrypt", secret: []byte("weights"), clear: "Plaintext",
			request: map[string]any{"KeyId": keyARN, "CiphertextBlob": b64("blob"), "EncryptionContext": map[string]any{"model": "sample"}},
			answer:  map[string]any{"KeyId": keyARN, "EncryptionAlgorithm": "SYMMETRIC_DEFAULT"},
			call: func(ctx context.Context, c *kmsclient.Client) ([]byte, any, error) {
				b, err := c.Decrypt(ctx, kmsclient.Decrypt{KeyID: keyARN, Ciphertext: []byte("blob"), Context: map[string]string{"model": "sample"}})
				return b, nil, err
			},
		},
		{
			name: "GenerateDataKey", secret: dataKey, clear: "Plaintext", exactLen: true,
			request: map[string]any{"KeyId": keyARN, "KeySpec": "AES_256", "EncryptionContext": map[string]any{"model": "sample"}},
			answer:  map[string]any{"KeyId": keyARN, "CiphertextBlob": b64("blob")},
			call: func(ctx context.Context, c *kmsclient.Client) ([]byte, any, error) {
				k, err := c.GenerateDataKey(ctx, kmsclient.GenerateDataKey{KeyID: keyARN, Spec: types.DataKeySpecAes256, Context: map[string]string{"model": "sample"}})
				b := k.Plaintext
				k.Plaintext = nil
				return b, k, err
			},
			rest: kmsclient.DataKey{Ciphertext: []byte("blob"), KeyID: keyARN},
		},
		{
			name: "GenerateDataKey", secret: dataKey[:24], clear: "Plaintext", exactLen: true,
			request: map[string]any{"KeyId": keyARN, "NumberOfBytes": 24.0},
			answer:  map[string]any{"KeyId": keyARN, "CiphertextBlob": b64("blob")},
			call: func(ctx context.Context, c *kmsclient.Client) ([]byte, any, error) {
				k, err := c.GenerateDataKey(ctx, kmsclient.GenerateDataKey{KeyID: keyARN, Bytes: 24})
				b := k.Plaintext
				k.Plaintext = nil
				return b, k, err
			},
			rest: kmsclient.DataKey{Ciphertext: []byte("blob"), KeyID: keyARN},
		},
		{
			name: "GenerateDataKeyPair", secret: bytes.Repeat([]byte("PKCS #8 "), 300), clear: "PrivateKeyPlaintext",
			request: map[string]any{"KeyId": keyARN, "KeyPairSpec": "RSA_4096", "EncryptionContext": map[string]any{"a": "b"}},
			answer:  map[string]any{"KeyId": keyARN, "KeyPairSpec": "RSA_4096", "PublicKey": b64("SPKI"), "PrivateKeyCiphertextBlob": b64("blob")},
			call: func(ctx context.Context, c *kmsclient.Client) ([]byte, any, error) {
				p, err := c.GenerateDataKeyPair(ctx, kmsclient.GenerateDataKeyPair{KeyID: keyARN, Spec: types.DataKeyPairSpecRsa4096, Context: map[string]string{"a": "b"}})
				b := p.PrivateKey
				p.PrivateKey = nil
				return b, p, err
			},
			rest: kmsclient.KeyPair{PublicKey: []byte("SPKI"), Ciphertext: []byte("blob"), KeyID: keyARN},
		},
		{
			name: "GenerateRandom", secret: dataKey[:10], clear: "Plaintext", anyKey: true, exactLen: true,
			request: map[string]any{"NumberOfBytes": 10.0},
			answer:  map[string]any{},
			call: func(ctx context.Context, c *kmsclient.Client) ([]byte, any, error) {
				b, err := c.GenerateRandom(ctx, 10)
				return b, nil, err
			},
		},
		{
			name: "DeriveSharedSecret", secret: dataKey, clear: "SharedSecret",
			request: map[string]any{"KeyId": keyARN, "KeyAgreementAlgorithm": "ECDH", "PublicKey": b64("SPKI")},
			answer:  map[string]any{"KeyId": keyARN, "KeyAgreementAlgorithm": "ECDH", "KeyOrigin": "AWS_KMS"},
			call: func(ctx context.Context, c *kmsclient.Client) ([]byte, any, error) {
				b, err := c.DeriveSharedSecret(ctx, kmsclient.DeriveSharedSecret{KeyID: keyARN, PublicKey: []byte("SPKI")})
				return b, nil, err
			},
		},
	}
}

// seal is a secret as CiphertextForRecipient.
func seal(secret []byte) []byte { return envelopetest.Seal(&recipientKey().PublicKey, secret) }

// with is the answer with these members, too or instead.
func (o *operation) with(members map[string]any) reply {
	all := map[string]any{}
	for _, m := range []map[string]any{o.answer, members} {
		for name, value := range m {
			all[name] = value
		}
	}
	return object(all)
}

func (o *operation) sealed() reply {
	return o.with(map[string]any{"CiphertextForRecipient": seal(o.secret)})
}

func TestOperations(t *testing.T) {
	for _, o := range operations() {
		t.Run(o.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				// A real answer may have an empty member for the plaintext.
				s := serve(t, nil, o.sealed(), o.with(map[string]any{"CiphertextForRecipient": seal(o.secret), o.clear: ""}),
					o.with(map[string]any{"CiphertextForRecipient": seal(o.secret), o.clear: nil}))
				c := client(t, config(s))
				for range 3 {
					got, rest, err := o.call(t.Context(), c)
					if err != nil {
						t.Fatal(err)
					}
					if !bytes.Equal(got, o.secret) {
						t.Errorf("secret %x, want %x", got, o.secret)
					}
					if diff := cmp.Diff(o.rest, rest); diff != "" {
						t.Errorf("rest (-want +got):\n%s", diff)
					}
				}

				request := s.got()[0]
				if !strings.HasPrefix(request.Authorization, "AWS4-HMAC-SHA256 Credential=ASIAIOSFODNN7EXAMPLE/") {
					t.Errorf("Authorization %q", request.Authorization)
				}
				request.Authorization = ""
				want := struct {
					Target, Host, Proto, Authorization string
					Body                               map[string]any
				}{"TrentService." + o.name, host, "HTTP/1.1", "", map[string]any{}}
				for name, value := range o.request {
					want.Body[name] = value
				}
				want.Body["Recipient"] = map[string]any{
					"AttestationDocument":    b64("document over " + string(c.PublicKey())),
					"KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256",
				}
				if diff := cmp.Diff(want, struct {
					Target, Host, Proto, Authorization string
					Body                               map[string]any
				}(request)); diff != "" {
					t.Errorf("request (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// Each call has a document of its own, made when it begins.
func TestDocuments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := operations()[0]
		s := serve(t, nil, exception(400, "ThrottlingException", "slow down"), o.sealed())
		cfg := config(s)
		made := 0
		cfg.Attest = func(context.Context, []byte) ([]byte, error) {
			made++
			return fmt.Appendf(nil, "document %d", made), nil
		}
		c := client(t, cfg)
		for range 2 {
			if _, _, err := o.call(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		var got []string
		for _, r := range s.got() {
			b, err := base64.StdEncoding.DecodeString(r.Body["Recipient"].(map[string]any)["AttestationDocument"].(string))
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(b))
		}
		if diff := cmp.Diff([]string{"document 1", "document 1", "document 2"}, got); diff != "" {
			t.Errorf("documents (-want +got):\n%s", diff)
		}
	})
}

// What a wrong or a hostile service may answer, and that the client takes none of
// it.
func TestAnswersRefused(t *testing.T) {
	other := strings.Replace(keyARN, "1234abcd", "ffffffff", 1)
	strangerKey := envelopetest.New(&recipientKey().PublicKey, nil)
	strangerKey.Recipient = envelopetest.TLV(0x80, make([]byte, 32))
	for _, o := range operations() {
		type test struct {
			name   string
			answer reply
			want   []error
		}
		tests := []test{
			{"plaintext", o.with(map[string]any{o.clear: o.secret}), []error{kmsclient.ErrPlaintext}},
			{"plaintext beside an envelope", o.with(map[string]any{o.clear: o.secret, "CiphertextForRecipient": seal(o.secret)}), []error{kmsclient.ErrPlaintext}},
			{"neither", o.with(nil), []error{kmsclient.ErrNotSealed}},
			{"null", o.with(map[string]any{"CiphertextForRecipient": nil}), []error{kmsclient.ErrNotSealed}},
			{"empty envelope", o.with(map[string]any{"CiphertextForRecipient": ""}), []error{kmsclient.ErrNotSealed}},
			{"no envelope", o.with(map[string]any{"CiphertextForRecipient": b64("secret")}), []error{kmsclient.ErrAnswer, envelope.ErrFormat}},
			{"envelope for another key", o.with(map[string]any{"CiphertextForRecipient": strangerKey.BER()}), []error{kmsclient.ErrAnswer, envelope.ErrRecipient}},
			{"member of another type", o.with(map[string]any{"CiphertextForRecipient": 7}), []error{kmsclient.ErrAnswer}},
		}
		if !o.anyKey {
			tests = append(tests,
				test{"another key", o.with(map[string]any{"KeyId": other, "CiphertextForRecipient": seal(o.secret)}), []error{kmsclient.ErrKey}},
				test{"no key", o.with(map[string]any{"KeyId": nil, "CiphertextForRecipient": seal(o.secret)}), []error{kmsclient.ErrKey}})
		}
		if o.exactLen {
			tests = append(tests,
				test{"short secret", o.with(map[string]any{"CiphertextForRecipient": seal(o.secret[1:])}), []error{kmsclient.ErrAnswer}},
				test{"empty secret", o.with(map[string]any{"CiphertextForRecipient": seal(nil)}), []error{kmsclient.ErrAnswer}},
				test{"long secret", o.with(map[string]any{"CiphertextForRecipient": seal(append([]byte{0}, o.secret...))}), []error{kmsclient.ErrAnswer}})
		}
		for _, tt := range tests {
			t.Run(o.name+"/"+tt.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := serve(t, nil, tt.answer)
					got, rest, err := o.call(t.Context(), client(t, config(s)))
					for _, want := range tt.want {
						if !errors.Is(err, want) {
							t.Errorf("error %v, want %v", err, want)
						}
					}
					var typed *kmsclient.Error
					if !errors.As(err, &typed) || typed.Operation != o.name || typed.Attempts != 1 {
						t.Errorf("error %#v, want one of %s after 1 attempt", typed, o.name)
					}
					if got != nil {
						t.Errorf("a secret with an error: %x", got)
					}
					if blank := (kmsclient.DataKey{}); rest != nil && !cmp.Equal(rest, blank) && !cmp.Equal(rest, kmsclient.KeyPair{}) {
						t.Errorf("something with an error: %v", rest)
					}
					if n := len(s.got()); n != 1 {
						t.Errorf("%d requests; a wrong answer must not be asked for again", n)
					}
					if text := fmt.Sprint(err); strings.Contains(text, b64(string(o.secret))) || strings.Contains(text, string(o.secret)) {
						t.Errorf("the error tells the secret: %s", text)
					}
				})
			})
		}
	}
}

// The counter-proof: with the protection off the client takes what it is given.
func TestWeakenSealedAnswer(t *testing.T) {
	for _, o := range operations() {
		synctest.Test(t, func(t *testing.T) {
			s := serve(t, nil, o.with(map[string]any{o.clear: o.secret}))
			cfg := config(s)
			cfg.Weaken = weaken.Only(weaken.SealedAnswer)
			got, _, err := o.call(t.Context(), client(t, cfg))
			if err != nil || !bytes.Equal(got, o.secret) {
				t.Errorf("%s with %q = %x, %v", o.name, cfg.Weaken, got, err)
			}
		})
	}
}

func TestKeyIDs(t *testing.T) {
	id := keyARN[strings.LastIndex(keyARN, "/")+1:]
	aliasARN := strings.Replace(keyARN, "key/"+id, "alias/model", 1)
	tests := []struct {
		asked, answered string
		ok              bool
	}{
		{"", keyARN, true},
		{"alias/model", keyARN, true},
		{aliasARN, keyARN, true},
		{strings.Replace(aliasARN, "123456789012", "999999999999", 1), keyARN, false},
		{strings.Replace(aliasARN, "us-east-1", "us-east-2", 1), keyARN, false},
		{id, keyARN, true},
		{id[1:], keyARN, false},
		{id, "", false},
		{keyARN, keyARN, true},
		{keyARN, strings.ToUpper(keyARN), false},
		{keyARN, id, false},
		{keyARN, "", false},
		{keyARN, strings.Replace(keyARN, "123456789012", "999999999999", 1), false},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			s := serve(t, nil, object(map[string]any{"KeyId": tt.answered, "CiphertextForRecipient": seal([]byte("x"))}))
			_, err := client(t, config(s)).Decrypt(t.Context(), kmsclient.Decrypt{KeyID: tt.asked, Ciphertext: []byte("blob")})
			if tt.ok && err != nil || !tt.ok && !errors.Is(err, kmsclient.ErrKey) {
				t.Errorf("asked for %q, answered with %q: %v", tt.asked, tt.answered, err)
			}
			if _, sent := s.got()[0].Body["KeyId"]; sent != (tt.asked != "") {
				t.Errorf("asked for %q: KeyId sent is %v", tt.asked, sent)
			}
		})
	}
}

// A length that is none does not mean any.
func TestNoLength(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, nil, object(map[string]any{"KeyId": keyARN, "CiphertextForRecipient": seal([]byte("short"))}))
		c := client(t, config(s))
		for _, n := range []int32{-1, 0} {
			if key, err := c.GenerateDataKey(t.Context(), kmsclient.GenerateDataKey{KeyID: keyARN, Bytes: n}); !errors.Is(err, kmsclient.ErrAnswer) {
				t.Errorf("GenerateDataKey of %d bytes = %v, %v", n, key, err)
			}
			if b, err := c.GenerateRandom(t.Context(), n); !errors.Is(err, kmsclient.ErrAnswer) {
				t.Errorf("GenerateRandom of %d bytes = %x, %v", n, b, err)
			}
		}
	})
}
