package eif

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/veraison/go-cose"
)

// A Signature is the first element of a signature section, the only one that
// counts. It signs PCR0: the certificate vouches for the image's kernel,
// command line and ramdisks, not for its metadata.
type Signature struct {
	// Certificate is the signing certificate. Nothing says who issued it:
	// there is no chain, PCR8 is what a verifier compares.
	Certificate *x509.Certificate
	// CertificatePEM is the certificate as it is in the file.
	CertificatePEM []byte
	// COSE is the untagged COSE_Sign1 message as it is in the file.
	COSE []byte
}

// pcrSignature is one element of the section's CBOR array.
type pcrSignature struct {
	SigningCertificate intArray `cbor:"signing_certificate"`
	Signature          intArray `cbor:"signature"`
}

// pcrInfo is the signed payload.
type pcrInfo struct {
	RegisterIndex int32    `cbor:"register_index"`
	RegisterValue intArray `cbor:"register_value"`
}

// signatureDecMode bounds what a signature section may hold; the section itself
// has at most 32768 bytes.
var signatureDecMode = func() cbor.DecMode {
	mode, err := cbor.DecOptions{
		DupMapKey:        cbor.DupMapKeyEnforcedAPF,
		MaxNestedLevels:  8,
		MaxArrayElements: MaxSignature,
		MaxMapPairs:      16,
	}.DecMode()
	if err != nil {
		panic(err) // constants above
	}
	return mode
}()

// signedPayload is what the signature of an image with this PCR0 is over. A
// verifier builds it itself and compares, so that nothing in the file's own
// payload is interpreted.
func signedPayload(pcr0 Digest) ([]byte, error) {
	return cbor.Marshal(pcrInfo{RegisterIndex: 0, RegisterValue: pcr0[:]})
}

// Signed reports whether the image has a signature section.
func (im *Image) Signed() bool {
	_, _, ok := im.find(SectionSignature)
	return ok
}

// Signature decodes the signature section. It returns [ErrNotSigned] if there
// is none and a [*FormatError] if it is malformed; it checks nothing.
func (im *Image) Signature() (*Signature, error) {
	i, s, ok := im.find(SectionSignature)
	if !ok {
		return nil, fmt.Errorf("eif: %w", ErrNotSigned)
	}
	raw, err := im.load(SectionSignature, MaxSignature)
	if err != nil {
		return nil, err
	}
	sig, err := parseSignature(raw)
	if err != nil {
		return nil, &FormatError{
			Field:   im.name(i) + ": content",
			Found:   "not readable (" + err.Error() + ")",
			Allowed: "allowed is a CBOR array of maps with signing_certificate (PEM) and signature (COSE_Sign1)",
			Offset:  s.Offset + SectionHeaderSize,
		}
	}
	return sig, nil
}

func isNotSigned(err error) bool { return errors.Is(err, ErrNotSigned) }

// parseSignature decodes the data of a signature section.
func parseSignature(raw []byte) (*Signature, error) {
	var list []pcrSignature
	if err := signatureDecMode.Unmarshal(raw, &list); err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, errors.New("empty array")
	}
	if len(list[0].SigningCertificate) == 0 {
		return nil, errors.New("no signing_certificate")
	}
	if len(list[0].Signature) == 0 {
		return nil, errors.New("no signature")
	}
	cert, err := parseCertificate(list[0].SigningCertificate)
	if err != nil {
		return nil, err
	}
	return &Signature{Certificate: cert, CertificatePEM: list[0].SigningCertificate, COSE: list[0].Signature}, nil
}

// parseCertificate reads the first certificate of a PEM text.
func parseCertificate(text []byte) (*x509.Certificate, error) {
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			return nil, errors.New("no PEM certificate")
		}
		if block.Type == "CERTIFICATE" {
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("certificate: %w", err)
			}
			return cert, nil
		}
		text = rest
	}
}

// PCR8 is the measurement of the signing certificate, over its DER form.
func (s *Signature) PCR8() Digest { return measureBytes(s.Certificate.Raw) }

// Check checks that the certificate's key signed exactly this PCR0. It returns
// an error that wraps [ErrBadSignature] or [ErrSignedOther], and does not look
// at dates.
func (s *Signature) Check(pcr0 Digest) error {
	alg, err := algorithmOf(s.Certificate.PublicKey)
	if err != nil {
		return fmt.Errorf("eif: signature: %w: %w", ErrBadSignature, err)
	}
	var msg cose.UntaggedSign1Message
	if err := msg.UnmarshalCBOR(s.COSE); err != nil {
		return fmt.Errorf("eif: signature: %w: %w", ErrBadSignature, err)
	}
	verifier, err := cose.NewVerifier(alg, s.Certificate.PublicKey)
	if err != nil {
		return fmt.Errorf("eif: signature: %w: %w", ErrBadSignature, err)
	}
	// Verify refuses a message whose protected header names another algorithm.
	if err := msg.Verify(nil, verifier); err != nil {
		return fmt.Errorf("eif: signature: %w: %w", ErrBadSignature, err)
	}
	want, err := signedPayload(pcr0)
	if err != nil {
		return fmt.Errorf("eif: signature: %w", err)
	}
	if !bytes.Equal(msg.Payload, want) {
		return fmt.Errorf("eif: signature: %w: payload is not register_index 0 with PCR0 %s", ErrSignedOther, pcr0)
	}
	return nil
}

// CheckDates checks that the certificate covers the time at. The error wraps
// [ErrCertificateExpired] or [ErrCertificateNotYetValid].
func (s *Signature) CheckDates(at time.Time) error {
	switch c := s.Certificate; {
	case at.After(c.NotAfter):
		return fmt.Errorf("eif: %w: it ended %s, the time is %s", ErrCertificateExpired,
			c.NotAfter.UTC().Format(time.RFC3339), at.UTC().Format(time.RFC3339))
	case at.Before(c.NotBefore):
		return fmt.Errorf("eif: %w: it begins %s, the time is %s", ErrCertificateNotYetValid,
			c.NotBefore.UTC().Format(time.RFC3339), at.UTC().Format(time.RFC3339))
	}
	return nil
}

// CheckSignature is what stands between a signed image and its start: the
// signature is the certificate's, it is over the PCR0 in m, and the certificate
// covers the time at. m comes from [Image.Verify]. An image without signature
// gives [ErrNotSigned], which the caller may let pass.
func (im *Image) CheckSignature(m Measurements, at time.Time) error {
	sig, err := im.Signature()
	if err != nil {
		return err
	}
	if err := sig.Check(m.PCR0); err != nil {
		return err
	}
	return sig.CheckDates(at)
}

// algorithmOf is the signature algorithm that belongs to a key: ES256 for
// P-256, ES384 for P-384, ES512 for P-521. There are no others.
func algorithmOf(key any) (cose.Algorithm, error) {
	pub, ok := key.(*ecdsa.PublicKey)
	if !ok {
		return 0, fmt.Errorf("key is %T, allowed are elliptic curve keys", key)
	}
	switch pub.Curve {
	case elliptic.P256():
		return cose.AlgorithmES256, nil
	case elliptic.P384():
		return cose.AlgorithmES384, nil
	case elliptic.P521():
		return cose.AlgorithmES512, nil
	}
	return 0, fmt.Errorf("curve is %s, allowed are P-256, P-384 and P-521", pub.Curve.Params().Name)
}
