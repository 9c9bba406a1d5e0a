package sample

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/u-root/u-root/pkg/cpio"

	"github.com/nitrolab/nitrolab/images/bundle"
	"github.com/nitrolab/nitrolab/images/guestprog"
)

// InferenceConfig is what the image of the confidential inference sample believes,
// whatever its parent says. All of it is measured. The names in JSON are those of
// Settings in guest/inference.
type InferenceConfig struct {
	// Region of the key service, such as us-east-1.
	Region string `json:"region"`
	// KeyID is the key of the weights: the ARN of a key or of an alias. A bare alias
	// is refused: it is one of whatever account the parent has credentials of.
	KeyID string `json:"key_id"`
	// Context is the encryption context of the weights.
	Context map[string]string `json:"context"`

	// CABundle is who may sign the certificate of the key service, as PEM.
	CABundle []byte `json:"-"`
}

// Inference is the enclave of the confidential inference sample
// (guest/cmd/inference).
func Inference(ctx context.Context, k bundle.Kernel, c InferenceConfig) (bundle.Spec, error) {
	return inferenceImage(ctx, k, c, guestprog.Inference)
}

// WeakInference is Inference with protections that tests can switch off
// (guest/cmd/weakinference).
func WeakInference(ctx context.Context, k bundle.Kernel, c InferenceConfig) (bundle.Spec, error) {
	return inferenceImage(ctx, k, c, guestprog.WeakInference)
}

// check finds what the program in the image would not start with.
func (c InferenceConfig) check() error {
	switch {
	case c.Region == "":
		return errors.New("region is empty; allowed are names such as us-east-1")
	case !strings.HasPrefix(c.KeyID, "arn:"):
		return fmt.Errorf("key id is %q; allowed is the ARN of a key or of an alias", c.KeyID)
	case len(c.Context) == 0:
		return errors.New("context is empty; allowed is one pair or more")
	case !x509.NewCertPool().AppendCertsFromPEM(c.CABundle):
		return fmt.Errorf("CA bundle holds no certificate in its %d bytes; allowed is PEM", len(c.CABundle))
	}
	return nil
}

func inferenceImage(ctx context.Context, k bundle.Kernel, c InferenceConfig, program string) (bundle.Spec, error) {
	if err := c.check(); err != nil {
		return bundle.Spec{}, fmt.Errorf("inference image: %w", err)
	}
	settings, err := json.Marshal(c)
	if err != nil {
		return bundle.Spec{}, fmt.Errorf("inference image: %w", err)
	}
	files, err := programs(ctx, program)
	if err != nil {
		return bundle.Spec{}, fmt.Errorf("inference image: %w", err)
	}
	files = append(files,
		cpio.Directory("etc", 0o755),
		cpio.Directory("etc/nitrolab", 0o755),
		cpio.StaticFile("etc/nitrolab/inference.json", string(settings)+"\n", 0o644),
		cpio.Directory("etc/ssl", 0o755),
		cpio.Directory("etc/ssl/certs", 0o755),
		cpio.StaticFile("etc/ssl/certs/ca-certificates.crt", string(c.CABundle), 0o644),
	)
	return spec(k, program, bundle.Records{Files: files, Cmd: []string{"/bin/" + program}}), nil
}
