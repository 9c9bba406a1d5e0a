package channel

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/nitrolab/nitrolab/devices/nsm/ask"
	"github.com/nitrolab/nitrolab/devices/nsm/attestation"
	"github.com/nitrolab/nitrolab/devices/weaken"
)

// DefaultTimeout is how long the set-up of a session may take if no other time is
// configured. An emulated machine without KVM needs most of a second.
const DefaultTimeout = 30 * time.Second

// A Config says which enclave a client wants to talk to. Options is required.
type Config struct {
	// Options are the demands on the document: roots and PCRs above all. Nonce,
	// PublicKey and UserData must be nil; they are those of the session.
	Options attestation.Options

	// Rand is where the nonce comes from; nil means crypto/rand.
	Rand io.Reader

	// Timeout bounds the set-up; zero means [DefaultTimeout].
	Timeout time.Duration

	// Weaken can switch off weaken.ChannelNonce or weaken.ChannelKey, in tests
	// only. The binding to the session by user_data stands behind both, and
	// falls with either; else it would stop the attacks that they are there for.
	Weaken weaken.Set
}

// Client makes a session over conn, which it owns from now on: it closes conn if
// it fails, and the session does when it is closed.
//
// An error that holds a *attestation.VerifyError says that the other side is not
// the enclave that cfg asks for; [ErrProtocol] that it speaks TLS and something
// else within; a *ask.RefusedError that the enclave had no document. The end of
// ctx, and of the time for the set-up, is that of a context. Mistakes in
// cfg.Options are those of [attestation.Verify].
func Client(ctx context.Context, conn net.Conn, cfg Config) (*Conn, error) {
	c, err := client(ctx, conn, cfg)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("attested channel: %w", err)
	}
	return c, nil
}

func client(ctx context.Context, conn net.Conn, cfg Config) (*Conn, error) {
	opts := cfg.Options
	if opts.Nonce != nil || opts.PublicKey != nil || opts.UserData != nil {
		return nil, errors.New("options: Nonce, PublicKey and UserData are set by the channel")
	}
	random := cfg.Rand
	if random == nil {
		random = rand.Reader
	}
	nonce := make([]byte, nonceSize)
	if _, err := io.ReadFull(random, nonce); err != nil {
		return nil, fmt.Errorf("nonce: %w", err)
	}

	ctx, cancel := context.WithTimeout(ctx, timeout(cfg.Timeout))
	defer cancel()
	session := tls.Client(conn, clientTLS())
	if err := session.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("handshake: %w", cause(ctx, err))
	}
	stop, err := bound(ctx, session.SetDeadline)
	if err != nil {
		return nil, err
	}
	defer stop()
	document, err := ask.Ask(session, nonce)
	if err != nil {
		return nil, misspoken(cause(ctx, err))
	}

	state := session.ConnectionState()
	if !cfg.Weaken.Off(weaken.ChannelNonce) {
		opts.Nonce = nonce
	}
	if !cfg.Weaken.Off(weaken.ChannelKey) {
		opts.PublicKey = state.PeerCertificates[0].RawSubjectPublicKeyInfo
	}
	if opts.Nonce != nil && opts.PublicKey != nil {
		if opts.UserData, err = binding(state); err != nil {
			return nil, err
		}
	}
	result, err := attestation.Verify(document, opts)
	if err != nil {
		return nil, err
	}
	return newConn(session, result), nil
}

func timeout(d time.Duration) time.Duration {
	if d <= 0 {
		return DefaultTimeout
	}
	return d
}

// clientTLS checks everything about the session but whose it is, which the
// document says later.
func clientTLS() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		NextProtos:         []string{protocol},
		InsecureSkipVerify: true, // certificates say nothing here; see the package comment
		VerifyConnection: func(s tls.ConnectionState) error {
			if s.NegotiatedProtocol != protocol {
				return fmt.Errorf("%w: no such ALPN", ErrProtocol)
			}
			if len(s.PeerCertificates) != 1 {
				return fmt.Errorf("%w: %d certificates instead of one", ErrProtocol, len(s.PeerCertificates))
			}
			if _, ok := s.PeerCertificates[0].PublicKey.(*ecdsa.PublicKey); !ok {
				return fmt.Errorf("%w: a key of %v instead of ECDSA", ErrProtocol, s.PeerCertificates[0].PublicKeyAlgorithm)
			}
			return nil
		},
	}
}
