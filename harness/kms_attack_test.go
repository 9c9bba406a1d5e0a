package harness_test

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/nitrolab/nitrolab/devices/nsm/attestation"
	"github.com/nitrolab/nitrolab/devices/nsm/wire"
	"github.com/nitrolab/nitrolab/devices/weaken"
	"github.com/nitrolab/nitrolab/emulator/iam"
	"github.com/nitrolab/nitrolab/emulator/iam/policy"
	"github.com/nitrolab/nitrolab/emulator/services"
	"github.com/nitrolab/nitrolab/guest/envelope"
	"github.com/nitrolab/nitrolab/guest/nsm"
	"github.com/nitrolab/nitrolab/harness"
	"github.com/nitrolab/nitrolab/images/eif"
)

// A requester asks a key service for secrets with the stock SDK, as the role of an
// instance, with a document of its choice.
type requester struct {
	key    *rsa.PrivateKey // what answers have to be sealed to
	client *awskms.Client
	crypt  string // ARN of a symmetric key
	agree  string // ARN of a P-256 key for key agreement
	blob   []byte // something encrypted under crypt
}

// newRequester makes a key service of its own, weakened by w, that trusts documents
// of the Host and has keys with a policy of the given conditions.
func newRequester(t testing.TB, host *harness.Host, key *rsa.PrivateKey, w weaken.Set, now func() time.Time, statements ...any) *requester {
	t.Helper()
	s, err := services.New(services.Config{
		Region: host.Region(), Seed: make([]byte, 48), Roots: []*x509.Certificate{host.Root()},
		Role: inferenceRole, Clock: now, Weaken: w,
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.Serve(l)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	dial := func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", l.Addr().String())
	}
	root, err := s.IAM().CreateAccessKey(iam.RootARN(s.Account()))
	if err != nil {
		t.Fatal(err)
	}
	role, err := s.IAM().AssumeRole(inferenceRole, "attacker", iam.MinSession)
	if err != nil {
		t.Fatal(err)
	}
	client := func(c iam.Credentials) *awskms.Client {
		return awskms.NewFromConfig(s.Client(c, dial), func(o *awskms.Options) {
			o.RetryMaxAttempts = 1
			o.HTTPSignerV4 = signer{v4.NewSigner(), now}
		})
	}
	owner := client(root)
	r := &requester{key: key, client: client(role)}
	text := keyPolicy(t, s.Account(), statements...)
	crypt, err := owner.CreateKey(t.Context(), &awskms.CreateKeyInput{Policy: &text})
	if err != nil {
		t.Fatal(err)
	}
	agree, err := owner.CreateKey(t.Context(), &awskms.CreateKeyInput{
		Policy: &text, KeySpec: types.KeySpecEccNistP256, KeyUsage: types.KeyUsageTypeKeyAgreement,
	})
	if err != nil {
		t.Fatal(err)
	}
	r.crypt, r.agree = *crypt.KeyMetadata.Arn, *agree.KeyMetadata.Arn
	box, err := owner.Encrypt(t.Context(), &awskms.EncryptInput{KeyId: &r.crypt, Plaintext: []byte("the secret")})
	if err != nil {
		t.Fatal(err)
	}
	r.blob = box.CiphertextBlob
	// GenerateRandom has no key, and so is allowed by policies of the role.
	identity, err := policy.Parse(mustJSON(t, map[string]any{"Version": "2012-10-17", "Statement": forIdentity(t, statements)}))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.IAM().SetPolicies(inferenceRole, identity); err != nil {
		t.Fatal(err)
	}
	return r
}

// signer signs at a time of its own.
type signer struct {
	*v4.Signer
	now func() time.Time
}

func (s signer) SignHTTP(ctx context.Context, c aws.Credentials, r *http.Request, hash, service, region string, _ time.Time, opts ...func(*v4.SignerOptions)) error {
	return s.Signer.SignHTTP(ctx, c, r, hash, service, region, s.now(), opts...)
}

// attested are the five operations that take a Recipient.
var attested = []string{"kms:Decrypt", "kms:GenerateDataKey", "kms:GenerateDataKeyPair", "kms:GenerateRandom", "kms:DeriveSharedSecret"}

// allow is a statement that gives the role all of them, on conditions.
func allow(conditions map[string]string) any {
	s := map[string]any{"Effect": "Allow", "Principal": map[string]any{"AWS": inferenceRole}, "Action": attested, "Resource": "*"}
	if len(conditions) > 0 {
		s["Condition"] = map[string]any{"StringEqualsIgnoreCase": conditions}
	}
	return s
}

// toImage is the condition that names an image.
func toImage(pcr0 eif.Digest) map[string]string {
	return map[string]string{"kms:RecipientAttestation:ImageSha384": fmt.Sprintf("%x", pcr0[:])}
}

// keyPolicy is statements behind one for the owner, who may encrypt and not decrypt.
func keyPolicy(t testing.TB, account string, statements ...any) string {
	t.Helper()
	owner := map[string]any{
		"Effect": "Allow", "Principal": map[string]any{"AWS": iam.RootARN(account)}, "Resource": "*",
		"Action": []string{"kms:Encrypt", "kms:Describe*", "kms:Put*", "kms:Get*"},
	}
	return string(mustJSON(t, map[string]any{"Version": "2012-10-17", "Statement": append([]any{owner}, statements...)}))
}

// forIdentity is statements for GenerateRandom in a policy of the role itself.
func forIdentity(t testing.TB, statements []any) (list []any) {
	t.Helper()
	for _, s := range statements {
		var copied map[string]any
		if err := json.Unmarshal(mustJSON(t, s), &copied); err != nil {
			t.Fatal(err)
		}
		delete(copied, "Principal")
		copied["Action"] = "kms:GenerateRandom"
		list = append(list, copied)
	}
	return list
}

func mustJSON(t testing.TB, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// take tries to get a secret by each of the five operations. It is ErrStopped if all
// are refused; that some are is a failure of the test.
func (r *requester) take(t testing.TB, document []byte) error {
	t.Helper()
	var refused []error
	for _, op := range attested {
		secret, err := r.ask(t, op, document)
		switch {
		case err == nil && len(secret) == 0:
			t.Errorf("%s: an empty secret", op)
		case err != nil && !strings.Contains(err.Error(), "AccessDeniedException") && !strings.Contains(err.Error(), "ValidationException"):
			t.Errorf("%s: %v", op, err)
		case err != nil:
			refused = append(refused, err)
		}
	}
	switch len(refused) {
	case 0:
		return nil
	case len(attested):
		return fmt.Errorf("%w: %w", harness.ErrStopped, errors.Join(refused...))
	}
	t.Errorf("%d of %d operations are refused: %v", len(refused), len(attested), errors.Join(refused...))
	return nil
}

// ask opens what one operation answers. A plaintext member beside it is a failure of
// the test.
func (r *requester) ask(t testing.TB, op string, document []byte) ([]byte, error) {
	t.Helper()
	to := &types.RecipientInfo{AttestationDocument: document, KeyEncryptionAlgorithm: types.KeyEncryptionMechanismRsaesOaepSha256}
	if document == nil {
		to = nil
	}
	var sealed, plain []byte
	var err error
	switch op {
	case "kms:Decrypt":
		var out *awskms.DecryptOutput
		if out, err = r.client.Decrypt(t.Context(), &awskms.DecryptInput{CiphertextBlob: r.blob, Recipient: to}); err == nil {
			sealed, plain = out.CiphertextForRecipient, out.Plaintext
		}
	case "kms:GenerateDataKey":
		var out *awskms.GenerateDataKeyOutput
		if out, err = r.client.GenerateDataKey(t.Context(), &awskms.GenerateDataKeyInput{KeyId: &r.crypt, KeySpec: types.DataKeySpecAes256, Recipient: to}); err == nil {
			sealed, plain = out.CiphertextForRecipient, out.Plaintext
		}
	case "kms:GenerateDataKeyPair":
		var out *awskms.GenerateDataKeyPairOutput
		if out, err = r.client.GenerateDataKeyPair(t.Context(), &awskms.GenerateDataKeyPairInput{KeyId: &r.crypt, KeyPairSpec: types.DataKeyPairSpecEccNistP256, Recipient: to}); err == nil {
			sealed, plain = out.CiphertextForRecipient, out.PrivateKeyPlaintext
		}
	case "kms:GenerateRandom":
		var out *awskms.GenerateRandomOutput
		if out, err = r.client.GenerateRandom(t.Context(), &awskms.GenerateRandomInput{NumberOfBytes: aws.Int32(32), Recipient: to}); err == nil {
			sealed, plain = out.CiphertextForRecipient, out.Plaintext
		}
	case "kms:DeriveSharedSecret":
		var other *ecdh.PrivateKey
		if other, err = ecdh.P256().GenerateKey(rand.Reader); err != nil {
			t.Fatal(err)
		}
		spki, err2 := x509.MarshalPKIXPublicKey(other.PublicKey())
		if err2 != nil {
			t.Fatal(err2)
		}
		var out *awskms.DeriveSharedSecretOutput
		if out, err = r.client.DeriveSharedSecret(t.Context(), &awskms.DeriveSharedSecretInput{
			KeyId: &r.agree, KeyAgreementAlgorithm: types.KeyAgreementAlgorithmSpecEcdh, PublicKey: spki, Recipient: to,
		}); err == nil {
			sealed, plain = out.CiphertextForRecipient, out.SharedSecret
		}
	}
	if err != nil {
		return nil, err
	}
	if document == nil {
		return plain, nil
	}
	if len(plain) > 0 {
		t.Errorf("%s: the answer to a Recipient has plaintext", op)
	}
	return envelope.Open(r.key, sealed)
}

// Who gets a secret by any of the five operations: with documents out of real
// enclaves, and each refusal beside the run in which the one thing that refuses is
// off.
func TestKeyRelease(t *testing.T) {
	vm(t, 2)
	host := harness.New(t)
	image := harness.AgentEIF(t)
	m := measured(t, image)
	production := host.StartEnclave(t, image)
	debug := host.StartEnclave(t, image, harness.Debug())
	production.WaitRunning(t)
	debug.WaitRunning(t)

	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	document := func(e *harness.Enclave) []byte {
		d, err := nsm.New(nsm.TransportFunc(e.NSM(t))).Attest(wire.Attestation{PublicKey: spki})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	genuine, ofDebug := document(production), document(debug)
	ours, another := allow(toImage(m.PCR0)), allow(toImage(eif.Digest{1}))

	t.Run("the named image gets everything", func(t *testing.T) {
		if err := newRequester(t, host, key, weaken.Set{}, host.Now, ours).take(t, genuine); err != nil {
			t.Error(err)
		}
	})

	attack := func(name string, p weaken.Protection, now func() time.Time, statement any, document []byte) {
		harness.Attack{Name: name, Protection: p, Run: func(t testing.TB, w weaken.Set) error {
			return newRequester(t, host, key, w, now, statement).take(t, document)
		}}.CounterProof(t)
	}
	attack("another image", weaken.RecipientConditions, host.Now, another, genuine)
	attack("no document", weaken.RecipientConditions, host.Now, ours, nil)
	attack("leaf expired", weaken.RecipientValidity, func() time.Time { return host.Now().Add(4 * time.Hour) }, ours, genuine)
	attack("document of half an hour ago", weaken.RecipientValidity, func() time.Time { return host.Now().Add(30 * time.Minute) }, ours, genuine)
	attack("document of a self-made root", weaken.RecipientDocument, host.Now, ours, forged(t, m, spki))
	attack("signature changed", weaken.RecipientDocument, host.Now, ours, flipped(genuine))

	// Here the protection is the policy, and the counter-proof a weaker one.
	policies := []struct {
		name     string
		document []byte
		holds    []any
		weak     []any
	}{
		{"debug mode", ofDebug, []any{ours}, []any{allow(toImage(eif.Digest{}))}},
		{"debug mode, policy without conditions on the image", ofDebug,
			[]any{allow(map[string]string{"kms:RecipientAttestation:PCR4": pcr4(host)})}, []any{ours, allow(toImage(eif.Digest{}))}},
		{"no document, a second statement without conditions", nil, []any{ours}, []any{ours, allow(nil)}},
		{"another image, a second statement without conditions", genuine, []any{another}, []any{another, allow(nil)}},
		{"unsigned image", genuine,
			[]any{allow(map[string]string{"kms:RecipientAttestation:PCR8": fmt.Sprintf("%x", make([]byte, 47)) + "01"})}, []any{ours}},
	}
	for _, p := range policies {
		t.Run(p.name, func(t *testing.T) {
			if err := newRequester(t, host, key, weaken.Set{}, host.Now, p.holds...).take(t, p.document); !errors.Is(err, harness.ErrStopped) {
				t.Errorf("released: %v", err)
			}
			if err := newRequester(t, host, key, weaken.Set{}, host.Now, p.weak...).take(t, p.document); err != nil {
				t.Errorf("with the weaker policy: %v", err)
			}
		})
	}
}

// forged is a document that says what a genuine one would, by an authority that
// anyone can make.
func forged(t *testing.T, m eif.Measurements, publicKey []byte) []byte {
	t.Helper()
	a, err := attestation.NewAuthority(attestation.Config{Names: attestation.NamesAWS})
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := a.Enclave(attestation.EnclaveID{InstanceID: "i-00000000000000001", SlotUID: 1, Region: "us-east-1"})
	if err != nil {
		t.Fatal(err)
	}
	d, err := issuer.Document(attestation.Claims{
		PCRs:      map[uint][]byte{0: m.PCR0[:], 1: m.PCR1[:], 2: m.PCR2[:]},
		PublicKey: publicKey,
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// flipped has another signature: its last byte is that of the document.
func flipped(document []byte) []byte {
	d := append([]byte(nil), document...)
	d[len(d)-1] ^= 1
	return d
}

func pcr4(host *harness.Host) string {
	return fmt.Sprintf("%x", extended(host.InstanceID()))
}
