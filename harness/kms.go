package harness

import (
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/nitrolab/nitrolab/emulator"
	"github.com/nitrolab/nitrolab/emulator/iam"
	"github.com/nitrolab/nitrolab/emulator/services"
	"github.com/nitrolab/nitrolab/guest/inference/provision"
)

// KMS changes the key service of the Host.
func KMS(edit func(*services.KMSConfig)) HostOption {
	return func(c *emulator.Config) error { edit(&c.KMS); return nil }
}

// Owner is a stock client of the key service with the credentials of the account's
// root user: who makes keys and writes their policies.
func (h *Host) Owner(t testing.TB) *kms.Client {
	t.Helper()
	h.owner.once.Do(func() {
		var c iam.Credentials
		if c, h.owner.err = h.IAM().CreateAccessKey(iam.RootARN(h.Account())); h.owner.err == nil {
			h.owner.client = kms.NewFromConfig(h.AWS(c))
		}
	})
	if h.owner.err != nil {
		t.Fatalf("harness: %v", h.owner.err)
	}
	return h.owner.client
}

// owner is made once for a Host: a root user has two access keys at most.
type owner struct {
	once   sync.Once
	client *kms.Client
	err    error
}

// RoleCredentials are what the metadata service gives out for a role of the Host,
// by its ARN, for a test that plays the parent itself.
func (h *Host) RoleCredentials(t testing.TB, role string) provision.Credentials {
	t.Helper()
	c, err := h.IAM().AssumeRole(role, h.InstanceID(), time.Hour)
	if err != nil {
		t.Fatalf("harness: %v", err)
	}
	return provision.Credentials{AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey, SessionToken: c.SessionToken}
}

// ProxyKMS is the vsock-proxy of a Host that plays the parent: enclaves reach the
// key service at CID 3, port 8000. It ends with t.
func (h *Host) ProxyKMS(t testing.TB) {
	t.Helper()
	p, err := h.Host.ProxyKMS()
	if err != nil {
		t.Fatalf("harness: %v", err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("harness: %v", err)
		}
	})
}
