package harness_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nitrolab/nitrolab/devices/nsm/ask"
	"github.com/nitrolab/nitrolab/devices/nsm/attestation"
	"github.com/nitrolab/nitrolab/devices/vsock/ports"
	"github.com/nitrolab/nitrolab/devices/weaken"
	"github.com/nitrolab/nitrolab/emulator/kms"
	"github.com/nitrolab/nitrolab/emulator/kms/envelope"
	modelweights "github.com/nitrolab/nitrolab/emulator/weights"
	"github.com/nitrolab/nitrolab/guest/channel"
	"github.com/nitrolab/nitrolab/guest/inference/provision"
	"github.com/nitrolab/nitrolab/guest/inference/sealed"
	"github.com/nitrolab/nitrolab/guest/model/weights"
	"github.com/nitrolab/nitrolab/harness"
)

// A scene is a Host that plays the parent of two enclaves: the product's, and its weak
// twin, for counter-proofs. The owner's key is for both.
type scene struct {
	host         *harness.Host
	strong, weak *harness.Enclave
	sealed       []byte // the owner's weights
}

func newScene(t *testing.T) *scene {
	t.Helper()
	vm(t, 2)
	s := &scene{host: harness.New(t, harness.Role(inferenceRole))}
	s.strong = s.host.StartEnclave(t, harness.InferenceEIF(t, s.host))
	s.weak = s.host.StartEnclave(t, harness.WeakInferenceEIF(t, s.host))
	r := releaseTo(s.host, s.strong.Measurements())
	r.PCRs = map[uint][]byte{4: extended(s.host.InstanceID())} // every enclave of this instance
	s.sealed = s.host.Publish(t, r, weights.Model()).Sealed
	s.strong.WaitRunning(t)
	s.weak.WaitRunning(t)
	return s
}

// provision gives the enclave that w is for sealed weights. The error is ErrStopped if
// it refuses with the code.
func (s *scene) provision(t testing.TB, w weaken.Set, p weaken.Protection, sealed []byte, code provision.Code) error {
	t.Helper()
	e, off := s.strong, weaken.None
	if w.Off(p) {
		e, off = s.weak, p
	}
	err := e.Provision(t, s.host.RoleCredentials(t, inferenceRole), sealed, off)
	var refused *provision.Error
	if errors.As(err, &refused) && refused.Code == code {
		return fmt.Errorf("%w: %w", harness.ErrStopped, err)
	}
	return err
}

// What a parent can do to the enclave's way to its key. Each attack ends with the
// enclave running a model that is not the owner's, or with the key in the clear on the
// way; stopped, the enclave has none.
func TestParentAgainstKeyRelease(t *testing.T) {
	s := newScene(t)
	harness.Attack{
		Name: "the parent answers for the key service", Protection: weaken.ServiceTLS,
		Run: func(t testing.TB, w weaken.Set) error {
			sealed, wrapped := attackersWeights(t)
			impostor(t, s.host, wrapped)
			return s.provision(t, w, weaken.ServiceTLS, sealed, provision.CodeCertificate)
		},
	}.CounterProof(t)

	s.host.ProxyKMS(t)
	harness.Attack{
		Name: "the key service answers plaintext", Protection: weaken.SealedAnswer,
		Run: func(t testing.TB, w weaken.Set) error {
			defer s.host.KMS().Inject(kms.Fault{Kind: kms.FaultPlaintext, Op: "Decrypt"})()
			return s.provision(t, w, weaken.SealedAnswer, s.sealed, provision.CodePlaintext)
		},
	}.CounterProof(t)
	harness.Attack{
		Name: "weights under another key", Protection: weaken.KeyBinding,
		Run: func(t testing.TB, w weaken.Set) error {
			return s.provision(t, w, weaken.KeyBinding, s.underAnotherKey(t), provision.CodeKey)
		},
	}.CounterProof(t)
	harness.Attack{
		Name: "weights for another purpose under the same key", Protection: weaken.KeyBinding,
		Run: func(t testing.TB, w weaken.Set) error {
			return s.provision(t, w, weaken.KeyBinding, s.forAnotherPurpose(t), provision.CodeContext)
		},
	}.CounterProof(t)

	t.Run("trouble on the way", func(t *testing.T) { s.trouble(t) })
	t.Run("the product has nothing to switch off", func(t *testing.T) {
		err := s.strong.Provision(t, s.host.RoleCredentials(t, inferenceRole), s.sealed, weaken.ServiceTLS)
		var refused *provision.Error
		if !errors.As(err, &refused) || refused.Code != provision.CodeRequest {
			t.Errorf("answer %v", err)
		}
	})
}

// trouble is a key service that is slow, busy, broken or gone: a few tries, then a
// clear end, and never another way to the key.
func (s *scene) trouble(t *testing.T) {
	tests := []struct {
		name  string
		fault kms.Fault
		want  provision.Code // empty: it works in the end
		asked int            // how often the key service sees the request
	}{
		{"throttled twice", kms.Fault{Kind: kms.FaultThrottle, Times: 2}, "", 3},
		{"throttled for ever", kms.Fault{Kind: kms.FaultThrottle}, provision.CodeThrottled, 3},
		{"server error once", kms.Fault{Kind: kms.FaultInternal, Times: 1}, "", 2},
		{"server errors for ever", kms.Fault{Kind: kms.FaultInternal}, provision.CodeUnavailable, 3},
		{"connection dropped once", kms.Fault{Kind: kms.FaultDrop, Times: 1}, "", 2},
		{"connections dropped for ever", kms.Fault{Kind: kms.FaultDrop}, provision.CodeUnavailable, 3},
		{"no answer once", kms.Fault{Kind: kms.FaultDelay, Times: 1, Delay: time.Minute}, "", 1}, // the one that nobody waits for any more is not logged
		{"denied", kms.Fault{Kind: kms.FaultDeny}, provision.CodeDenied, 1},
		{"sealed to another key", kms.Fault{Kind: kms.FaultOtherKey}, provision.CodeAnswer, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.fault.Op = "Decrypt"
			before := decrypts(s.host)
			remove := s.host.KMS().Inject(tt.fault)
			err := s.strong.Provision(t, s.host.RoleCredentials(t, inferenceRole), s.sealed, weaken.None)
			remove()
			var refused *provision.Error
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tt.want != "" && (!errors.As(err, &refused) || refused.Code != tt.want):
				t.Errorf("answer %v, want code %q", err, tt.want)
			}
			if n := decrypts(s.host) - before; n != tt.asked {
				t.Errorf("asked %d times, want %d", n, tt.asked)
			}
		})
	}
}

// decrypts counts the Decrypt requests that the key service saw, with a document all of
// them.
func decrypts(host *harness.Host) (n int) {
	for _, e := range host.KMS().Events() {
		if e.Name == "Decrypt" {
			n++
		}
	}
	return n
}

// attackersWeights are weights sealed by the attacker, with the data key.
func attackersWeights(t testing.TB) (file, dataKey []byte) {
	t.Helper()
	dataKey = make([]byte, sealed.KeySize)
	_, _ = rand.Read(dataKey)
	var b strings.Builder
	h := sealed.Header{Name: "evil", WrappedKey: []byte("anything"), Context: harness.WeightsContext()}
	if err := sealed.Seal(&b, dataKey, h, weights.Model()); err != nil {
		t.Fatal(err)
	}
	return []byte(b.String()), dataKey
}

// impostor is a parent that keeps the enclave's connections to the key service for
// itself, and answers each Decrypt with its own data key, sealed to the enclave: it
// knows the public key from the document.
func impostor(t testing.TB, host *harness.Host, dataKey []byte) {
	t.Helper()
	l := host.Listen(t, ports.KMSProxy)
	server := &http.Server{
		ErrorLog: log.New(io.Discard, "", 0),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var request struct {
				Recipient struct{ AttestationDocument []byte }
			}
			if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
				t.Errorf("request to the impostor: %v", err)
				return
			}
			document, err := attestation.Parse(request.Recipient.AttestationDocument)
			if err != nil {
				t.Errorf("request to the impostor: %v", err)
				return
			}
			answer, err := envelope.Seal(rand.Reader, document.PublicKey, dataKey, envelope.Constructed)
			if err != nil {
				t.Errorf("request to the impostor: %v", err)
				return
			}
			w.Header().Set("Content-Type", "application/x-amz-json-1.1")
			_ = json.NewEncoder(w).Encode(map[string]any{
				"KeyId":                  "arn:aws:kms:" + host.Region() + ":" + host.Account() + ":key/00000000-0000-0000-0000-000000000000",
				"EncryptionAlgorithm":    "SYMMETRIC_DEFAULT",
				"CiphertextForRecipient": answer,
			})
		}),
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{selfSigned(t, "kms."+host.Region()+".amazonaws.com")}}))
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-ended
	})
}

func selfSigned(t testing.TB, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// underAnotherKey is what an attacker with the role can make: weights of its own, for
// the enclave's context, under a key of the account that the role may use.
func (s *scene) underAnotherKey(t testing.TB) []byte {
	t.Helper()
	owner := s.host.Owner(t)
	open := modelweights.Release{Account: s.host.Account(), Role: inferenceRole, Context: harness.WeightsContext()}
	key, err := modelweights.CreateKey(t.Context(), owner, open.Policy(), fmt.Sprintf("alias/attacker-%d", time.Now().UnixNano()))
	if err != nil {
		t.Fatal(err)
	}
	file, err := modelweights.Encrypt(t.Context(), owner, key, harness.WeightsContext(), modelweights.Model{Name: "evil", Weights: weights.Model()})
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// forAnotherPurpose are other weights of the same owner, under the same key, which the
// policy lets the role use too.
func (s *scene) forAnotherPurpose(t testing.TB) []byte {
	t.Helper()
	owner := s.host.Owner(t)
	r := modelweights.Release{Account: s.host.Account(), Role: inferenceRole, PCRs: map[uint][]byte{4: extended(s.host.InstanceID())}}
	policy := r.Policy()
	setPolicy(t, owner, harness.WeightsAlias, policy)
	file, err := modelweights.Encrypt(t.Context(), owner, harness.WeightsAlias, map[string]string{"model": "discarded"}, modelweights.Model{Name: "discarded", Weights: weights.Model()})
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// A parent that stands between a client and the enclave: it shows the client a channel
// of its own, and the enclave's own document over the client's nonce.
func TestParentAgainstChannel(t *testing.T) {
	vm(t, 1)
	host := harness.New(t, harness.Role(inferenceRole))
	enclave := host.RunEnclave(t, harness.InferenceEIF(t, host))
	m := enclave.Measurements()

	t.Run("nobody between", func(t *testing.T) {
		c, err := open(t, host, enclave.Dial(t, ports.Inference), m)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	})
	harness.Attack{
		Name: "the parent reads a prompt", Protection: weaken.ChannelKey,
		Run: func(t testing.TB, w weaken.Set) error {
			ours, theirs := net.Pipe()
			read := make(chan error, 1)
			go func() { read <- between(host, theirs, enclave.Dial(t, ports.Inference), t) }()
			c, err := open(t.(*testing.T), host, ours, m, func(c *channel.Config) { c.Weaken = w })
			var refused *attestation.VerifyError
			if errors.As(err, &refused) {
				<-read
				return fmt.Errorf("%w: %w", harness.ErrStopped, err)
			}
			if err != nil {
				return err
			}
			defer c.Close()
			if err := c.Send(t.Context(), []byte("a secret prompt")); err != nil {
				return err
			}
			return <-read
		},
	}.CounterProof(t)
}

// between plays an enclave to a client, with the document of a real one, and returns
// nil if it could read the client's first frame.
func between(host *harness.Host, client, enclave net.Conn, t testing.TB) error {
	defer client.Close()
	deadline := time.Now().Add(host.Timeout(30 * time.Second))
	_ = client.SetDeadline(deadline)
	_ = enclave.SetDeadline(deadline)
	there := tls.Client(enclave, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, NextProtos: []string{"nitrolab-channel/1"}})
	here := tls.Server(client, &tls.Config{Certificates: []tls.Certificate{selfSigned(t, "enclave")}, MinVersion: tls.VersionTLS13, NextProtos: []string{"nitrolab-channel/1"}})
	nonce, err := ask.ReadQuestion(here)
	if err != nil {
		return err
	}
	document, err := ask.Ask(there, nonce)
	if err != nil {
		return err
	}
	if err := ask.WriteAnswer(here, document); err != nil {
		return err
	}
	frame := make([]byte, 4+len("a secret prompt"))
	if _, err := io.ReadFull(here, frame); err != nil {
		return err
	}
	if !strings.HasSuffix(string(frame), "a secret prompt") {
		return fmt.Errorf("read %q", frame)
	}
	return nil
}
