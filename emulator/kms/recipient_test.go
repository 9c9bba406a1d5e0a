package kms

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/devices/nsm/attestation"
	"github.com/nitrolab/nitrolab/devices/weaken"
)

// grantTo is a statement that allows a role the attested operations under a
// condition, none if it is empty.
func grantTo(role, condition string) string {
	s := `{"Sid":"enclave","Effect":"Allow","Principal":{"AWS":"` + role + `"},"Action":["kms:Decrypt","kms:GenerateDataKey","kms:GenerateDataKeyPair","kms:DeriveSharedSecret"],"Resource":"*"`
	if condition != "" {
		s += `,"Condition":` + condition
	}
	return s + "}"
}

// equals is a condition on one key.
func equals(key string, value []byte) string {
	return `{"StringEqualsIgnoreCase":{"` + key + `":"` + hex.EncodeToString(value) + `"}}`
}

// TestRecipient takes all five operations through the SDK: none of them answers a
// plaintext, and the enclave finds in the envelope what the plain operation gives.
func TestRecipient(t *testing.T) {
	e := newEnv(t)
	creds, role := e.role(t, "app", parsePolicy(t, `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"kms:GenerateRandom","Resource":"*","Condition":{"Null":{"kms:RecipientAttestation:PCR0":"false"}}}}`))
	c, admin := e.client(creds), e.client(e.root)
	en := e.enclave(t, e.authority)
	p := policyFor(grantTo(role, equals("kms:RecipientAttestation:PCR0", en.pcrs[0])))
	id := e.key(t, p)

	t.Run("Decrypt", func(t *testing.T) {
		sealed := must[*kms.EncryptOutput](t)(admin.Encrypt(ctx, &kms.EncryptInput{KeyId: &id, Plaintext: []byte("weights")}))
		out := must[*kms.DecryptOutput](t)(c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: sealed.CiphertextBlob, Recipient: en.recipient(t)}))
		if out.Plaintext != nil || out.KeyMaterialId != nil || *out.KeyId != id || out.EncryptionAlgorithm != types.EncryptionAlgorithmSpecSymmetricDefault {
			t.Errorf("answer: %+v", out)
		}
		if got := en.open(t, out.CiphertextForRecipient); string(got) != "weights" {
			t.Errorf("the envelope holds %q", got)
		}
	})
	t.Run("GenerateDataKey", func(t *testing.T) {
		out := must[*kms.GenerateDataKeyOutput](t)(c.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: &id, KeySpec: types.DataKeySpecAes256, Recipient: en.recipient(t)}))
		if out.Plaintext != nil || out.KeyMaterialId != nil {
			t.Errorf("answer: %+v", out)
		}
		if got := len(out.CiphertextForRecipient); got != 493 {
			t.Errorf("the envelope of 32 bytes has %d bytes, a real one has 493", got)
		}
		plain := must[*kms.DecryptOutput](t)(admin.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: out.CiphertextBlob})).Plaintext
		if got := en.open(t, out.CiphertextForRecipient); len(got) != 32 || !bytes.Equal(got, plain) {
			t.Errorf("the envelope holds %x", got)
		}
	})
	t.Run("GenerateDataKeyPair", func(t *testing.T) {
		out := must[*kms.GenerateDataKeyPairOutput](t)(c.GenerateDataKeyPair(ctx, &kms.GenerateDataKeyPairInput{KeyId: &id, KeyPairSpec: types.DataKeyPairSpecRsa2048, Recipient: en.recipient(t)}))
		if out.PrivateKeyPlaintext != nil || out.KeyMaterialId != nil {
			t.Errorf("answer: %+v", out)
		}
		private := must[any](t)(x509.ParsePKCS8PrivateKey(en.open(t, out.CiphertextForRecipient))).(*rsa.PrivateKey)
		if public := must[any](t)(x509.ParsePKIXPublicKey(out.PublicKey)).(*rsa.PublicKey); !private.PublicKey.Equal(public) {
			t.Error("the halves do not belong together")
		}
	})
	t.Run("GenerateRandom", func(t *testing.T) {
		out := must[*kms.GenerateRandomOutput](t)(c.GenerateRandom(ctx, &kms.GenerateRandomInput{NumberOfBytes: aws.Int32(33), Recipient: en.recipient(t)}))
		if got := en.open(t, out.CiphertextForRecipient); out.Plaintext != nil || len(got) != 33 {
			t.Errorf("answer: %+v, %d bytes in the envelope", out, len(got))
		}
		_, err := c.GenerateRandom(ctx, &kms.GenerateRandomInput{NumberOfBytes: aws.Int32(33)})
		if got := code(err); got != codeAccessDenied {
			t.Errorf("without a document: %q", got)
		}
	})
	t.Run("DeriveSharedSecret", func(t *testing.T) {
		agreeing := e.keyOf(t, &kms.CreateKeyInput{KeySpec: types.KeySpecEccNistP256, KeyUsage: types.KeyUsageTypeKeyAgreement, Policy: p})
		peer := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
		in := kms.DeriveSharedSecretInput{
			KeyId: &agreeing, KeyAgreementAlgorithm: types.KeyAgreementAlgorithmSpecEcdh,
			PublicKey: must[[]byte](t)(x509.MarshalPKIXPublicKey(&peer.PublicKey)), Recipient: en.recipient(t),
		}
		out := must[*kms.DeriveSharedSecretOutput](t)(c.DeriveSharedSecret(ctx, &in))
		got := must[*kms.GetPublicKeyOutput](t)(admin.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: &agreeing}))
		theirs := must[*ecdh.PublicKey](t)(must[any](t)(x509.ParsePKIXPublicKey(got.PublicKey)).(*ecdsa.PublicKey).ECDH())
		want := must[[]byte](t)(must[*ecdh.PrivateKey](t)(peer.ECDH()).ECDH(theirs))
		if out.SharedSecret != nil || !bytes.Equal(en.open(t, out.CiphertextForRecipient), want) {
			t.Errorf("answer: %+v", out)
		}
	})
}

// TestRecipientConditions shows with one document what each key policy releases.
func TestRecipientConditions(t *testing.T) {
	for _, tt := range []struct {
		name      string
		condition func(*enclave) string
		document  bool
		want      string
	}{
		{"no condition, no document", func(*enclave) string { return "" }, false, ""},
		{"no condition", func(*enclave) string { return "" }, true, ""},
		{"PCR0", func(en *enclave) string { return equals("kms:RecipientAttestation:PCR0", en.pcrs[0]) }, true, ""},
		{"PCR0, no document", func(en *enclave) string { return equals("kms:RecipientAttestation:PCR0", en.pcrs[0]) }, false, codeAccessDenied},
		{"PCR0 of another image", func(*enclave) string { return equals("kms:RecipientAttestation:PCR0", measured("another")) }, true, codeAccessDenied},
		{"ImageSha384", func(en *enclave) string { return equals("kms:RecipientAttestation:ImageSha384", en.pcrs[0]) }, true, ""},
		{"ImageSha384 of another image", func(*enclave) string {
			return equals("kms:RecipientAttestation:ImageSha384", measured("another"))
		}, true, codeAccessDenied},
		{"PCR8", func(en *enclave) string { return equals("kms:RecipientAttestation:PCR8", en.pcrs[8]) }, true, ""},
		{"PCR8 of another signer", func(*enclave) string { return equals("kms:RecipientAttestation:PCR8", measured("another")) }, true, codeAccessDenied},
		{"upper case, ignored", func(en *enclave) string {
			return `{"StringEqualsIgnoreCase":{"kms:RecipientAttestation:PCR0":"` + strings.ToUpper(hex.EncodeToString(en.pcrs[0])) + `"}}`
		}, true, ""},
		{"upper case, compared", func(en *enclave) string {
			return `{"StringEquals":{"kms:RecipientAttestation:PCR0":"` + strings.ToUpper(hex.EncodeToString(en.pcrs[0])) + `"}}`
		}, true, codeAccessDenied},
		{"PCR31 that is not locked", func(en *enclave) string { return equals("kms:RecipientAttestation:PCR31", make([]byte, 48)) }, true, codeAccessDenied},
		{"PCR0 of a NitroTPM", func(en *enclave) string { return equals("kms:RecipientAttestation:NitroTPMPCR0", en.pcrs[0]) }, true, codeAccessDenied},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := newEnv(t)
			creds, role := e.role(t, "app")
			en := e.enclave(t, e.authority)
			id := e.key(t, policyFor(grantTo(role, tt.condition(en))))
			in := kms.GenerateDataKeyInput{KeyId: &id, KeySpec: types.DataKeySpecAes256}
			if tt.document {
				in.Recipient = en.recipient(t)
			}
			_, err := e.client(creds).GenerateDataKey(ctx, &in)
			if got := code(err); got != tt.want {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// A bad document is one thing wrong with a good one.
type badDocument struct {
	name string
	make func(t *testing.T, e *env, en *enclave) []byte
	want string // in the message
	off  weaken.Protection
}

var badDocuments = []badDocument{
	{"other root", func(t *testing.T, e *env, en *enclave) []byte {
		other := must[*attestation.Authority](t)(attestation.NewAuthority(attestation.Config{Clock: e.clock.Now}))
		return e.enclave(t, other).document(t)
	}, "chain", weaken.RecipientDocument},
	{"changed payload", func(t *testing.T, e *env, en *enclave) []byte {
		doc := en.document(t)
		at := bytes.Index(doc, en.pcrs[0])
		doc[at] ^= 1
		en.pcrs[0] = bytes.Clone(doc[at : at+48])
		return doc
	}, "signature", weaken.RecipientDocument},
	{"six minutes old", func(t *testing.T, e *env, en *enclave) []byte {
		doc := en.document(t)
		e.clock.Advance(6 * time.Minute)
		return doc
	}, "freshness", weaken.RecipientValidity},
	{"expired leaf", func(t *testing.T, e *env, en *enclave) []byte {
		doc := en.document(t)
		e.clock.Advance(3*time.Hour + time.Second)
		return doc
	}, "validity", weaken.RecipientValidity},
	{"from two minutes ahead", func(t *testing.T, e *env, en *enclave) []byte {
		e.clock.Advance(2 * time.Minute)
		doc := en.document(t)
		e.clock.Advance(-2 * time.Minute)
		return doc
	}, "timestamp", weaken.RecipientValidity},
	{"no CBOR", func(*testing.T, *env, *enclave) []byte { return []byte("document") }, "format", weaken.None},
	{"no public key", func(t *testing.T, e *env, en *enclave) []byte {
		en.spki = nil
		return en.document(t)
	}, "public_key: there is none", weaken.None},
	{"P-256 key", func(t *testing.T, e *env, en *enclave) []byte {
		key := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
		en.spki = must[[]byte](t)(x509.MarshalPKIXPublicKey(&key.PublicKey))
		return en.document(t)
	}, "an RSA key is expected", weaken.None},
	{"RSA of 1024 bits", func(t *testing.T, e *env, en *enclave) []byte {
		t.Setenv("GODEBUG", "rsa1024min=0")
		key := must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 1024))
		en.spki = must[[]byte](t)(x509.MarshalPKIXPublicKey(&key.PublicKey))
		return en.document(t)
	}, "2048 to 4096 are expected", weaken.None},
	{"key that is no SPKI", func(t *testing.T, e *env, en *enclave) []byte {
		en.spki = x509.MarshalPKCS1PublicKey(&en.key.PublicKey)
		return en.document(t)
	}, "no SubjectPublicKeyInfo", weaken.None},
}

// TestBadDocuments shows each beside its counter-proof: with the one protection off
// that it meets, the key is released.
func TestBadDocuments(t *testing.T) {
	for _, tt := range badDocuments {
		t.Run(tt.name, func(t *testing.T) {
			// The time of a request is compared too, and SigV4 allows five minutes:
			// requests are signed by the clock of the service.
			try := func(off weaken.Protection) (int, map[string]any) {
				e := newEnv(t, func(c *Config) {
					if off != weaken.None {
						c.Weaken = weaken.Only(off)
					}
				})
				user := e.user(t, testAccount, "app")
				en := e.enclave(t, e.authority)
				id := e.key(t, policyFor(grantTo("arn:aws:iam::"+testAccount+":user/app", "")))
				doc := tt.make(t, e, en)
				status, answer, _ := e.post(t, user, "GenerateDataKey", &kms.GenerateDataKeyInput{
					KeyId: &id, KeySpec: types.DataKeySpecAes256, Recipient: recipientOf(doc),
				})
				return status, answer
			}
			status, answer := try(weaken.None)
			message, _ := answer["message"].(string)
			if status != 400 || answer["__type"] != DefaultDocumentError || !strings.Contains(message, tt.want) {
				t.Errorf("got %d %v, want %q in the message", status, answer, tt.want)
			}
			if tt.off == weaken.None {
				return
			}
			status, answer = try(tt.off)
			if status != 200 || answer["CiphertextForRecipient"] == nil || answer["Plaintext"] != nil {
				t.Errorf("counter-proof, %q off: %d %v", tt.off, status, answer)
			}
		})
	}
}

func TestDocumentSettings(t *testing.T) {
	t.Run("window", func(t *testing.T) {
		for _, tt := range []struct {
			window, age time.Duration
			want        int
		}{
			{0, 4 * time.Minute, 200},
			{0, 6 * time.Minute, 400},
			{time.Minute, 2 * time.Minute, 400},
			{-1, 2 * time.Hour, 200},
			{-1, 4 * time.Hour, 400},
		} {
			e := newEnv(t, func(c *Config) { c.Window = tt.window })
			doc := e.enclave(t, e.authority).document(t)
			e.clock.Advance(tt.age)
			status, answer, _ := e.post(t, e.root, "GenerateRandom", &kms.GenerateRandomInput{NumberOfBytes: aws.Int32(1), Recipient: recipientOf(doc)})
			if status != tt.want {
				t.Errorf("window %v, age %v: %d %v", tt.window, tt.age, status, answer)
			}
		}
	})
	t.Run("error code", func(t *testing.T) {
		e := newEnv(t, func(c *Config) { c.DocumentError = "AccessDeniedException" })
		_, answer, _ := e.post(t, e.root, "GenerateRandom", &kms.GenerateRandomInput{NumberOfBytes: aws.Int32(1), Recipient: recipientOf([]byte("no"))})
		if answer["__type"] != "AccessDeniedException" || answer["Message"] == nil {
			t.Errorf("got %v", answer)
		}
	})
	t.Run("primitive envelope", func(t *testing.T) {
		e := newEnv(t, func(c *Config) { c.Primitive = true })
		en := e.enclave(t, e.authority)
		out := must[*kms.GenerateRandomOutput](t)(e.client(e.root).GenerateRandom(ctx, &kms.GenerateRandomInput{NumberOfBytes: aws.Int32(7), Recipient: en.recipient(t)}))
		if !bytes.Contains(out.CiphertextForRecipient, []byte{0x80, 0x10}) || len(en.open(t, out.CiphertextForRecipient)) != 7 {
			t.Errorf("envelope %x", out.CiphertextForRecipient)
		}
	})
}

// TestDebugEnclaves: which policies release to an enclave in debug mode.
func TestDebugEnclaves(t *testing.T) {
	zeros := make([]byte, 48)
	image := measured("PCR0")
	both := `{"StringEqualsIgnoreCase":{"kms:RecipientAttestation:PCR0":["` + hex.EncodeToString(image) + `","` + hex.EncodeToString(zeros) + `"]}}`
	for _, tt := range []struct {
		name       string
		conditions []string // of one statement each
		want       map[DebugDocuments]string
	}{
		{"no condition", []string{""}, map[DebugDocuments]string{DebugByPolicy: codeAccessDenied, DebugAccept: "", DebugRefuse: codeValidation}},
		{"PCR0 of the image", []string{equals(pcrKey(0), image)}, map[DebugDocuments]string{DebugByPolicy: codeAccessDenied, DebugAccept: codeAccessDenied, DebugRefuse: codeValidation}},
		{"PCR0 of zeros", []string{equals(pcrKey(0), zeros)}, map[DebugDocuments]string{DebugByPolicy: "", DebugAccept: "", DebugRefuse: codeValidation}},
		{"ImageSha384 of zeros", []string{equals(imageKey, zeros)}, map[DebugDocuments]string{DebugByPolicy: "", DebugAccept: "", DebugRefuse: codeValidation}},
		{"PCR2 of zeros", []string{equals(pcrKey(2), zeros)}, map[DebugDocuments]string{DebugByPolicy: "", DebugAccept: "", DebugRefuse: codeValidation}},
		{"image or zeros", []string{both}, map[DebugDocuments]string{DebugByPolicy: "", DebugAccept: "", DebugRefuse: codeValidation}},
		{"only PCR4, which debug mode keeps", []string{equals(pcrKey(4), measured("PCR4"))}, map[DebugDocuments]string{DebugByPolicy: codeAccessDenied, DebugAccept: "", DebugRefuse: codeValidation}},
		{"any PCR0", []string{`{"StringLike":{"kms:RecipientAttestation:PCR0":"*"}}`}, map[DebugDocuments]string{DebugByPolicy: codeAccessDenied, DebugAccept: "", DebugRefuse: codeValidation}},
		{"not another PCR0", []string{`{"StringNotEquals":{"kms:RecipientAttestation:PCR0":"` + hex.EncodeToString(image) + `"}}`}, map[DebugDocuments]string{DebugByPolicy: codeAccessDenied, DebugAccept: "", DebugRefuse: codeValidation}},
		{"zeros, and a statement for everybody", []string{equals(pcrKey(0), zeros), ""}, map[DebugDocuments]string{DebugByPolicy: codeAccessDenied, DebugAccept: "", DebugRefuse: codeValidation}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for mode, want := range tt.want {
				e := newEnv(t, func(c *Config) { c.Debug = mode })
				creds, role := e.role(t, "app")
				var statements []string
				for _, condition := range tt.conditions {
					statements = append(statements, grantTo(role, condition))
				}
				id := e.key(t, policyFor(statements...))
				_, err := e.client(creds).GenerateDataKey(ctx, &kms.GenerateDataKeyInput{
					KeyId: &id, KeySpec: types.DataKeySpecAes256, Recipient: e.enclave(t, e.authority).debug().recipient(t),
				})
				if got := code(err); got != want {
					t.Errorf("debug documents %v: got %v, want %q", mode, err, want)
				}
			}
		})
	}
}

// TestWeakenedConditions is the counter-proof to TestRecipientConditions: with the
// conditions off, another image, a debug enclave and a bare request get the key.
func TestWeakenedConditions(t *testing.T) {
	for _, off := range []bool{false, true} {
		e := newEnv(t, func(c *Config) {
			if off {
				c.Weaken = weaken.Only(weaken.RecipientConditions)
			}
		})
		creds, role := e.role(t, "app")
		id := e.key(t, policyFor(
			grantTo(role, equals(pcrKey(0), measured("the image"))),
			`{"Effect":"Deny","Principal":{"AWS":"`+role+`"},"Action":"kms:GenerateDataKey","Resource":"*","Condition":{"StringNotEqualsIgnoreCase":{"kms:RecipientAttestation:PCR8":"`+hex.EncodeToString(measured("the signer"))+`"}}}`))
		for name, r := range map[string]*types.RecipientInfo{
			"another image": e.enclave(t, e.authority).recipient(t),
			"debug":         e.enclave(t, e.authority).debug().recipient(t),
			"no document":   nil,
		} {
			_, err := e.client(creds).GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: &id, KeySpec: types.DataKeySpecAes256, Recipient: r})
			if released := err == nil; released != off {
				t.Errorf("%s, conditions off %v: %v", name, off, err)
			}
		}
		if off && !strings.Contains(e.Events()[len(e.Events())-1].WeakenedBy, "PROTECTION OFF") {
			t.Error("the audit log does not say that a protection is off")
		}
	}
}

// TestRecipientIsIgnoredElsewhere: operations without secrets have no Recipient.
func TestRecipientIsIgnoredElsewhere(t *testing.T) {
	e := newEnv(t)
	id := e.key(t, nil)
	status, answer, _ := e.post(t, e.root, "Encrypt", map[string]any{"KeyId": id, "Plaintext": "eA==", "Recipient": map[string]any{"AttestationDocument": "AAAA"}})
	if status != 200 || answer["CiphertextBlob"] == nil {
		t.Errorf("got %d %v", status, answer)
	}
}

// TestSealedToTheDocument: the key in the document counts, whatever its size.
func TestSealedToTheDocument(t *testing.T) {
	e := newEnv(t)
	en := e.enclave(t, e.authority)
	other := must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 3072))
	en.key, en.spki = other, must[[]byte](t)(x509.MarshalPKIXPublicKey(&other.PublicKey))
	out := must[*kms.GenerateRandomOutput](t)(e.client(e.root).GenerateRandom(ctx, &kms.GenerateRandomInput{NumberOfBytes: aws.Int32(16), Recipient: en.recipient(t)}))
	if got := en.open(t, out.CiphertextForRecipient); len(got) != 16 {
		t.Errorf("%d bytes", len(got))
	}
	ski := sha256.Sum256(must[[]byte](t)(x509.MarshalPKIXPublicKey(&recipientKey().PublicKey)))
	if bytes.Contains(out.CiphertextForRecipient, ski[:]) {
		t.Error("sealed to the key of another document")
	}
}

// TestNitroTPM: a document of an EC2 instance has its own condition keys, and opens
// nothing that waits for an enclave, nor the other way round.
func TestNitroTPM(t *testing.T) {
	const tpmKey = "kms:RecipientAttestation:NitroTPMPCR4"
	e := newEnv(t)
	creds, role := e.role(t, "app")
	c := e.client(creds)
	en := e.enclave(t, e.authority)
	instance := must[[]byte](t)(en.issuer.Document(attestation.Claims{NitroTPM: true, PCRs: en.pcrs, PublicKey: en.spki}))
	unmeasured := map[uint][]byte{4: en.pcrs[4], 0: make([]byte, 48)}
	zeros := must[[]byte](t)(en.issuer.Document(attestation.Claims{NitroTPM: true, PCRs: unmeasured, PublicKey: en.spki}))
	for _, tt := range []struct {
		name, condition string
		document        []byte
		want            string
	}{
		{"instance, its register", equals(tpmKey, en.pcrs[4]), instance, ""},
		{"instance, zeros are no debug mode", equals(tpmKey, en.pcrs[4]), zeros, ""},
		{"instance, another register", equals(tpmKey, measured("another")), instance, codeAccessDenied},
		{"instance, register of an enclave", equals(pcrKey(4), en.pcrs[4]), instance, codeAccessDenied},
		{"instance, image of an enclave", equals(attestationKeys+"ImageSha384", en.pcrs[0]), instance, codeAccessDenied},
		{"enclave, register of an instance", equals(tpmKey, en.pcrs[4]), en.document(t), codeAccessDenied},
		{"enclave, its register", equals(pcrKey(4), en.pcrs[4]), en.document(t), ""},
		{"changed", equals(tpmKey, en.pcrs[4]), append(instance[:len(instance)-1:len(instance)-1], instance[len(instance)-1]^1), "ValidationException"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			id := e.key(t, policyFor(grantTo(role, tt.condition)))
			out, err := c.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: &id, KeySpec: types.DataKeySpecAes256, Recipient: recipientOf(tt.document)})
			if got := code(err); got != tt.want {
				t.Fatalf("got %v, want %q", err, tt.want)
			}
			if err == nil && (out.Plaintext != nil || len(en.open(t, out.CiphertextForRecipient)) != 32) {
				t.Errorf("answer: %+v", out)
			}
		})
	}

	id := e.key(t, policyFor(grantTo(role, equals(tpmKey, en.pcrs[4]))))
	must[*kms.GenerateDataKeyOutput](t)(c.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: &id, KeySpec: types.DataKeySpecAes256, Recipient: recipientOf(zeros)}))
	want := map[string]any{
		"attestationDocumentModuleId":     "i-0a1b2c3d4e5f60718-enc0199abcdef012345",
		"attestationDocumentNitroTPMPCR0": strings.Repeat("00", 48),
		"attestationDocumentNitroTPMPCR4": hex.EncodeToString(en.pcrs[4]),
	}
	if diff := cmp.Diff(want, e.last(t)["additionalEventData"].(map[string]any)["recipient"]); diff != "" {
		t.Errorf("the record of it:\n%s", diff)
	}
}
