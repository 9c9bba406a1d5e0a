package harness_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/nitrolab/nitrolab/devices/vsock/ports"
	"github.com/nitrolab/nitrolab/emulator/iam"
	"github.com/nitrolab/nitrolab/emulator/kms"
	modelweights "github.com/nitrolab/nitrolab/emulator/weights"
	"github.com/nitrolab/nitrolab/guest/channel"
	"github.com/nitrolab/nitrolab/guest/inference/completion"
	"github.com/nitrolab/nitrolab/guest/inference/sealed"
	"github.com/nitrolab/nitrolab/guest/model/weights"
	"github.com/nitrolab/nitrolab/harness"
	"github.com/nitrolab/nitrolab/images/bundle"
	"github.com/nitrolab/nitrolab/images/eif"
	"github.com/nitrolab/nitrolab/images/guestprog"
)

const inferenceRole = "arn:aws:iam::123456789012:role/parent"

// signedNow makes a spec sign its image with a certificate of the day.
func signedNow(t *testing.T) func(*bundle.Spec) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "owner of the model"},
		NotBefore:    time.Now().Add(-24 * time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := eif.NewKeySigner(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), key)
	if err != nil {
		t.Fatal(err)
	}
	return func(s *bundle.Spec) { s.Signer = signer }
}

// measured are the measurements of an image file.
func measured(t *testing.T, path string) eif.Measurements {
	t.Helper()
	im, err := eif.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer im.Close()
	m, err := im.Measure()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// releaseTo is the owner's policy: only the measured image, signed by the owner.
func releaseTo(host *harness.Host, m eif.Measurements) modelweights.Release {
	r := modelweights.Release{
		Account: host.Account(), Role: inferenceRole,
		PCRs: map[uint][]byte{0: m.PCR0[:]}, Context: harness.WeightsContext(),
	}
	if m.Signed {
		r.PCRs[8] = m.PCR8[:]
	}
	return r
}

// open is a client's attested channel over conn to an enclave with measurements m.
func open(t *testing.T, host *harness.Host, conn net.Conn, m eif.Measurements, edit ...func(*channel.Config)) (*channel.Conn, error) {
	t.Helper()
	cfg := channel.Config{Options: harness.Policy(m, nil), Timeout: host.Timeout(20 * time.Second)}
	cfg.Options.Roots = []*x509.Certificate{host.Root()}
	cfg.Options.Time = host.Now()
	for _, e := range edit {
		e(&cfg)
	}
	ctx, cancel := context.WithTimeout(t.Context(), host.Timeout(30*time.Second))
	defer cancel()
	return channel.Client(ctx, conn, cfg)
}

// prompts asks the first few of the examples, and wants their answers.
func prompts(t *testing.T, host *harness.Host, c *channel.Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), host.Timeout(60*time.Second))
	defer cancel()
	for _, e := range weights.Examples()[:3] {
		got, err := completion.Ask(ctx, c, e.Prompt, len(e.Completion)+1)
		if err != nil || got != e.Completion {
			t.Errorf("%q is completed with %q, %v; want %q", e.Prompt, got, err, e.Completion)
		}
	}
}

// The whole story: weights encrypted under a key that one signed image gets, handed
// to an instance as ciphertext; its enclave attests, gets the data key through the
// parent's vsock-proxy, and answers a client over an attested channel.
func TestConfidentialInference(t *testing.T) {
	vm(t, 2)
	host := harness.New(t, harness.Role(inferenceRole))
	image := harness.InferenceEIF(t, host, signedNow(t))
	m := measured(t, image)
	if !m.Signed {
		t.Fatal("the image is not signed")
	}
	published := host.Publish(t, releaseTo(host, m), weights.Model())

	parent := host.Launch(t)
	parent.Allocate(t, 512, 2)
	agent := parent.Agent(t)
	put := func(path string, mode os.FileMode, content []byte) {
		t.Helper()
		if err := agent.Put(t.Context(), path, mode, bytes.NewReader(content)); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	put("/srv/inference.eif", 0o644, text)
	put("/srv/weights.sealed", 0o644, published.Sealed)
	put("/srv/inferctl", 0o755, harness.Program(t, guestprog.InferCtl))
	parent.Pipe(t, fmt.Sprintf("vsock-proxy %d kms.%s.amazonaws.com 443", ports.KMSProxy, host.Region()))
	enclave := parent.RunEnclave(t, "/srv/inference.eif", 256, 2)
	out := parent.Exec(t, fmt.Sprintf("/srv/inferctl provision --cid %d --weights /srv/weights.sealed", enclave.EnclaveCID))
	if want := fmt.Sprintf("enclave %d runs model \"answers\"\n", enclave.EnclaveCID); out != want {
		t.Errorf("inferctl provision says %q, want %q", out, want)
	}
	parent.Pipe(t, fmt.Sprintf("/srv/inferctl relay --cid %d", enclave.EnclaveCID))

	t.Run("client", func(t *testing.T) {
		c, err := open(t, host, parent.DialReady(t, ports.Inference), m)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		prompts(t, host, c)
		if id := c.Result().Document.ModuleID; !strings.HasPrefix(id, parent.ID()+"-enc") {
			t.Errorf("the channel ends in %s", id)
		}
	})

	t.Run("audit log names the enclave", func(t *testing.T) {
		e := lastEvent(t, host, "Decrypt")
		if e.ErrorCode != "" || e.Additional == nil || e.Additional.Recipient == nil {
			t.Fatalf("event %+v", e)
		}
		got := e.Additional.Recipient
		if !strings.HasPrefix(got.ModuleID, parent.ID()+"-enc") || got.PCRs[0] != fmt.Sprintf("%x", m.PCR0[:]) || got.PCRs[8] != fmt.Sprintf("%x", m.PCR8[:]) {
			t.Errorf("recipient %+v", got)
		}
		if !strings.Contains(e.Identity.ARN, "assumed-role/parent/"+parent.ID()) {
			t.Errorf("asked by %s", e.Identity.ARN)
		}
	})

	t.Run("the parent gets nothing", func(t *testing.T) {
		// With all that it has: the ciphertext, the role, and the network.
		header, err := sealed.ReadHeader(published.Sealed)
		if err != nil {
			t.Fatal(err)
		}
		c, err := host.IAM().AssumeRole(inferenceRole, parent.ID(), iam.MinSession)
		if err != nil {
			t.Fatal(err)
		}
		_, err = awskms.NewFromConfig(host.AWS(c)).Decrypt(t.Context(), &awskms.DecryptInput{
			KeyId: aws.String(published.KeyARN), CiphertextBlob: header.WrappedKey, EncryptionContext: header.Context,
		})
		if err == nil || !strings.Contains(err.Error(), "AccessDeniedException") {
			t.Errorf("decrypt without a document: %v", err)
		}
	})

	t.Run("the parent's memory holds no weights", func(t *testing.T) {
		// From the middle of the file, so that nothing but the weights is like it.
		model := weights.Model()
		canary := model[len(model)/2:][:64]
		if inRAM(t, parent, canary) {
			t.Error("the instance holds weights in the clear")
		}
		ciphertext := published.Sealed[len(published.Sealed)/2:][:64]
		if !inRAM(t, parent, ciphertext) {
			t.Error("the search does not find the ciphertext either")
		}
	})
}

// inRAM says whether the instance's memory holds a pattern.
func inRAM(t *testing.T, parent *harness.Instance, pattern []byte) (yes bool) {
	t.Helper()
	err := parent.RAM().Find(pattern, func(int64) bool { yes = true; return false })
	if err != nil {
		t.Fatal(err)
	}
	return yes
}

// lastEvent is the newest record of an operation in the audit log.
func lastEvent(t *testing.T, host *harness.Host, name string) kms.Event {
	t.Helper()
	events := host.KMS().Events()
	for i := len(events) - 1; i >= 0; i-- {
		if events[i].Name == name {
			return events[i]
		}
	}
	t.Fatalf("no %s in the audit log", name)
	return kms.Event{}
}

// setPolicy replaces the policy of a key.
func setPolicy(t testing.TB, owner *awskms.Client, key, policy string) {
	t.Helper()
	described, err := owner.DescribeKey(t.Context(), &awskms.DescribeKeyInput{KeyId: &key})
	if err != nil {
		t.Fatal(err)
	}
	_, err = owner.PutKeyPolicy(t.Context(), &awskms.PutKeyPolicyInput{KeyId: described.KeyMetadata.KeyId, Policy: &policy})
	if err != nil {
		t.Fatal(err)
	}
}
