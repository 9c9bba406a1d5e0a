package emulator

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/nitrolab/nitrolab/devices/vsock"
	"github.com/nitrolab/nitrolab/devices/vsock/ports"
	"github.com/nitrolab/nitrolab/emulator/iam"
	"github.com/nitrolab/nitrolab/guest/linklocal/endpoints"
)

// owner is a stock client with the credentials of the account's root user.
func owner(t *testing.T, h *Host) *awskms.Client {
	t.Helper()
	c, err := h.IAM().CreateAccessKey(iam.RootARN(h.Account()))
	if err != nil {
		t.Fatal(err)
	}
	return awskms.NewFromConfig(h.AWS(c))
}

func TestStockClientUsesKey(t *testing.T) {
	h := newFakeHost(t, "run")
	client := owner(t, h.Host)
	key, err := client.CreateKey(t.Context(), &awskms.CreateKeyInput{})
	if err != nil {
		t.Fatal(err)
	}
	box, err := client.Encrypt(t.Context(), &awskms.EncryptInput{KeyId: key.KeyMetadata.Arn, Plaintext: []byte("secret")})
	if err != nil {
		t.Fatal(err)
	}
	got, err := client.Decrypt(t.Context(), &awskms.DecryptInput{CiphertextBlob: box.CiphertextBlob})
	if err != nil {
		t.Fatal(err)
	}
	if string(got.Plaintext) != "secret" || aws.ToString(got.KeyId) != aws.ToString(key.KeyMetadata.Arn) {
		t.Errorf("decrypted %q with %s", got.Plaintext, aws.ToString(got.KeyId))
	}
	var names []string
	for _, e := range h.KMS().Events() {
		names = append(names, e.Name)
	}
	if diff := cmp.Diff([]string{"CreateKey", "Encrypt", "Decrypt"}, names); diff != "" {
		t.Errorf("audit log (-want +got):\n%s", diff)
	}
}

// Two Hosts know nothing of each other: the credentials of one open nothing at the
// other, and its CA is not the other's.
func TestServicesOfTwoHosts(t *testing.T) {
	a, b := newFakeHost(t, "run"), newFakeHost(t, "run")
	if a.ServicesRoot().Equal(b.ServicesRoot()) {
		t.Error("two Hosts have one CA")
	}
	c, err := a.IAM().CreateAccessKey(iam.RootARN(a.Account()))
	if err != nil {
		t.Fatal(err)
	}
	_, err = awskms.NewFromConfig(b.AWS(c)).ListKeys(t.Context(), &awskms.ListKeysInput{})
	if err == nil || !strings.Contains(err.Error(), "UnrecognizedClientException") {
		t.Errorf("credentials of another Host: %v", err)
	}
}

func TestNamesOfServices(t *testing.T) {
	h := newFakeHost(t, "run")
	conn, err := h.own.dial(t.Context(), vsock.CIDParent, vsock.CIDHost, ports.DNS)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	q := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 7, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName("kms." + DefaultRegion + ".amazonaws.com."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}},
	}
	query, err := q.Pack()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(append([]byte{byte(len(query) >> 8), byte(len(query))}, query...)); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 512)
	n, err := conn.Read(answer)
	if err != nil || n < 2 {
		t.Fatalf("%d bytes, %v", n, err)
	}
	var m dnsmessage.Message
	if err := m.Unpack(answer[2:n]); err != nil {
		t.Fatal(err)
	}
	if len(m.Answers) != 1 || m.Answers[0].Body.(*dnsmessage.AResource).A != endpoints.Services.As4() {
		t.Errorf("answers %v", m.Answers)
	}
}

// An enclave's CID 2 is its parent, so that the services are the parent's alone.
func TestProxyKMS(t *testing.T) {
	h := newFakeHost(t, "run")
	p, err := h.ProxyKMS()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.ProxyKMS(); err == nil {
		t.Error("two proxies at one port")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := h.Dial(ctx, 16, vsock.CIDParent, ports.KMSProxy)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("a connection outlives the proxy")
	}
	if c, err := h.Dial(ctx, 16, vsock.CIDParent, ports.KMSProxy); err == nil {
		_ = c.Close()
		t.Error("the port outlives the proxy")
	}
}

func TestServeOnThisMachine(t *testing.T) {
	h := newFakeHost(t, "run")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.Services().Serve(l)
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	if c, err := net.Dial("tcp", l.Addr().String()); err == nil {
		_ = c.Close()
		t.Error("the listener outlives the Host")
	}
}
