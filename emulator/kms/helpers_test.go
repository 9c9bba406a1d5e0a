package kms

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"

	"github.com/nitrolab/nitrolab/devices/nsm/attestation"
	"github.com/nitrolab/nitrolab/emulator/iam"
	"github.com/nitrolab/nitrolab/emulator/iam/policy"
	"github.com/nitrolab/nitrolab/emulator/kms/keys"
)

const (
	testRegion  = "us-east-1"
	testAccount = "111122223333"
	elsewhere   = "444455556666" // another account
)

// A clock that tests set; by default it is the machine's.
type testClock struct {
	mu     sync.Mutex
	offset time.Duration
}

func (c *testClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.offset)
}

func (c *testClock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset += d
}

// An env is a Service with all it needs.
type env struct {
	*Service
	clock     *testClock
	directory *iam.Directory
	ring      *keys.Ring
	authority *attestation.Authority
	server    *httptest.Server // TLS, HTTP/1.1
	root      iam.Credentials  // of testAccount
}

func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// newParts is a Config without a server around it.
func newParts(t testing.TB) Config {
	t.Helper()
	ring := must[*keys.Ring](t)(keys.New(keys.Config{Region: testRegion, Account: testAccount}))
	authority := must[*attestation.Authority](t)(attestation.NewAuthority(attestation.Config{}))
	return Config{
		Region: testRegion, Account: testAccount, Directory: iam.NewDirectory(testAccount, nil, nil), Ring: ring,
		Roots: []*x509.Certificate{authority.Root()},
	}
}

func newEnv(t testing.TB, change ...func(*Config)) *env {
	t.Helper()
	e := &env{clock: &testClock{}}
	e.directory = iam.NewDirectory(testAccount, e.clock.Now, nil)
	if err := e.directory.AddAccount(elsewhere); err != nil {
		t.Fatal(err)
	}
	e.ring = must[*keys.Ring](t)(keys.New(keys.Config{Region: testRegion, Account: testAccount, Clock: e.clock.Now}))
	e.authority = must[*attestation.Authority](t)(attestation.NewAuthority(attestation.Config{Clock: e.clock.Now}))
	cfg := Config{
		Region: testRegion, Account: testAccount, Directory: e.directory, Ring: e.ring,
		Roots: []*x509.Certificate{e.authority.Root()}, Clock: e.clock.Now,
	}
	for _, f := range change {
		f(&cfg)
	}
	e.Service = must[*Service](t)(New(cfg))
	e.server = httptest.NewUnstartedServer(e.Service)
	e.server.StartTLS()
	t.Cleanup(func() {
		e.server.Close()
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		if err := e.ring.Close(); err != nil {
			t.Error(err)
		}
	})
	e.root = must[iam.Credentials](t)(e.directory.CreateAccessKey(iam.RootARN(testAccount)))
	return e
}

func parsePolicy(t testing.TB, text string) *policy.Policy {
	t.Helper()
	return must[*policy.Policy](t)(policy.Parse([]byte(text)))
}

// user makes a user with an identity policy of these statements, none if empty.
func (e *env) user(t testing.TB, account, name string, statements ...string) iam.Credentials {
	t.Helper()
	var policies []*policy.Policy
	for _, s := range statements {
		policies = append(policies, parsePolicy(t, `{"Version":"2012-10-17","Statement":[`+s+`]}`))
	}
	arn := must[string](t)(e.directory.CreateUser(account, name, policies...))
	return must[iam.Credentials](t)(e.directory.CreateAccessKey(arn))
}

// role makes a session of a role without identity policies, and gives the role's ARN.
func (e *env) role(t testing.TB, name string, policies ...*policy.Policy) (iam.Credentials, string) {
	t.Helper()
	arn := must[string](t)(e.directory.CreateRole(testAccount, name, policies...))
	return must[iam.Credentials](t)(e.directory.AssumeRole(arn, "i-0a1b2c3d4e5f60718", time.Hour)), arn
}

func provider(c iam.Credentials) aws.CredentialsProvider {
	return credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, c.SessionToken)
}

// client is the unmodified SDK, without retries.
func (e *env) client(c iam.Credentials) *kms.Client {
	return kms.New(kms.Options{
		Region: testRegion, Credentials: provider(c), BaseEndpoint: aws.String(e.server.URL),
		HTTPClient: e.server.Client(), RetryMaxAttempts: 1,
	})
}

// policyFor is a key policy: the root of the account may do everything but what the
// tests are about, and what statements say.
func policyFor(statements ...string) *string {
	text := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + iam.RootARN(testAccount) + `"},"Action":"kms:*","Resource":"*"}`
	for _, s := range statements {
		text += "," + s
	}
	return aws.String(text + "]}")
}

// key makes a symmetric key with a policy, nil for the default.
func (e *env) key(t testing.TB, p *string) string {
	t.Helper()
	return e.keyOf(t, &kms.CreateKeyInput{Policy: p})
}

func (e *env) keyOf(t testing.TB, in *kms.CreateKeyInput) string {
	t.Helper()
	out := must[*kms.CreateKeyOutput](t)(e.client(e.root).CreateKey(context.Background(), in))
	return *out.KeyMetadata.Arn
}

// code is the error code of err, empty without one.
func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// post sends a signed request, at the clock of the service, straight to the handler.
func (e *env) post(t testing.TB, c iam.Credentials, op string, body any) (int, map[string]any, *httptest.ResponseRecorder) {
	t.Helper()
	text, ok := body.(string)
	if !ok {
		text = string(must[[]byte](t)(json.Marshal(body)))
	}
	r := e.request(t, c, op, []byte(text))
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	var answer map[string]any
	if w.Body.Len() > 0 {
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
			t.Fatalf("%s: the answer is no JSON object: %q", op, w.Body)
		}
	}
	return w.Code, answer, w
}

func (e *env) request(t testing.TB, c iam.Credentials, op string, body []byte) *http.Request {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "https://kms.us-east-1.amazonaws.com/", bytes.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("X-Amz-Target", targetPrefix+op)
	sum := sha256.Sum256(body)
	creds := aws.Credentials{AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey, SessionToken: c.SessionToken}
	if err := v4.NewSigner().SignHTTP(context.Background(), creds, r, hex.EncodeToString(sum[:]), "kms", testRegion, e.clock.Now()); err != nil {
		t.Fatal(err)
	}
	return r
}

// An enclave makes documents.
type enclave struct {
	issuer *attestation.Issuer
	key    *rsa.PrivateKey
	spki   []byte
	pcrs   map[uint][]byte
}

// recipientKey is one for all tests: RSA keys take their time.
var recipientKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// measured is a register that was extended once.
func measured(text string) []byte {
	sum := sha512.Sum384([]byte(text))
	return sum[:]
}

func (e *env) enclave(t testing.TB, authority *attestation.Authority) *enclave {
	t.Helper()
	issuer := must[*attestation.Issuer](t)(authority.Enclave(attestation.EnclaveID{
		InstanceID: "i-0a1b2c3d4e5f60718", SlotUID: 0x0199abcdef012345, Region: testRegion,
	}))
	en := &enclave{issuer: issuer, key: recipientKey(), pcrs: map[uint][]byte{}}
	en.spki = must[[]byte](t)(x509.MarshalPKIXPublicKey(&en.key.PublicKey))
	for i := range uint(16) {
		en.pcrs[i] = make([]byte, 48)
	}
	for _, i := range []uint{0, 1, 2, 3, 4, 8} {
		en.pcrs[i] = measured(fmt.Sprintf("PCR%d", i))
	}
	return en
}

// debug makes it an enclave in debug mode.
func (en *enclave) debug() *enclave {
	for _, i := range []uint{0, 1, 2, 8} {
		en.pcrs[i] = make([]byte, 48)
	}
	return en
}

func (en *enclave) document(t testing.TB) []byte {
	t.Helper()
	return must[[]byte](t)(en.issuer.Document(attestation.Claims{PCRs: en.pcrs, PublicKey: en.spki}))
}

func (en *enclave) recipient(t testing.TB) *types.RecipientInfo {
	t.Helper()
	return recipientOf(en.document(t))
}

func recipientOf(document []byte) *types.RecipientInfo {
	return &types.RecipientInfo{AttestationDocument: document, KeyEncryptionAlgorithm: types.KeyEncryptionMechanismRsaesOaepSha256}
}

// open decrypts CiphertextForRecipient in its constructed or primitive form. It
// looks at the last two levels only: package envelope has tests of its own.
func (en *enclave) open(t testing.TB, sealed []byte) []byte {
	t.Helper()
	size := en.key.Size()
	at := bytes.Index(sealed, []byte{0x04, 0x82, byte(size >> 8), byte(size)})
	iv := bytes.Index(sealed, []byte{0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2a, 0x04, 0x10})
	if at < 0 || iv < 0 {
		t.Fatalf("no CMS envelope: %x", sealed)
	}
	ski := sha256.Sum256(en.spki)
	if !bytes.Contains(sealed[:at], ski[:]) {
		t.Error("the envelope is not for this key")
	}
	cek := must[[]byte](t)(rsa.DecryptOAEP(sha256.New(), nil, en.key, sealed[at+4:at+4+size], nil))
	rest := sealed[iv+11+16:]
	var content []byte
	if rest[0] == 0xa0 && rest[1] == 0x80 {
		for rest = rest[2:]; rest[0] == 0x04; {
			var chunk asn1.RawValue
			rest = must[[]byte](t)(asn1.Unmarshal(rest, &chunk))
			content = append(content, chunk.Bytes...)
		}
	} else {
		var primitive asn1.RawValue
		must[[]byte](t)(asn1.Unmarshal(rest, &primitive))
		content = primitive.Bytes
	}
	block := must[cipher.Block](t)(aes.NewCipher(cek))
	cipher.NewCBCDecrypter(block, sealed[iv+11:iv+11+16]).CryptBlocks(content, content)
	return content[:len(content)-int(content[len(content)-1])]
}
