package inference_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"io"
	"log"
	"log/slog"
	"maps"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/nitrolab/nitrolab/devices/nsm/attestation"
	"github.com/nitrolab/nitrolab/devices/nsm/wire"
	"github.com/nitrolab/nitrolab/guest/channel"
	"github.com/nitrolab/nitrolab/guest/envelope/envelopetest"
	"github.com/nitrolab/nitrolab/guest/inference"
	"github.com/nitrolab/nitrolab/guest/inference/provision"
	"github.com/nitrolab/nitrolab/guest/inference/sealed"
	"github.com/nitrolab/nitrolab/guest/model/weights"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	region = "us-east-1"
	host   = "kms.us-east-1.amazonaws.com"

	// The owner's key and its alias, and those of whoever runs the parent.
	account  = "arn:aws:kms:us-east-1:123456789012:"
	alias    = account + "alias/weights"
	keyARN   = account + "key/1234abcd-12ab-34cd-56ef-1234567890ab"
	theirARN = "arn:aws:kms:us-east-1:999999999999:key/99999999-12ab-34cd-56ef-1234567890ab"

	theirAccessKey = "ASIATHEIRS"

	secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY" // AWS's documentation uses it
	token  = "token-of-the-session"
)

func pinned() map[string]string { return map[string]string{"model": "answers"} }

func credentials() provision.Credentials {
	return provision.Credentials{AccessKeyID: "ASIAIOSFODNN7EXAMPLE", SecretAccessKey: secret, SessionToken: token}
}

// An authority issues certificates of the key service.
type authority struct {
	key         *ecdsa.PrivateKey
	certificate *x509.Certificate
}

// The clock of a synctest bubble begins in 2000, before there were any enclaves:
// documents are of today instead.
var (
	begin = time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)
	today = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
)

func newAuthority() *authority {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: begin, NotAfter: begin.AddDate(200, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return &authority{key, certificate}
}

func (a *authority) issue() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{host},
		NotBefore: begin, NotAfter: begin.AddDate(200, 0, 0), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &key.PublicKey, a.key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// trusted is in the image, stranger is not.
var trusted, stranger = newAuthority(), newAuthority()

// decrypt is the body of a Decrypt request, with blobs out of their base64.
type decrypt struct {
	CiphertextBlob    []byte
	KeyID             string `json:"KeyId"`
	EncryptionContext map[string]string
	Recipient         struct {
		AttestationDocument    []byte
		KeyEncryptionAlgorithm string
	}
	Authorization string `json:"-"`
	Token         string `json:"-"`
}

// A wrapped data key.
type wrapped struct {
	arn     string
	context map[string]string
	dataKey []byte
}

// A keyService knows Decrypt, as much as KMS would of it: an alias, and keys of two
// accounts. It does not verify documents.
type keyService struct {
	*network

	mu      sync.Mutex // protects what follows
	blobs   map[string]wrapped
	faults  []http.HandlerFunc // answer first, one by one
	got     []decrypt
	persona *authority // signs the certificate
	plain   bool       // answers with Plaintext whatever the recipient
	last    string     // the newest of blobs

	refusing atomic.Bool // connections
}

func (k *keyService) dial(ctx context.Context) (net.Conn, error) {
	if k.refusing.Load() {
		return nil, errors.New("connection reset by peer")
	}
	return k.network.dial(ctx)
}

// serve runs it until the test ends.
func (k *keyService) serve(t *testing.T) {
	server := &http.Server{Handler: k, ErrorLog: log.New(io.Discard, "", 0)}
	cfg := &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		k.mu.Lock()
		defer k.mu.Unlock()
		c := k.persona.issue()
		return &c, nil
	}}
	served := make(chan error, 1)
	go func() { served <- server.Serve(tls.NewListener(k, cfg)) }()
	t.Cleanup(func() {
		server.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve = %v", err)
		}
	})
}

func (k *keyService) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var d decrypt
	if err := json.NewDecoder(r.Body).Decode(&d); err != nil {
		panic(err)
	}
	d.Authorization, d.Token = r.Header.Get("Authorization"), r.Header.Get("X-Amz-Security-Token")
	k.mu.Lock()
	k.got = append(k.got, d)
	var fault http.HandlerFunc
	if len(k.faults) > 0 {
		fault, k.faults = k.faults[0], k.faults[1:]
	}
	blob, known := k.blobs[string(d.CiphertextBlob)]
	plain := k.plain
	k.mu.Unlock()

	if fault != nil {
		fault(w, r)
		return
	}
	asked := d.KeyID
	switch {
	case asked == "alias/weights" && strings.Contains(d.Authorization, theirAccessKey):
		asked = theirARN // everybody can have an alias of this name
	case asked == alias:
		asked = keyARN
	}
	switch {
	case r.Header.Get("X-Amz-Target") != "TrentService.Decrypt":
		exception(400, "UnknownOperationException", "")(w, r)
	case !known || !maps.Equal(blob.context, d.EncryptionContext):
		exception(400, "InvalidCiphertextException", "")(w, r)
	case asked != "" && asked != blob.arn:
		exception(400, "IncorrectKeyException", "The key ID in the request does not identify a CMK that can perform this operation.")(w, r)
	default:
		members := map[string]any{"KeyId": blob.arn, "EncryptionAlgorithm": "SYMMETRIC_DEFAULT"}
		if plain || len(d.Recipient.AttestationDocument) == 0 {
			members["Plaintext"] = blob.dataKey
		} else {
			members["CiphertextForRecipient"] = envelopetest.Seal(recipient(d.Recipient.AttestationDocument), blob.dataKey)
		}
		object(members)(w, r)
	}
}

// recipient is the key in a document.
func recipient(document []byte) *rsa.PublicKey {
	d, err := attestation.Parse(document)
	if err != nil {
		panic(err)
	}
	key, err := x509.ParsePKIXPublicKey(d.PublicKey)
	if err != nil {
		panic(err)
	}
	return key.(*rsa.PublicKey)
}

func object(members any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		if err := json.NewEncoder(w).Encode(members); err != nil {
			panic(err)
		}
	}
}

func exception(status int, code, message string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.WriteHeader(status)
		object(map[string]string{"__type": code, "Message": message})(w, r)
	}
}

func reset(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func silent(_ http.ResponseWriter, r *http.Request) {
	<-r.Context().Done()
	panic(http.ErrAbortHandler)
}

// always is a fault for every attempt of a call.
func always(f http.HandlerFunc) []http.HandlerFunc { return []http.HandlerFunc{f, f, f} }

// wrap makes a data key under a key, and seals a file with it.
func (k *keyService) wrap(t *testing.T, arn string, context map[string]string, plaintext []byte) []byte {
	t.Helper()
	dataKey := make([]byte, sealed.KeySize)
	rand.Read(dataKey)
	return k.seal(t, sealed.Header{Name: "answers", KeyID: arn, Context: context}, dataKey, dataKey, plaintext)
}

// seal seals with one key, and wraps another.
func (k *keyService) seal(t *testing.T, h sealed.Header, with, wrap, plaintext []byte) []byte {
	t.Helper()
	h.WrappedKey = []byte(rand.Text())
	k.mu.Lock()
	k.last = string(h.WrappedKey)
	k.blobs[k.last] = wrapped{h.KeyID, h.Context, wrap}
	k.mu.Unlock()
	var file bytes.Buffer
	if err := sealed.Seal(&file, with, h, plaintext); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

// answersWith sets what the next calls meet.
func (k *keyService) answersWith(faults ...http.HandlerFunc) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.faults = faults
}

// be makes the service another than the key service: somebody in between.
func (k *keyService) be(persona *authority, plain bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.persona, k.plain = persona, plain
}

// recover ends all that tests do to it.
func (k *keyService) recover() {
	k.answersWith()
	k.be(trusted, false)
	k.refusing.Store(false)
}

// rewrap changes what the service knows about the newest file.
func (k *keyService) rewrap(change func(*wrapped)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	b := k.blobs[k.last]
	change(&b)
	k.blobs[k.last] = b
}

func (k *keyService) requests() []decrypt {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]decrypt(nil), k.got...)
}

// A world is a server with everything around it.
type world struct {
	kms               *keyService
	authority         *attestation.Authority
	issuer            *attestation.Issuer
	provisioning      *network
	inference         *network
	logged            *buffer
	pcr0              []byte
	attestationFailed error // if set, instead of documents
	attested          atomic.Int32
}

// start runs a server until the test ends, for which it must not fail.
func start(t *testing.T, change func(*inference.Config)) *world {
	t.Helper()
	w := newWorld(t)
	s := w.server(t, change)
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, w.provisioning, w.inference) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve = %v", err)
		}
		for _, s := range []string{secret, token} {
			if strings.Contains(w.logged.String(), s) {
				t.Errorf("the log has a secret:\n%s", w.logged)
			}
		}
	})
	return w
}

func newWorld(t *testing.T) *world {
	t.Helper()
	a, err := attestation.NewAuthority(attestation.Config{Clock: func() time.Time { return today }})
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := a.Enclave(attestation.EnclaveID{InstanceID: "i-0a1b2c3d4e5f60718", SlotUID: 1, Region: region})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		kms:       &keyService{network: newNetwork(), blobs: make(map[string]wrapped), persona: trusted},
		authority: a, issuer: issuer, provisioning: newNetwork(), inference: newNetwork(), logged: &buffer{},
		pcr0: bytes.Repeat([]byte{0x11}, 48),
	}
	w.kms.serve(t)
	return w
}

// server makes a server that has the world for its enclave.
func (w *world) server(t *testing.T, change func(*inference.Config)) *inference.Server {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(trusted.certificate)
	cfg := inference.Config{
		Settings: inference.Settings{Region: region, KeyID: alias, Context: pinned()},
		Roots:    roots, Attest: w.attest, DialKMS: w.kms.dial,
		Log: slog.New(slog.NewTextHandler(w.logged, nil)),
	}
	if change != nil {
		change(&cfg)
	}
	s, err := inference.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (w *world) attest(a wire.Attestation) ([]byte, error) {
	w.attested.Add(1)
	if w.attestationFailed != nil {
		return nil, w.attestationFailed
	}
	return w.issuer.Document(attestation.Claims{
		PCRs:      map[uint][]byte{0: w.pcr0, 1: w.pcr0, 2: w.pcr0},
		PublicKey: a.PublicKey, UserData: a.UserData, Nonce: a.Nonce,
	})
}

// provision sends a request as a parent does.
func (w *world) provision(t *testing.T, r provision.Request) (string, error) {
	t.Helper()
	c, err := w.provisioning.dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return provision.Send(t.Context(), c, r)
}

// code is why provisioning failed; empty if it did not.
func (w *world) code(t *testing.T, r provision.Request) provision.Code {
	t.Helper()
	_, err := w.provision(t, r)
	if err == nil {
		return ""
	}
	var refused *provision.Error
	if !errors.As(err, &refused) {
		t.Fatalf("provision: %v", err)
	}
	for _, s := range []string{secret, token} {
		if strings.Contains(refused.Text, s) {
			t.Errorf("the reply has a secret: %s", refused.Text)
		}
	}
	return refused.Code
}

// ready provisions the model of this project.
func (w *world) ready(t *testing.T) {
	t.Helper()
	name, err := w.provision(t, provision.Request{Credentials: credentials(), Weights: w.kms.wrap(t, keyARN, pinned(), weights.Model())})
	if err != nil || name != "answers" {
		t.Fatalf("provision = %q, %v", name, err)
	}
}

// client opens a channel, which the test closes.
func (w *world) client(t *testing.T) *channel.Conn {
	t.Helper()
	c, err := w.inference.dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	session, err := channel.Client(t.Context(), c, w.channelConfig())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { session.Close() })
	return session
}

// channelConfig asks for the enclave of this world.
func (w *world) channelConfig() channel.Config {
	return channel.Config{Options: attestation.Options{
		Roots: []*x509.Certificate{w.authority.Root()}, PCRs: map[uint][]byte{0: w.pcr0}, Time: today,
	}}
}

// A buffer takes what several goroutines write.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
