package weights_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"net"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/devices/nsm/attestation"
	"github.com/nitrolab/nitrolab/emulator/iam"
	"github.com/nitrolab/nitrolab/emulator/services"
	"github.com/nitrolab/nitrolab/emulator/weights"
	"github.com/nitrolab/nitrolab/guest/inference/sealed"
)

const role = "arn:aws:iam::111122223333:role/parent"

func TestPolicy(t *testing.T) {
	type object = map[string]any
	tests := []struct {
		name    string
		release weights.Release
		want    object // the condition of the statement that releases
	}{
		{"image and context", weights.Release{PCRs: map[uint][]byte{0: {1, 2}, 8: {0xff}}, Context: map[string]string{"model": "m"}}, object{
			"StringEqualsIgnoreCase": object{"kms:RecipientAttestation:PCR0": "0102", "kms:RecipientAttestation:PCR8": "ff"},
			"StringEquals":           object{"kms:EncryptionContext:model": "m"},
		}},
		{"image", weights.Release{PCRs: map[uint][]byte{0: {1}}}, object{"StringEqualsIgnoreCase": object{"kms:RecipientAttestation:PCR0": "01"}}},
		{"neither", weights.Release{}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.release.Account, tt.release.Role = "111122223333", role
			var p struct {
				Statement []struct {
					Principal map[string]string
					Action    any
					Condition object
				}
			}
			if err := json.Unmarshal([]byte(tt.release.Policy()), &p); err != nil {
				t.Fatal(err)
			}
			last := p.Statement[len(p.Statement)-1]
			if last.Principal["AWS"] != role || last.Action != "kms:Decrypt" {
				t.Errorf("%v may %v", last.Principal, last.Action)
			}
			if diff := cmp.Diff(tt.want, last.Condition); diff != "" {
				t.Errorf("condition (-want +got):\n%s", diff)
			}
			if text, _ := json.Marshal(p.Statement[0].Action); bytes.Contains(text, []byte("Decrypt")) {
				t.Errorf("the administrators may %s", text)
			}
		})
	}
}

// The owner's work against the real key service: what comes out names the key and the
// context, and neither the owner nor the role can open it.
func TestPublish(t *testing.T) {
	authority, err := attestation.NewAuthority(attestation.Config{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := services.New(services.Config{Region: "us-east-1", Seed: make([]byte, 48), Roots: []*x509.Certificate{authority.Root()}, Role: role})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.Serve(l)
	client := func(c iam.Credentials, err error) *kms.Client {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return kms.NewFromConfig(s.Client(c, func(ctx context.Context) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", l.Addr().String())
		}))
	}
	owner := client(s.IAM().CreateAccessKey(iam.RootARN(s.Account())))
	r := weights.Release{Account: s.Account(), Role: role, PCRs: map[uint][]byte{0: bytes.Repeat([]byte{7}, 48)}, Context: map[string]string{"model": "m"}}
	m := weights.Model{Name: "tiny", Alias: "alias/tiny", Weights: []byte("the weights")}
	p, err := weights.Publish(t.Context(), owner, r, m)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(p.Sealed, m.Weights) {
		t.Error("the weights are in the clear")
	}
	h, err := sealed.ReadHeader(p.Sealed)
	if err != nil {
		t.Fatal(err)
	}
	if h.Name != "tiny" || h.KeyID != p.KeyARN || cmp.Diff(r.Context, h.Context) != "" {
		t.Errorf("header %+v, key %s", h, p.KeyARN)
	}
	for who, c := range map[string]*kms.Client{"owner": owner, "role": client(s.IAM().AssumeRole(role, "session", iam.MinSession))} {
		_, err := c.Decrypt(t.Context(), &kms.DecryptInput{CiphertextBlob: h.WrappedKey, EncryptionContext: h.Context})
		if err == nil || !strings.Contains(err.Error(), "AccessDeniedException") {
			t.Errorf("decrypt by %s: %v", who, err)
		}
	}
	if _, err := weights.Publish(t.Context(), owner, r, m); err == nil {
		t.Error("a second key got the alias of the first")
	}
}
