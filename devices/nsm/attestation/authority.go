package attestation

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// DefaultLeafMargin is how long before its end a leaf is issued anew: a
// production enclave got a new one 15 minutes before expiry in 298 observed
// handshakes (MaplePrivacyLabs/Maple#936).
const DefaultLeafMargin = 15 * time.Minute

// ErrClock means that the clock stands at a time for which no certificate can
// be issued: before the root's validity or too close to its end.
var ErrClock = errors.New("clock outside the validity of the root certificate")

// Config has what an [Authority] may be given. The zero value is ready to use.
type Config struct {
	// Clock gives the time of the emulated host; nil means time.Now. It is
	// called from several goroutines at once.
	Clock func() time.Time

	// Entropy is read once, for SeedSize bytes, by NewAuthority; nil means
	// crypto/rand. Equal bytes and an equal clock make equal certificates and
	// documents, byte for byte, in whatever order they are asked for.
	Entropy io.Reader

	// Names are the subject names; zero means visibly emulated ones.
	Names Names

	// Encoding is used for documents whose Claims name none; zero means
	// Encoding2025.
	Encoding Encoding

	// LeafMargin is the rest of its three hours at which a leaf is issued anew;
	// zero means DefaultLeafMargin. Negative values and three hours or more are
	// refused.
	LeafMargin time.Duration
}

// An Authority is one emulated attestation PKI with its own root. Two of them
// never trust each other, unless they were made from the same entropy.
//
// It is safe for concurrent use.
type Authority struct {
	clock    func() time.Time
	names    nameSet
	encoding Encoding
	margin   time.Duration
	seed     seed
	root     *link

	mu        sync.Mutex // guards the maps; the links in them never change
	regionals map[string]*link
	zonals    map[string]*link
	instances map[instanceKey]*link
}

type instanceKey struct{ region, instance string }

// NewAuthority makes the root certificate. Everything below it is made when it
// is first needed.
func NewAuthority(cfg Config) (*Authority, error) {
	names, ok := nameSets[cfg.Names]
	if !ok {
		return nil, fmt.Errorf("new attestation authority: unknown %v", cfg.Names)
	}
	if cfg.Encoding == EncodingDefault {
		cfg.Encoding = Encoding2025
	}
	if !cfg.Encoding.valid() {
		return nil, fmt.Errorf("new attestation authority: unknown %v", cfg.Encoding)
	}
	if cfg.LeafMargin == 0 {
		cfg.LeafMargin = DefaultLeafMargin
	}
	if cfg.LeafMargin < 0 || cfg.LeafMargin >= leafLife {
		return nil, fmt.Errorf("new attestation authority: leaf margin %v is not within 0 to %v", cfg.LeafMargin, leafLife)
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Entropy == nil {
		cfg.Entropy = rand.Reader
	}
	s, err := newSeed(cfg.Entropy)
	if err != nil {
		return nil, fmt.Errorf("new attestation authority: %w", err)
	}
	a := &Authority{
		clock:     cfg.Clock,
		names:     names,
		encoding:  cfg.Encoding,
		margin:    cfg.LeafMargin,
		seed:      s,
		regionals: make(map[string]*link),
		zonals:    make(map[string]*link),
		instances: make(map[instanceKey]*link),
	}
	if a.root, err = a.issueRoot(); err != nil {
		return nil, fmt.Errorf("new attestation authority: %w", err)
	}
	return a, nil
}

// Root is the certificate a verifier of this Authority's documents pins. The
// caller does not modify it.
func (a *Authority) Root() *x509.Certificate { return a.root.cert }

// RootPEM is [Authority.Root] as one PEM block.
func (a *Authority) RootPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.root.cert.Raw})
}

// ParseRoots reads the certificates of PEM text, for Options.Roots. Text with
// no certificate, blocks of another type and anything but space after the last
// block are errors.
func ParseRoots(text []byte) ([]*x509.Certificate, error) {
	var roots []*x509.Certificate
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("parse root certificates: block %d is a %q", len(roots)+1, block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("parse root certificates: block %d: %w", len(roots)+1, err)
		}
		roots, text = append(roots, cert), rest
	}
	if len(roots) == 0 {
		return nil, errors.New("parse root certificates: no PEM certificate")
	}
	if rest := bytes.TrimSpace(text); len(rest) != 0 {
		return nil, fmt.Errorf("parse root certificates: %d bytes after the last block", len(rest))
	}
	return roots, nil
}
