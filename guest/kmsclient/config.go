package kmsclient

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/mdlayher/vsock"

	"github.com/nitrolab/nitrolab/devices/vsock/ports"
	"github.com/nitrolab/nitrolab/devices/weaken"
)

// Defaults and limits of a [Config].
const (
	DefaultMaxAttempts    = 3 // as the AWS SDKs' standard retry mode
	MaxMaxAttempts        = 10
	DefaultAttemptTimeout = 15 * time.Second
	DefaultTimeout        = time.Minute

	// MinKeyBits and MaxKeyBits bound the recipient's RSA key, which AWS's
	// enclave SDK makes with 2048, 3072 or 4096 bits.
	MinKeyBits = 2048
	MaxKeyBits = 4096
)

// parentCID is that of the parent as an enclave sees it (VMADDR_CID_PARENT of
// AWS's enclave SDK).
const parentCID = 3

// A Config says whom to ask, as whom, and how. Region, Credentials, Roots and
// Attest are required.
type Config struct {
	// Region is that of the key service, such as us-east-1.
	Region string

	// Credentials sign the requests. They come from the parent, and are good for
	// what the parent's role may do; the document is what makes the difference.
	Credentials aws.CredentialsProvider

	// Roots are the only certificate authorities that the key service's
	// certificate may lead to. They belong into the image, where they are
	// measured.
	Roots *x509.CertPool

	// Attest makes an attestation document with publicKey in its field
	// public_key: a DER SubjectPublicKeyInfo. It is called once for each call, so
	// that the document is of now; KMS refuses old ones.
	Attest func(ctx context.Context, publicKey []byte) (document []byte, err error)

	// Dial opens a stream to the key service's TLS port; nil means by way of the
	// vsock-proxy in the parent, CID 3 port 8000.
	Dial func(ctx context.Context) (net.Conn, error)

	// Key is what answers are sealed to; nil makes one of 2048 bits. It must not
	// leave the enclave.
	Key *rsa.PrivateKey

	// MaxAttempts is how often a request is sent at most, 1 to MaxMaxAttempts;
	// 0 means DefaultMaxAttempts.
	MaxAttempts int

	// AttemptTimeout bounds one attempt from dialling to the last byte of the
	// answer; 0 means DefaultAttemptTimeout.
	AttemptTimeout time.Duration

	// Timeout bounds a whole call: making the document, all attempts and the
	// pauses between them. 0 means DefaultTimeout. An earlier deadline of the
	// call's context counts too.
	Timeout time.Duration

	// Weaken switches weaken.ServiceTLS or weaken.SealedAnswer off, in tests.
	Weaken weaken.Set
}

// complete checks c and fills in what is left open.
func (c *Config) complete() error {
	switch {
	case !validRegion(c.Region):
		return fmt.Errorf("region is %q; allowed are names such as us-east-1", c.Region)
	case c.Credentials == nil:
		return errors.New("credentials are missing")
	case c.Roots == nil:
		return errors.New("roots are missing: the key service must be known by its certificate")
	case c.Attest == nil:
		return errors.New("attest is missing: there is no secret without a document")
	case c.MaxAttempts < 0 || c.MaxAttempts > MaxMaxAttempts:
		return fmt.Errorf("max attempts is %d; allowed are 1 to %d", c.MaxAttempts, MaxMaxAttempts)
	case c.AttemptTimeout < 0:
		return fmt.Errorf("attempt timeout is %v; allowed are positive ones", c.AttemptTimeout)
	case c.Timeout < 0:
		return fmt.Errorf("timeout is %v; allowed are positive ones", c.Timeout)
	}
	if c.MaxAttempts == 0 {
		c.MaxAttempts = DefaultMaxAttempts
	}
	if c.AttemptTimeout == 0 {
		c.AttemptTimeout = DefaultAttemptTimeout
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.Dial == nil {
		c.Dial = dialProxy
	}
	if c.Key == nil {
		key, err := rsa.GenerateKey(rand.Reader, MinKeyBits)
		if err != nil {
			return fmt.Errorf("make recipient key: %w", err)
		}
		c.Key = key
	}
	if n := c.Key.N.BitLen(); n < MinKeyBits || n > MaxKeyBits {
		return fmt.Errorf("key has %d bits; allowed are %d to %d", n, MinKeyBits, MaxKeyBits)
	}
	return nil
}

// validRegion keeps a region from becoming another host name.
func validRegion(s string) bool {
	if s == "" || len(s) > 32 || strings.HasPrefix(s, "-") || strings.HasSuffix(s, "-") {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-'
	})
}

func dialProxy(ctx context.Context) (net.Conn, error) {
	c, err := vsock.DialContext(ctx, parentCID, ports.KMSProxy, nil)
	if err != nil {
		return nil, err // not a nil *vsock.Conn in a net.Conn
	}
	return c, nil
}
