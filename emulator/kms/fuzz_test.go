package kms

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// FuzzService sends any operation and any body, signed, so that the fuzzer reaches
// what is behind the signature, and unsigned with any authorization. Whatever comes,
// the service answers with a success or a well-formed error that is not its own
// fault, and goes on.
func FuzzService(f *testing.F) {
	e := newEnv(f)
	id := e.key(f, nil)
	signing := e.keyOf(f, &kms.CreateKeyInput{KeySpec: types.KeySpecEccNistP256, KeyUsage: types.KeyUsageTypeSignVerify})
	sealed := must[*kms.EncryptOutput](f)(e.client(e.root).Encrypt(ctx, &kms.EncryptInput{KeyId: &id, Plaintext: []byte("x")}))
	document := e.enclave(f, e.authority).document(f)
	for op, in := range map[string]any{
		"Decrypt":          &kms.DecryptInput{CiphertextBlob: sealed.CiphertextBlob, Recipient: recipientOf(document)},
		"GenerateDataKey":  &kms.GenerateDataKeyInput{KeyId: &id, KeySpec: "AES_256", EncryptionContext: map[string]string{"a": "b"}},
		"GenerateRandom":   &kms.GenerateRandomInput{NumberOfBytes: aws.Int32(1)},
		"Sign":             &kms.SignInput{KeyId: &signing, Message: []byte("m"), SigningAlgorithm: "ECDSA_SHA_256"},
		"PutKeyPolicy":     &kms.PutKeyPolicyInput{KeyId: &id, Policy: policyFor()},
		"CreateAlias":      &kms.CreateAliasInput{AliasName: aws.String("alias/a"), TargetKeyId: &id},
		"TagResource":      &kms.TagResourceInput{KeyId: &id, Tags: []types.Tag{{TagKey: aws.String("a"), TagValue: aws.String("b")}}},
		"ListResourceTags": &kms.ListResourceTagsInput{KeyId: &id, Limit: aws.Int32(1), Marker: aws.String("YQ")},
		"ReEncrypt":        &kms.ReEncryptInput{CiphertextBlob: sealed.CiphertextBlob, DestinationKeyId: &id},
		"CreateKey":        &kms.CreateKeyInput{Description: aws.String("d")},
	} {
		f.Add(targetPrefix+op, must[[]byte](f)(json.Marshal(in)), "", contentType)
	}
	f.Add("TrentService.", []byte(`{"KeyId":{"a":[null]}}`), "AWS4-HMAC-SHA256 Credential=AKIAAAAAAAAAAAAAAAAA/20260101/us-east-1/kms/aws4_request, SignedHeaders=host;x-amz-date, Signature=00", "text/plain")
	f.Add(targetPrefix+"Decrypt", []byte(`[[[[[[[[`), "Bearer x", contentType)

	f.Fuzz(func(t *testing.T, target string, body []byte, authorization, media string) {
		r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
		r.Header["Content-Type"], r.Header["X-Amz-Target"] = []string{media}, []string{target}
		if authorization != "" {
			r.Header["Authorization"] = []string{authorization}
			r.Header["X-Amz-Date"] = []string{"20260101T000000Z"}
		} else {
			sum := sha256.Sum256(body)
			creds := aws.Credentials{AccessKeyID: e.root.AccessKeyID, SecretAccessKey: e.root.SecretAccessKey}
			if v4.NewSigner().SignHTTP(context.Background(), creds, r, hex.EncodeToString(sum[:]), "kms", testRegion, e.clock.Now()) != nil {
				return
			}
		}
		w := httptest.NewRecorder()
		e.ServeHTTP(w, r)
		if w.Code == http.StatusOK {
			if w.Body.Len() > 0 && !json.Valid(w.Body.Bytes()) {
				t.Errorf("a success that is no JSON: %q", w.Body)
			}
			return
		}
		var answer struct {
			Type string `json:"__type"`
		}
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || answer.Type == "" || w.Code >= 500 {
			t.Errorf("%s: %d %q", target, w.Code, w.Body)
		}
		if events := e.Events(); len(events) > 0 {
			if _, err := json.Marshal(events[len(events)-1]); err != nil {
				t.Errorf("event: %v", err)
			}
		}
	})
}

// FuzzDecode reads anything into the input with the most kinds of members, and what
// it has read a second time from what the SDK would have sent.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"KeyId":"a","CiphertextBlob":"AQI=","DryRun":true,"EncryptionContext":{"n":"v"},"GrantTokens":["g"],"Recipient":{"AttestationDocument":"Aw=="}}`))
	f.Add([]byte(`{"Recipient":{"KeyEncryptionAlgorithm":1},"GrantTokens":[null]}`))
	f.Add([]byte("{\"KeyId\":\"\\ud800\xff\"}"))
	f.Fuzz(func(t *testing.T, body []byte) {
		var in, again kms.DecryptInput
		if decode(body, &in) != nil {
			return
		}
		sent := must[[]byte](t)(json.Marshal(in)) // the names are the same, and null is an absent member
		if err := decode(sent, &again); err != nil {
			t.Fatalf("%s: %v", sent, err)
		}
		if second := must[[]byte](t)(json.Marshal(again)); !bytes.Equal(second, sent) {
			t.Errorf("read %s, read again %s", sent, second)
		}
	})
}
