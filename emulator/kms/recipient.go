package kms

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/nitrolab/nitrolab/devices/nsm/attestation"
	"github.com/nitrolab/nitrolab/devices/weaken"
	"github.com/nitrolab/nitrolab/emulator/kms/envelope"
)

// A recipient is an enclave whose document has been verified: the answer is for its
// key. A nil *recipient is a request without.
type recipient struct {
	document *attestation.Document
}

// inDebug reports whether the enclave runs in debug mode: PCR0, PCR1 or PCR2 is
// zero or absent.
func (r *recipient) inDebug() bool {
	if r == nil || r.document.NitroTPM {
		return false
	}
	for i := range uint(3) {
		zero := true
		for _, b := range r.document.PCRs[i] {
			zero = zero && b == 0
		}
		if zero {
			return true
		}
	}
	return false
}

// recipient verifies the document of a request, nil if it has none, and puts it
// into the audit log.
func (c *call) recipient(info *types.RecipientInfo) (*recipient, error) {
	if info == nil {
		return nil, nil
	}
	doc, err := c.s.verify(info.AttestationDocument, c)
	if err != nil {
		return nil, refuse(c.s.cfg.DocumentError, "%v", err)
	}
	if err := checkKey(doc.PublicKey); err != nil {
		return nil, refuse(c.s.cfg.DocumentError, "attestation document refused: public_key: %v", err)
	}
	attested := &Attested{ModuleID: doc.ModuleID, NitroTPM: doc.NitroTPM, PCRs: make(map[uint]string, len(doc.PCRs))}
	for i, value := range doc.PCRs {
		attested.PCRs[i] = hex.EncodeToString(value)
	}
	c.event.Additional = &Addition{Recipient: attested}
	return &recipient{document: doc}, nil
}

// verify decides about a document as far as it can be without the policies, which
// Config.Debug may leave the zero PCRs to.
func (s *Service) verify(raw []byte, c *call) (*attestation.Document, error) {
	if s.cfg.Weaken.Off(weaken.RecipientDocument) {
		return attestation.Parse(raw)
	}
	// Of either kind; which one decides about the condition keys.
	tpm := false
	if doc, err := attestation.Parse(raw); err == nil {
		tpm = doc.NitroTPM
	}
	opts := attestation.Options{NitroTPM: tpm, Roots: s.cfg.Roots, NoPCRPolicy: true, Time: c.now, MaxAge: max(s.cfg.Window, 0)}
	if s.cfg.Weaken.Off(weaken.RecipientValidity) {
		opts.Time, opts.MaxAge, opts.AtDocumentTime = time.Time{}, 0, true
	}
	result, err := attestation.Verify(raw, opts)
	var refused *attestation.VerifyError
	switch {
	case err == nil:
		return result.Document, nil
	case s.cfg.Debug != DebugRefuse && errors.As(err, &refused) && len(refused.Failed) == 1 && refused.Failed[0].Name == attestation.CheckDebug:
		return result.Document, nil
	}
	return nil, err
}

// checkKey refuses the keys that no answer can be sealed to, before anything is
// done with a key of the ring.
func checkKey(spki []byte) error {
	if len(spki) == 0 {
		return errors.New("there is none; the answer is encrypted to it")
	}
	parsed, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		return errors.New("it is no SubjectPublicKeyInfo in DER")
	}
	key, ok := parsed.(*rsa.PublicKey)
	if !ok {
		return fmt.Errorf("it is a %T; an RSA key is expected", parsed)
	}
	if n := key.N.BitLen(); n < envelope.MinKeyBits || n > envelope.MaxKeyBits {
		return fmt.Errorf("it is an RSA key of %d bits; %d to %d are expected", n, envelope.MinKeyBits, envelope.MaxKeyBits)
	}
	return nil
}

// release is the one way out for a secret: as it is to a caller without a document,
// else sealed to the document's key, and overwritten here. One of the two results
// is nil.
func (c *call) release(r *recipient, secret []byte) (plain, sealed []byte, err error) {
	if r == nil {
		return secret, nil, nil
	}
	to := r.document.PublicKey
	if f, ok := c.s.faults.take(c.op, FaultPlaintext, FaultOtherKey); ok {
		c.event.InjectedFault = f.Kind.String()
		if f.Kind == FaultPlaintext {
			return secret, nil, nil
		}
		to = nobodysKey()
	}
	defer clear(secret)
	form := envelope.Constructed
	if c.s.cfg.Primitive {
		form = envelope.Primitive
	}
	sealed, err = envelope.Seal(c.s.cfg.Entropy, to, secret, form)
	if errors.Is(err, envelope.ErrKey) {
		return nil, nil, refuse(c.s.cfg.DocumentError, "attestation document refused: public_key: it is no usable RSA key")
	}
	return nil, sealed, err
}

// nobodysKey is the public half of a key whose other half is forgotten at once.
var nobodysKey = sync.OnceValue(func() []byte {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic("kms: " + err.Error()) // crypto/rand does not fail
	}
	spki, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		panic("kms: " + err.Error()) // of a key just made
	}
	return spki
})
