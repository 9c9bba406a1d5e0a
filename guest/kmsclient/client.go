package kmsclient

import (
	"context"
	"crypto/x509"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/nitrolab/nitrolab/devices/weaken"
	"github.com/nitrolab/nitrolab/guest/envelope"
)

// A Client asks one region's key service. It is safe for concurrent use. Secrets
// that its methods return are the caller's to wipe.
type Client struct {
	cfg       Config
	publicKey []byte // DER SubjectPublicKeyInfo
	transport *transport
	sdk       *kms.Client
}

// New makes a client. It opens no connection.
func New(cfg Config) (*Client, error) {
	if err := cfg.complete(); err != nil {
		return nil, fmt.Errorf("kms client: %w", err)
	}
	publicKey, err := x509.MarshalPKIXPublicKey(&cfg.Key.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("kms client: key: %w", err)
	}
	t := newTransport(&cfg)
	return &Client{
		cfg: cfg, publicKey: publicKey, transport: t,
		sdk: kms.New(kms.Options{
			Region:      cfg.Region,
			Credentials: credentials{cfg.Credentials},
			HTTPClient:  t,
			Retryer:     newRetryer(cfg.MaxAttempts),
		}),
	}, nil
}

// credentials marks the errors of a provider, which the SDK gives no type.
type credentials struct{ provider aws.CredentialsProvider }

func (c credentials) Retrieve(ctx context.Context) (aws.Credentials, error) {
	got, err := c.provider.Retrieve(ctx)
	if err != nil {
		return got, fmt.Errorf("%w: %w", ErrCredentials, err)
	}
	return got, nil
}

// Close closes idle connections. Calls under way go on.
func (c *Client) Close() error {
	c.transport.http.CloseIdleConnections()
	return nil
}

// SDK is the SDK's client over the same transport, for operations that return no
// secret. Its Decrypt and the like send no document and return plaintext; they have
// the caller's context as the only limit of time over all attempts.
func (c *Client) SDK() *kms.Client { return c.sdk }

// PublicKey is the key that answers are sealed to, as a DER SubjectPublicKeyInfo.
func (c *Client) PublicKey() []byte { return append([]byte(nil), c.publicKey...) }

// An answer is what the five operations with a Recipient have in common.
type answer struct {
	keyID     string // ARN; empty if the operation has none
	plaintext []byte // must be empty
	sealed    []byte // CiphertextForRecipient
	length    int    // that the secret has to have: a short one would be a weak key
}

// anyLength is that of a secret which only the service knows.
const anyLength = -1

// ask makes a document, lets send use it, and opens the answer. keyID is the key
// that was asked for.
func (c *Client) ask(ctx context.Context, operation, keyID string, send func(context.Context, *types.RecipientInfo) (answer, error)) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	ctx, attempts := withCounter(ctx)
	secret, err := c.exchange(ctx, keyID, send)
	if err != nil {
		return nil, newError(operation, int(attempts.Load()), err)
	}
	return secret, nil
}

func (c *Client) exchange(ctx context.Context, keyID string, send func(context.Context, *types.RecipientInfo) (answer, error)) ([]byte, error) {
	document, err := c.cfg.Attest(ctx, c.PublicKey())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAttest, err)
	}
	if len(document) == 0 {
		// The SDK would leave the member out, and KMS would answer in the clear.
		return nil, fmt.Errorf("%w: it is empty", ErrAttest)
	}
	a, err := send(ctx, &types.RecipientInfo{
		AttestationDocument:    document,
		KeyEncryptionAlgorithm: types.KeyEncryptionMechanismRsaesOaepSha256,
	})
	if err != nil {
		return nil, err
	}
	secret, err := c.open(a, keyID)
	if err == nil && a.length != anyLength && len(secret) != a.length {
		clear(secret)
		return nil, fmt.Errorf("%w: secret of %d bytes, asked for %d", ErrAnswer, len(secret), a.length)
	}
	return secret, err
}

func (c *Client) open(a answer, keyID string) ([]byte, error) {
	if len(a.plaintext) > 0 {
		if c.cfg.Weaken.Off(weaken.SealedAnswer) {
			return a.plaintext, nil
		}
		clear(a.plaintext)
		return nil, ErrPlaintext
	}
	if !sameKey(keyID, a.keyID) {
		return nil, fmt.Errorf("%w: asked for %s, answered with %s", ErrKey, printable(keyID), printable(a.keyID))
	}
	if len(a.sealed) == 0 {
		return nil, ErrNotSealed
	}
	secret, err := envelope.Open(c.cfg.Key, a.sealed)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	return secret, nil
}
