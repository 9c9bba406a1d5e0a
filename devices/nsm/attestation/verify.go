package attestation

import (
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Verify decides whether raw is an attestation document as opts demand. All
// checks are made, whatever comes of them, so that the Result can be shown as a
// whole.
//
// A refused document gives the Result and a *VerifyError. A caller who asked
// for something that makes no sense gets no Result, and ErrNoRoot,
// ErrNoPCRPolicy or ErrOptions.
//
// Revocation lists are not looked at: AWS tells verifiers to switch them off
// (nsm-api docs/attestation_process.md section 3.2.4).
func Verify(raw []byte, opts Options) (*Result, error) {
	if err := opts.check(); err != nil {
		return nil, fmt.Errorf("verify attestation document: %w", err)
	}
	if opts.MaxField == 0 {
		opts.MaxField = DefaultMaxField
	}
	v := &verification{Options: opts, now: opts.Time}
	if v.now.IsZero() {
		v.now = time.Now()
	}
	var parse *ParseError
	doc, err := Parse(raw)
	switch {
	case err == nil && doc.NitroTPM != opts.NitroTPM:
		parse = otherKind(opts.NitroTPM)
	case err == nil:
		v.doc = doc
		v.readCertificates()
		if opts.AtDocumentTime {
			v.now = doc.Time()
		}
	case !errors.As(err, &parse):
		parse = &ParseError{CheckFormat, err}
	}
	r := &Result{Document: v.doc, Chain: v.path, Time: v.now.UTC()}
	for _, s := range v.steps() {
		o := skipped("the document could not be read")
		switch {
		case parse == nil:
			o = s.run()
		case parse.Check == s.name:
			o = failed(parse.Err)
		}
		r.Checks = append(r.Checks, Check{Name: s.name, Status: o.status, Detail: o.detail, Err: o.err})
	}
	return r, r.Err()
}

// otherKind refuses a document of the other kind.
func otherKind(tpm bool) *ParseError {
	want, found := keyPCRs, keyTPMPCRs
	if tpm {
		want, found = found, want
	}
	return &ParseError{CheckFormat, fail(ErrFormat, "payload: %s is missing; it has %s, of another kind of document", want, found)}
}

// A verification is one call of Verify.
type verification struct {
	Options
	now time.Time
	doc *Document // nil if it could not be read

	leaf    *x509.Certificate   // nil if it could not be read
	path    []*x509.Certificate // leaf first; nil if any could not be read
	pathErr error
}

type step struct {
	name string
	run  func() outcome
}

func (v *verification) steps() []step {
	steps := []step{
		{CheckFormat, v.format},
		{CheckSignature, v.signature},
		{CheckChain, v.chain},
		{CheckValidity, v.validity},
		{CheckDigest, v.digest},
		{CheckTimestamp, v.timestamp},
		{CheckFreshness, v.freshness},
		{CheckFields, v.fields},
		{CheckDebug, v.debug},
	}
	// PCR0 to PCR2 have a line in any case: it shows what the policy leaves open.
	indexes := []uint{0, 1, 2}
	for i := range v.PCRs {
		indexes = append(indexes, i)
	}
	slices.Sort(indexes)
	for _, i := range slices.Compact(indexes) {
		steps = append(steps, step{CheckPCR(i), func() outcome { return v.pcr(i) }})
	}
	return append(steps,
		step{CheckPublicKey, func() outcome { return v.expected(v.PublicKey, v.doc.PublicKey, ErrPublicKey) }},
		step{CheckUserData, func() outcome { return v.expected(v.UserData, v.doc.UserData, ErrUserData) }},
		step{CheckNonce, func() outcome { return v.expected(v.Nonce, v.doc.Nonce, ErrNonce) }},
	)
}

func (v *verification) format() outcome {
	form := "untagged"
	if v.doc.Tagged {
		form = "tag 18"
	}
	return passed("COSE_Sign1, %s, %v, %d PCRs", form, v.doc.Encoding, len(v.doc.PCRs))
}

func (v *verification) signature() outcome {
	if v.leaf == nil {
		return failed(fail(ErrSignature, "no leaf certificate to verify it with"))
	}
	key, ok := v.leaf.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		return failed(fail(ErrSignature, "the leaf's key is %v, not ECDSA", v.leaf.PublicKeyAlgorithm))
	}
	if err := checkSignature(v.doc, key); err != nil {
		return failed(fail(ErrSignature, "ES384 signature does not verify under the leaf's key"))
	}
	return passed("ES384, leaf serial %032x", v.leaf.SerialNumber)
}

func (v *verification) digest() outcome { return passed("%s", v.doc.Digest) }
