package attestation

import (
	"crypto/x509/pkix"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/veraison/go-cose"
)

// An EnclaveID says for whom documents are issued.
type EnclaveID struct {
	// InstanceID of the parent, `i-` and 17 hex digits.
	InstanceID string

	// SlotUID is the enclave's 64-bit number, the first half of the leaf's
	// serial number.
	SlotUID uint64

	// ModuleID goes into documents; empty means ModuleID(InstanceID, SlotUID).
	ModuleID string

	// Region, such as us-east-1.
	Region string
}

// ModuleID is `<instance id>-enc<slot uid in 16 hex digits>`. (nitro-cli prints
// the same number without leading zeros as the enclave id.)
func ModuleID(instanceID string, slotUID uint64) string {
	return fmt.Sprintf("%s-enc%016x", instanceID, slotUID)
}

// check refuses what cannot stand in a common name. Letters, digits and hyphens
// also keep the parts of a derivation label apart.
func (id EnclaveID) check() error {
	for _, part := range []struct{ name, value string }{
		{"instance id", id.InstanceID}, {"module id", id.ModuleID}, {"region", id.Region},
	} {
		if part.value == "" {
			return errors.New(part.name + " is empty")
		}
		for _, c := range part.value {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
				return fmt.Errorf("%s %q: only a-z, 0-9 and - are allowed", part.name, part.value)
			}
		}
	}
	return nil
}

// An Issuer signs the documents of one enclave under a leaf certificate that it
// keeps and replaces before it ends.
//
// It is safe for concurrent use.
type Issuer struct {
	authority *Authority
	id        EnclaveID
	subject   []byte // of the leaf, DER

	mu   sync.Mutex // guards leaf; what it points to never changes
	leaf *leaf
}

// A leaf is a leaf certificate ready for use.
type leaf struct {
	notBefore, notAfter time.Time
	certificate         []byte   // DER
	bundle              [][]byte // DER, root first
	signer              cose.Signer
}

// Enclave gives the Issuer for one enclave. Nothing is issued yet: the leaf's
// three hours begin with the first document, as on hardware, where leaves are a
// few seconds old when they are first seen.
func (a *Authority) Enclave(id EnclaveID) (*Issuer, error) {
	if id.ModuleID == "" && id.InstanceID != "" {
		id.ModuleID = ModuleID(id.InstanceID, id.SlotUID)
	}
	if err := id.check(); err != nil {
		return nil, fmt.Errorf("attestation enclave: %w", err)
	}
	subject, err := marshalName(a.names.instanceSubject(id.ModuleID + "." + id.Region + ".aws"))
	if err != nil {
		return nil, fmt.Errorf("attestation enclave: %w", err)
	}
	return &Issuer{authority: a, id: id, subject: subject}, nil
}

// Document gives a signed document over c, made now. Its size is 4.4 KiB and up
// with 16 PCRs; see [Claims] for what is refused. The error is [ErrClock] if the
// clock stands outside the validity of the root.
func (i *Issuer) Document(c Claims) ([]byte, error) {
	if c.Encoding == EncodingDefault {
		c.Encoding = i.authority.encoding
	}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("attestation document: %w", err)
	}
	now := i.authority.clock().UTC()
	l, err := i.current(now)
	if err != nil {
		return nil, fmt.Errorf("attestation document: %w", err)
	}
	body, err := payload{
		moduleID:    i.id.ModuleID,
		timestamp:   now,
		certificate: l.certificate,
		bundle:      l.bundle,
		claims:      c,
	}.encode()
	if err != nil {
		return nil, fmt.Errorf("attestation document: %w", err)
	}
	doc, err := seal(l.signer, body)
	if err != nil {
		return nil, fmt.Errorf("attestation document: %w", err)
	}
	return doc, nil
}

// current gives the leaf for a document made at now. A clock that was set back
// to before the leaf began gets a new leaf too.
func (i *Issuer) current(now time.Time) (*leaf, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if l := i.leaf; l != nil && !now.Before(l.notBefore) && l.notAfter.Sub(now) >= i.authority.margin {
		return l, nil
	}
	cert, err := i.issueLeaf(now.Truncate(time.Second))
	if err != nil {
		return nil, err
	}
	s, err := cose.NewSigner(cose.AlgorithmES384, cert.key)
	if err != nil {
		return nil, fmt.Errorf("leaf signer: %w", err)
	}
	i.leaf = &leaf{
		notBefore:   cert.cert.NotBefore,
		notAfter:    cert.cert.NotAfter,
		certificate: cert.cert.Raw,
		bundle:      cert.parent.bundle(),
		signer:      s,
	}
	return i.leaf, nil
}

// issueLeaf makes a leaf and, where the present ones do not stand as long as it
// will, the certificates above it.
func (i *Issuer) issueLeaf(now time.Time) (*link, error) {
	a := i.authority
	notAfter := now.Add(leafLife)
	a.mu.Lock()
	parent, err := a.instance(instanceKey{i.id.Region, i.id.InstanceID}, now, notAfter)
	a.mu.Unlock()
	if err != nil {
		return nil, err
	}
	key, err := a.seed.key(label("leaf", i.id.Region+" "+ModuleID(i.id.InstanceID, i.id.SlotUID), now))
	if err != nil {
		return nil, err
	}
	// Slot uid, four zero bytes, seconds of issue. 32 bits of seconds last
	// longer than the root.
	serial := binary.BigEndian.AppendUint64(nil, i.id.SlotUID)
	serial = binary.BigEndian.AppendUint64(serial, uint64(now.Unix())) // within the root's validity, see regional
	l, err := template{
		subject:    i.subject,
		serial:     serial,
		notBefore:  now.Add(-leafBackdated),
		notAfter:   notAfter,
		extensions: []pkix.Extension{basicConstraints(false, noPathLen), keyUsage(false, usageLeaf)},
	}.issue(key, parent)
	if err != nil {
		return nil, fmt.Errorf("leaf: %w", err)
	}
	return l, nil
}
