package inference

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/nitrolab/nitrolab/devices/nsm/wire"
	"github.com/nitrolab/nitrolab/devices/weaken"
	"github.com/nitrolab/nitrolab/guest/inference/internal/text"
)

// Settings are what the image says, in the file at [SettingsPath].
type Settings struct {
	// Region of the key service, such as us-east-1.
	Region string `json:"region"`

	// KeyID is the one key that may have wrapped the data key: the ARN of a key or
	// of an alias, such as arn:aws:kms:us-east-1:123456789012:alias/weights. An
	// alias in the usual case, because the key's policy names the image and so the
	// key is made after it. A bare alias/weights is refused: it is an alias of the
	// account whose credentials are used, and so the parent's choice if it has
	// another account.
	KeyID string `json:"key_id"`

	// Context is the encryption context that the weights have to be for.
	Context map[string]string `json:"context"`
}

// SettingsPath and RootsPath are where an image has its settings and the certificate
// authorities of the key service (PEM).
const (
	SettingsPath = "/etc/nitrolab/inference.json"
	RootsPath    = "/etc/ssl/certs/ca-certificates.crt"
)

// maxSettings bounds the file, in bytes.
const maxSettings = 16 << 10

// ParseSettings reads a settings file. The error names the member that is wrong.
func ParseSettings(file []byte) (Settings, error) {
	var s Settings
	if len(file) > maxSettings {
		return s, fmt.Errorf("settings have %d bytes; allowed are %d", len(file), maxSettings)
	}
	if err := text.Decode(file, &s); err != nil {
		return Settings{}, fmt.Errorf("settings: %w: members are region, key_id and context", err)
	}
	if err := s.check(); err != nil {
		return Settings{}, fmt.Errorf("settings: %w", err)
	}
	return s, nil
}

// check finds settings that would leave something to the parent.
func (s Settings) check() error {
	switch {
	case s.Region == "":
		return errors.New("region is missing")
	case s.KeyID == "":
		return errors.New("key_id is missing; without it any key would do")
	case !strings.HasPrefix(s.KeyID, "arn:"):
		return fmt.Errorf("key_id is %q; allowed are ARNs, since an alias alone is the parent's choice of account", s.KeyID)
	case len(s.Context) == 0:
		return errors.New("context is empty; allowed is one pair or more, or any ciphertext of the key would do")
	}
	return nil
}

// Config is what a [Server] is made of. Settings, Roots and Attest are required.
type Config struct {
	Settings

	// Roots are the certificate authorities of the key service.
	Roots *x509.CertPool

	// Attest makes attestation documents: Session.Attest of guest/nsm.
	Attest func(wire.Attestation) (document []byte, err error)

	// DialKMS connects to the key service; nil means through the parent's
	// vsock-proxy.
	DialKMS func(context.Context) (net.Conn, error)

	// AttemptTimeout and Timeout bound calls of the key service; zero means
	// kmsclient's.
	AttemptTimeout, Timeout time.Duration

	// Log gets what goes wrong, without secrets; nil discards.
	Log *slog.Logger

	// Weaken says what a request may switch off. It is nil in the product, which
	// then refuses requests that name a protection: see guest/cmd/weakinference.
	Weaken func(weaken.Protection) (weaken.Set, error)
}
