package channel

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"

	"github.com/nitrolab/nitrolab/devices/nsm/ask"
	"github.com/nitrolab/nitrolab/devices/nsm/wire"
)

// A Source makes attestation documents: Session.Attest of guest/nsm is one. It is
// called from several goroutines at once. The time of a set-up does not interrupt
// it; it counts afterwards.
type Source func(wire.Attestation) (document []byte, err error)

// A ServerConfig has what a [Server] may be given. The zero value is ready to use.
type ServerConfig struct {
	// Key is the key pair of all sessions; nil makes one, which is what an
	// enclave does. P-256 or P-384.
	Key *ecdsa.PrivateKey

	// Timeout bounds the set-up of a session; zero means [DefaultTimeout].
	Timeout time.Duration
}

// A Server is the enclave's end of channels. It is safe for concurrent use.
type Server struct {
	attest    Source
	tls       *tls.Config
	publicKey []byte
	timeout   time.Duration
}

// NewServer makes the key pair and the certificate. Documents come from attest;
// nil for cfg means the zero value.
func NewServer(attest Source, cfg *ServerConfig) (*Server, error) {
	if attest == nil {
		return nil, errors.New("attested channel: no source of documents")
	}
	if cfg == nil {
		cfg = &ServerConfig{}
	}
	key := cfg.Key
	if key == nil {
		var err error
		if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			return nil, fmt.Errorf("attested channel: make key: %w", err)
		}
	}
	if c := key.Curve; c != elliptic.P256() && c != elliptic.P384() {
		return nil, fmt.Errorf("attested channel: key of curve %s, allowed are P-256 and P-384", c.Params().Name)
	}
	certificate, err := certify(key)
	if err != nil {
		return nil, fmt.Errorf("attested channel: make certificate: %w", err)
	}
	return &Server{
		attest:    attest,
		publicKey: certificate.Leaf.RawSubjectPublicKeyInfo,
		timeout:   timeout(cfg.Timeout),
		tls: &tls.Config{
			MinVersion:             tls.VersionTLS13,
			NextProtos:             []string{protocol},
			Certificates:           []tls.Certificate{certificate},
			SessionTicketsDisabled: true, // each session has a document of its own
		},
	}, nil
}

// PublicKey is the SubjectPublicKeyInfo that documents name.
func (s *Server) PublicKey() []byte { return s.publicKey }

// Handshake makes a session over conn, which it owns from now on: it closes conn
// if it fails, and the session does when it is closed. A client learns of an
// error of the Source, in its words.
func (s *Server) Handshake(ctx context.Context, conn net.Conn) (*Conn, error) {
	c, err := s.handshake(ctx, conn)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("attested channel: %w", err)
	}
	return c, nil
}

func (s *Server) handshake(ctx context.Context, conn net.Conn) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	session := tls.Server(conn, s.tls)
	if err := session.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("handshake: %w", cause(ctx, err))
	}
	stop, err := bound(ctx, session.SetDeadline)
	if err != nil {
		return nil, err
	}
	defer stop()
	state := session.ConnectionState()
	if state.NegotiatedProtocol != protocol {
		return nil, fmt.Errorf("%w: no such ALPN", ErrProtocol)
	}
	nonce, err := ask.ReadQuestion(session)
	if err != nil {
		return nil, misspoken(cause(ctx, err))
	}
	if len(nonce) != nonceSize {
		return nil, fmt.Errorf("%w: a nonce of %d bytes instead of %d", ErrProtocol, len(nonce), nonceSize)
	}
	userData, err := binding(state)
	if err != nil {
		return nil, err
	}
	document, err := s.attest(wire.Attestation{Nonce: nonce, UserData: userData, PublicKey: s.publicKey})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("attest: %w", err), ask.WriteRefusal(session, err.Error()))
	}
	if err := ask.WriteAnswer(session, document); err != nil {
		return nil, cause(ctx, err)
	}
	return newConn(session, nil), nil
}

// noEnd is the NotAfter of a certificate without an end (RFC 5280 section
// 4.1.2.5). An enclave's clock is its parent's to set, and nobody looks at the
// dates anyway.
var noEnd = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)

func certify(key *ecdsa.PrivateKey) (tls.Certificate, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "enclave, see its attestation document"},
		NotBefore:    time.Unix(0, 0).UTC(),
		NotAfter:     noEnd,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}
