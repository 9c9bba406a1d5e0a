package channel

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/nitrolab/nitrolab/devices/nsm/attestation"
	"github.com/nitrolab/nitrolab/devices/nsm/wire"
)

// t0 is when the documents of tests are made and verified.
var t0 = time.Date(2026, time.November, 23, 9, 51, 41, 0, time.UTC)

// A lab has an attestation PKI and what a client that trusts it demands.
type lab struct {
	authority *attestation.Authority
	options   attestation.Options
}

// goodPCR fills PCR0 to PCR2 of the image that clients ask for.
const goodPCR = 0xa1

func newLab(t testing.TB, seed byte) *lab {
	t.Helper()
	a, err := attestation.NewAuthority(attestation.Config{
		Clock:   func() time.Time { return t0 },
		Entropy: bytes.NewReader(bytes.Repeat([]byte{seed}, attestation.SeedSize)),
	})
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{authority: a}
	l.options.Roots = append(l.options.Roots, a.Root())
	l.options.PCRs = map[uint][]byte{0: pcr(goodPCR), 2: pcr(goodPCR)}
	l.options.Time = t0
	return l
}

func pcr(fill byte) []byte { return bytes.Repeat([]byte{fill}, 48) }

// source makes documents of an enclave whose image measures as fill.
func (l *lab) source(t testing.TB, fill byte) Source {
	t.Helper()
	issuer, err := l.authority.Enclave(attestation.EnclaveID{InstanceID: "i-0a1b2c3d4e5f60718", SlotUID: 0x0199abcdef012345, Region: "us-east-1"})
	if err != nil {
		t.Fatal(err)
	}
	pcrs := map[uint][]byte{0: pcr(fill), 1: pcr(fill), 2: pcr(fill), 3: pcr(0), 4: pcr(0x44)}
	return func(r wire.Attestation) ([]byte, error) {
		return issuer.Document(attestation.Claims{PCRs: pcrs, Nonce: r.Nonce, UserData: r.UserData, PublicKey: r.PublicKey})
	}
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newServer(t testing.TB, attest Source, cfg *ServerConfig) *Server {
	t.Helper()
	s, err := NewServer(attest, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// pair is a connection over loopback, closed with the test.
func pair(t testing.TB) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

// within bounds what a test waits for.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// meet has a client meet far, which runs until the returned function is called.
func meet(t testing.TB, cfg Config, far func(net.Conn)) (_ *Conn, join func(), err error) {
	t.Helper()
	near, other := pair(t)
	var group sync.WaitGroup
	group.Go(func() { far(other) })
	c, err := Client(within(t), near, cfg)
	var once sync.Once
	join = func() {
		once.Do(func() {
			if c != nil {
				c.Close()
			}
			group.Wait()
		})
	}
	t.Cleanup(join)
	return c, join, err
}

// sessions are both ends of a channel.
func sessions(t testing.TB) (client, server *Conn) {
	t.Helper()
	l := newLab(t, 1)
	s := newServer(t, l.source(t, goodPCR), nil)
	ends := make(chan *Conn, 1)
	client, _, err := meet(t, Config{Options: l.options}, func(c net.Conn) {
		end, err := s.Handshake(within(t), c)
		if err != nil {
			t.Error(err)
		}
		ends <- end
	})
	if err != nil {
		t.Fatal(err)
	}
	server = <-ends
	t.Cleanup(func() { server.Close() })
	return client, server
}

// failed are the names of the checks that a document failed.
func failed(err error) (names []string) {
	var v *attestation.VerifyError
	if errors.As(err, &v) {
		for _, c := range v.Failed {
			names = append(names, c.Name)
		}
	}
	return names
}

// tlsServer is the configuration of an impostor with key.
func tlsServer(t testing.TB, key *ecdsa.PrivateKey) *tls.Config {
	t.Helper()
	certificate, err := certify(key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{NextProtos: []string{protocol}, Certificates: []tls.Certificate{certificate}}
}
