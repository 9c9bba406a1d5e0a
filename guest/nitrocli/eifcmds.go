package nitrocli

import (
	"context"
	"crypto/sha512"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"github.com/nitrolab/nitrolab/guest/nitrocli/args"
	"github.com/nitrolab/nitrolab/guest/nitrocli/failure"
	"github.com/nitrolab/nitrolab/images/eif"
)

func (e *Env) describeEIF(_ context.Context, v args.Values) error {
	path, _ := v.Get("eif-path")
	im, err := eif.OpenFile(path)
	if err != nil {
		return failure.Wrap(failure.EIFParsingError, err)
	}
	defer im.Close()
	d, err := im.Describe(e.Now())
	if err != nil {
		return failure.Wrap(failure.EIFParsingError, err)
	}
	return e.printJSON(d)
}

// kmsARN is the form by which nitro-cli tells a key in KMS from a file
// (parse_kms_arn of aws-nitro-enclaves-image-format).
var kmsARN = regexp.MustCompile(`^arn:(?:aws|aws-cn|aws-us-gov):kms:[a-z0-9-]+:\d{12}:key[:/][a-zA-Z0-9-]+$`)

// maxPEM bounds a certificate or key file.
const maxPEM = 1 << 20

// readPEM reads a file of at most [maxPEM] bytes.
func readPEM(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxPEM+1))
	if err == nil && len(b) > maxPEM {
		err = fmt.Errorf("%s has more than %d bytes", path, maxPEM)
	}
	return b, err
}

// signer is nil if no signature is asked for. Errors have no code yet.
func signer(v args.Values) (*eif.Signer, error) {
	certificate, ok := v.Get("signing-certificate")
	key, _ := v.Get("private-key") // each requires the other
	if !ok {
		return nil, nil
	}
	if kmsARN.MatchString(key) {
		return nil, fmt.Errorf("the key %s is in AWS KMS, which this nitro-cli does not call; give a PEM file", key)
	}
	certificatePEM, err := readPEM(certificate)
	if err != nil {
		return nil, fmt.Errorf("signing certificate: %w", err)
	}
	keyPEM, err := readPEM(key)
	if err != nil {
		return nil, fmt.Errorf("private key: %w", err)
	}
	return eif.NewSigner(certificatePEM, keyPEM)
}

func (e *Env) signEIF(_ context.Context, v args.Values) error {
	path, ok := v.Get("eif-path")
	if !ok {
		return failure.New(failure.MissingArgument, "`eif-path` argument not found").With("eif-path")
	}
	s, err := signer(v)
	if err == nil && s == nil {
		err = errors.New("neither a signing certificate nor a private key was given")
	}
	if err != nil {
		return failure.Wrap(failure.EIFSigningError, err)
	}
	m, err := eif.SignFile(path, path, s)
	if err != nil {
		return failure.Wrap(failure.EIFSigningError, err)
	}
	fmt.Fprintln(e.Stderr, "Enclave Image successfully signed.")
	return e.printJSON(eif.BuildInfo{Measurements: m})
}

func (e *Env) pcr(_ context.Context, v args.Values) error {
	if path, ok := v.Get("signing-certificate"); ok {
		text, err := readPEM(path)
		if err != nil {
			return failure.Wrap(failure.FileOperationFailure, err, path, "Open")
		}
		block, _ := pem.Decode(text)
		if block == nil || !strings.HasSuffix(block.Type, "CERTIFICATE") {
			return failure.New(failure.HasherError, "%s holds no certificate in PEM form", path)
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return failure.Wrap(failure.HasherError, err)
		}
		sig := eif.Signature{Certificate: certificate}
		return e.printJSON(map[string]eif.Digest{"PCR8": sig.PCR8()})
	}
	path, _ := v.Get("input")
	f, err := os.Open(path)
	if err != nil {
		return failure.Wrap(failure.FileOperationFailure, err, path, "Open")
	}
	defer f.Close()
	digest, err := filePCR(f)
	if err != nil {
		return failure.Wrap(failure.FileOperationFailure, err, path, "Read")
	}
	return e.printJSON(map[string]eif.Digest{"PCR": digest})
}

// filePCR is the PCR that is extended once, from zero, by the SHA-384 of what r
// holds.
func filePCR(r io.Reader) (eif.Digest, error) {
	h := sha512.New384()
	if _, err := io.Copy(h, r); err != nil {
		return eif.Digest{}, err
	}
	return sha512.Sum384(h.Sum(make([]byte, sha512.Size384))), nil
}

func (e *Env) explain(_ context.Context, v args.Values) error {
	code, _ := v.Get("error-code")
	// On standard error, and never a failure: as nitro-cli does.
	fmt.Fprintln(e.Stderr, failure.Explain(code))
	return nil
}
