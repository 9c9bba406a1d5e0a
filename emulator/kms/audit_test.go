package kms

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/google/go-cmp/cmp"
)

// last is the newest event as JSON.
func (e *env) last(t *testing.T) map[string]any {
	t.Helper()
	events := e.Events()
	text := must[[]byte](t)(json.Marshal(events[len(events)-1]))
	var m map[string]any
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// TestEvent holds the record of an attested Decrypt against the form of CloudTrail's.
func TestEvent(t *testing.T) {
	var heard []Event
	e := newEnv(t, func(c *Config) { c.Audit = func(e Event) { heard = append(heard, e) } })
	creds, role := e.role(t, "app")
	en := e.enclave(t, e.authority)
	id := e.key(t, policyFor(grantTo(role, equals(pcrKey(0), en.pcrs[0]))))
	encryption := map[string]string{"app": "chat"}
	sealed := must[*kms.EncryptOutput](t)(e.client(e.root).Encrypt(ctx, &kms.EncryptInput{KeyId: &id, Plaintext: []byte("weights"), EncryptionContext: encryption}))
	must[*kms.DecryptOutput](t)(e.client(creds).Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: sealed.CiphertextBlob, EncryptionContext: encryption, Recipient: en.recipient(t)}))

	got := e.last(t)
	for _, name := range []string{"eventTime", "requestID", "eventID", "userAgent", "tlsDetails"} {
		if got[name] == nil {
			t.Errorf("%s is missing", name)
		}
		delete(got, name)
	}
	user := got["userIdentity"].(map[string]any)
	unique, _ := user["principalId"].(string)
	if role, session, _ := strings.Cut(unique, ":"); !strings.HasPrefix(role, "AROA") || session != "i-0a1b2c3d4e5f60718" {
		t.Errorf("principalId is %q", unique)
	}
	delete(user, "principalId")
	session := user["sessionContext"].(map[string]any)
	delete(session["sessionIssuer"].(map[string]any), "principalId")
	delete(session, "attributes")
	pcrs := map[string]any{"attestationDocumentModuleId": "i-0a1b2c3d4e5f60718-enc0199abcdef012345"}
	for i, v := range en.pcrs {
		pcrs[pcrMember(i)] = hex.EncodeToString(v)
	}
	want := map[string]any{
		"eventVersion": "1.11", "eventSource": "kms.amazonaws.com", "eventName": "Decrypt", "awsRegion": testRegion,
		"userIdentity": map[string]any{
			"type": "AssumedRole", "arn": "arn:aws:sts::111122223333:assumed-role/app/i-0a1b2c3d4e5f60718",
			"accountId": testAccount, "accessKeyId": creds.AccessKeyID,
			"sessionContext": map[string]any{"sessionIssuer": map[string]any{"type": "Role", "arn": role, "accountId": testAccount, "userName": "app"}},
		},
		"requestParameters":   map[string]any{"encryptionContext": map[string]any{"app": "chat"}},
		"responseElements":    nil,
		"additionalEventData": map[string]any{"recipient": pcrs},
		"readOnly":            true, "managementEvent": true, "eventType": "AwsApiCall", "eventCategory": "Management",
		"resources":          []any{map[string]any{"accountId": testAccount, "type": "AWS::KMS::Key", "ARN": id}},
		"recipientAccountId": testAccount,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
	if pcrs["attestationDocumentEnclaveImageDigest"] == nil || pcrs["attestationDocumentEnclavePCR1"] == nil {
		t.Errorf("names of PCRs: %v", pcrs)
	}
	if len(heard) != len(e.Events()) || heard[len(heard)-1].RequestID != e.Events()[len(heard)-1].RequestID {
		t.Errorf("Config.Audit was told of %d events, the log has %d", len(heard), len(e.Events()))
	}
}

// TestEventsOfRefusals: they are in the log, with the document's PCRs if it was
// verified and without if it was not.
func TestEventsOfRefusals(t *testing.T) {
	e := newEnv(t)
	creds, role := e.role(t, "app")
	en := e.enclave(t, e.authority)
	id := e.key(t, policyFor(grantTo(role, equals(pcrKey(0), measured("another")))))
	in := func(document []byte) any {
		return &kms.GenerateDataKeyInput{KeyId: &id, KeySpec: "AES_256", Recipient: recipientOf(document)}
	}
	_, answer, w := e.post(t, creds, "GenerateDataKey", in(en.document(t)))
	got := e.last(t)
	if got["errorCode"] != "AccessDenied" || got["errorMessage"] != answer["Message"] || got["requestID"] != w.Header().Get("x-amzn-RequestId") {
		t.Errorf("denied: %v", got)
	}
	if got["additionalEventData"] == nil || got["resources"] == nil {
		t.Error("denied: the record does not say to which enclave, or which key")
	}
	e.post(t, creds, "GenerateDataKey", in([]byte("forged")))
	if got = e.last(t); got["errorCode"] != codeValidation || got["additionalEventData"] != nil {
		t.Errorf("forged document: %v", got)
	}
	creds.SecretAccessKey = strings.Repeat("x", 40)
	e.post(t, creds, "GenerateDataKey", in(en.document(t)))
	if got = e.last(t); got["errorCode"] != "InvalidSignatureException" || got["userIdentity"].(map[string]any)["type"] != "Unknown" || got["requestParameters"] != nil {
		t.Errorf("wrong signature: %v", got)
	}
	e.post(t, e.root, "DisableKey", map[string]string{"KeyId": id})
	if got = e.last(t); got["readOnly"] != false || got["responseElements"].(map[string]any)["keyId"] != id || got["userIdentity"].(map[string]any)["type"] != "Root" {
		t.Errorf("DisableKey: %v", got)
	}
}

// TestEventsAreBounded: the log forgets the oldest, and what is too long to keep.
func TestEventsAreBounded(t *testing.T) {
	e := newEnv(t)
	var a audit
	for i := range MaxEvents + 5 {
		a.add(Event{RequestID: fmt.Sprint(i)})
	}
	e.Service.audit.mu.Lock()
	e.Service.audit.ring, e.Service.audit.next = a.ring, a.next
	e.Service.audit.mu.Unlock()
	events := e.Events()
	if len(events) != MaxEvents || events[0].RequestID != "5" || events[MaxEvents-1].RequestID != fmt.Sprint(MaxEvents+4) {
		t.Errorf("%d events from %s to %s", len(events), events[0].RequestID, events[len(events)-1].RequestID)
	}
	e.post(t, e.root, "Encrypt", map[string]any{"KeyId": "x", "EncryptionContext": map[string]string{"a": strings.Repeat("x", 50<<10)}})
	if got := e.last(t)["requestParameters"].(map[string]any); len(got) != 1 || got["nitrolabOmitted"] == nil {
		t.Errorf("parameters of 50 KiB: %.200v", got)
	}
	r := e.request(t, e.root, "ListKeys", []byte("{}"))
	r.Header.Set("User-Agent", strings.Repeat("ü", 1000))
	if got := e.newEvent(r, "ListKeys", operation{}, "", ""); len(got.UserAgent) > maxUserAgent {
		t.Errorf("user agent of %d bytes", len(got.UserAgent))
	}
}

// TestNoSecretsInRecords runs every operation that sees a secret, with success and
// with failure, and looks for the secrets in events and logs, raw, in hex and in
// base64.
func TestNoSecretsInRecords(t *testing.T) {
	var log syncBuffer
	e := newEnv(t, func(c *Config) {
		c.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	c := e.client(e.root)
	en := e.enclave(t, e.authority)
	id := e.key(t, nil)
	agreeing := e.keyOf(t, &kms.CreateKeyInput{KeySpec: types.KeySpecEccNistP256, KeyUsage: types.KeyUsageTypeKeyAgreement})
	hmac := e.keyOf(t, &kms.CreateKeyInput{KeySpec: types.KeySpecHmac256, KeyUsage: types.KeyUsageTypeGenerateVerifyMac})
	secrets := map[string][]byte{"plaintext": []byte("a plaintext of some length"), "secret access key": []byte(e.root.SecretAccessKey)}

	sealed := must[*kms.EncryptOutput](t)(c.Encrypt(ctx, &kms.EncryptInput{KeyId: &id, Plaintext: secrets["plaintext"]}))
	secrets["ciphertext"] = sealed.CiphertextBlob
	must[*kms.DecryptOutput](t)(c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: sealed.CiphertextBlob}))
	secrets["envelope"] = must[*kms.DecryptOutput](t)(c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: sealed.CiphertextBlob, Recipient: en.recipient(t)})).CiphertextForRecipient
	if _, err := c.Decrypt(ctx, &kms.DecryptInput{KeyId: &hmac, CiphertextBlob: sealed.CiphertextBlob}); err == nil {
		t.Error("Decrypt with an HMAC key succeeded")
	}
	key := must[*kms.GenerateDataKeyOutput](t)(c.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: &id, KeySpec: "AES_256"}))
	secrets["data key"], secrets["wrapped data key"] = key.Plaintext, key.CiphertextBlob
	pair := must[*kms.GenerateDataKeyPairOutput](t)(c.GenerateDataKeyPair(ctx, &kms.GenerateDataKeyPairInput{KeyId: &id, KeyPairSpec: "ECC_NIST_P256"}))
	secrets["private key"] = pair.PrivateKeyPlaintext
	secrets["random bytes"] = must[*kms.GenerateRandomOutput](t)(c.GenerateRandom(ctx, &kms.GenerateRandomInput{NumberOfBytes: aws.Int32(32)})).Plaintext
	peer := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	derived := must[*kms.DeriveSharedSecretOutput](t)(c.DeriveSharedSecret(ctx, &kms.DeriveSharedSecretInput{KeyId: &agreeing, KeyAgreementAlgorithm: "ECDH", PublicKey: must[[]byte](t)(x509.MarshalPKIXPublicKey(&peer.PublicKey))}))
	secrets["shared secret"] = derived.SharedSecret
	secrets["MAC"] = must[*kms.GenerateMacOutput](t)(c.GenerateMac(ctx, &kms.GenerateMacInput{KeyId: &hmac, Message: secrets["plaintext"], MacAlgorithm: "HMAC_SHA_256"})).Mac
	// What is no JSON, or the wrong kind of it, is not quoted either.
	e.post(t, e.root, "Encrypt", `{"KeyId":"`+id+`","Plaintext":["a plaintext of some length"]}`)
	e.post(t, e.root, "Encrypt", `{"Plaintext":"a plaintext of some length"}`)
	// A failure of the service is logged.
	if err := e.ring.SetPolicy(id[len(id)-36:], "{"); err != nil {
		t.Fatal(err)
	}
	e.post(t, e.root, "Encrypt", &kms.EncryptInput{KeyId: &id, Plaintext: secrets["plaintext"]})
	if !strings.Contains(log.String(), "policy of ") {
		t.Errorf("the log does not have the failure: %q", log.String())
	}

	records := log.String() + string(must[[]byte](t)(json.Marshal(e.Events()))) + fmt.Sprintf("%+v", e.Events())
	for name, secret := range secrets {
		for form, text := range map[string]string{
			"raw": string(secret), "hex": hex.EncodeToString(secret), "base64": base64.StdEncoding.EncodeToString(secret), "Go": fmt.Sprint(secret),
		} {
			if strings.Contains(records, text) {
				t.Errorf("%s is in the records, in %s", name, form)
			}
		}
	}
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// TestEventTime: it is that of the Host.
func TestEventTime(t *testing.T) {
	e := newEnv(t)
	e.clock.Advance(-1000 * time.Hour)
	e.post(t, e.root, "ListKeys", "{}")
	at := must[time.Time](t)(time.Parse(time.RFC3339, e.last(t)["eventTime"].(string)))
	if d := e.clock.Now().Sub(at); d < 0 || d > time.Minute {
		t.Errorf("the event is %v old", d)
	}
}
