package ca

import (
	"bytes"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"net"
	"strings"
	"testing"
	"time"
)

func newAuthority(t *testing.T, seed byte) *Authority {
	t.Helper()
	a, err := New(bytes.Repeat([]byte{seed}, SeedSize), nil)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestSameSeedSameAuthority(t *testing.T) {
	a, b, c := newAuthority(t, 1), newAuthority(t, 1), newAuthority(t, 2)
	if !bytes.Equal(a.RootPEM(), b.RootPEM()) {
		t.Error("equal seeds give two roots")
	}
	if bytes.Equal(a.RootPEM(), c.RootPEM()) {
		t.Error("two seeds give one root")
	}
	if !strings.Contains(a.Root().Subject.String(), "emulated") {
		t.Errorf("root calls itself %q", a.Root().Subject)
	}
	if _, err := New(make([]byte, SeedSize-1), nil); err == nil {
		t.Error("short seed accepted")
	}
}

// handshake connects a client that trusts roots to a server of a.
func handshake(t *testing.T, a *Authority, name string, roots *x509.CertPool) (tls.ConnectionState, error) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", a.ServerConfig(func(n string) bool { return n == "kms.us-east-1.amazonaws.com" }))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err == nil {
			_ = c.(*tls.Conn).Handshake()
			_ = c.Close()
		}
	}()
	conn, err := (&net.Dialer{Timeout: 10 * time.Second}).Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := tls.Client(conn, &tls.Config{ServerName: name, RootCAs: roots, NextProtos: []string{"h2", "http/1.1"}})
	err = c.Handshake()
	return c.ConnectionState(), err
}

func TestServer(t *testing.T) {
	a := newAuthority(t, 1)
	ours, others := x509.NewCertPool(), x509.NewCertPool()
	ours.AddCert(a.Root())
	others.AddCert(newAuthority(t, 2).Root())
	tests := []struct {
		name   string
		server string
		roots  *x509.CertPool
		fails  bool
	}{
		{"key service", "kms.us-east-1.amazonaws.com", ours, false},
		{"upper case", "KMS.us-east-1.amazonaws.com", ours, false},
		{"address", "127.0.0.1", ours, false}, // no server name goes out
		{"localhost", "localhost", ours, false},
		{"not allowed", "example.com", ours, true},
		{"another Host's root", "kms.us-east-1.amazonaws.com", others, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			state, err := handshake(t, a, tt.server, tt.roots)
			if (err != nil) != tt.fails {
				t.Fatalf("handshake: %v", err)
			}
			if err == nil && state.NegotiatedProtocol != "http/1.1" {
				t.Errorf("protocol %q", state.NegotiatedProtocol)
			}
		})
	}
}

func TestServerCertificateFollowsClock(t *testing.T) {
	now := time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC)
	a, err := New(make([]byte, SeedSize), func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	c, err := a.server("localhost")
	if err != nil {
		t.Fatal(err)
	}
	if !now.After(c.Leaf.NotBefore) || !now.Before(c.Leaf.NotAfter) || c.Leaf.NotAfter.Sub(now) > 398*24*time.Hour {
		t.Errorf("valid %v to %v at %v", c.Leaf.NotBefore, c.Leaf.NotAfter, now)
	}
}

func TestServersAreBounded(t *testing.T) {
	a := newAuthority(t, 1)
	for i := range maxServers {
		a.servers.certs[string(rune('a'+i))] = &serverCert{}
	}
	if _, err := a.server("one.more"); err == nil {
		t.Error("no bound")
	}
}

func TestIdentitySigner(t *testing.T) {
	a := newAuthority(t, 1)
	key, cert, err := a.IdentitySigner("us-east-1")
	if err != nil {
		t.Fatal(err)
	}
	if key.N.BitLen() != rsaBits || key.Validate() != nil {
		t.Errorf("%d bits, %v", key.N.BitLen(), key.Validate())
	}
	if err := cert.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature); err != nil {
		t.Error(err)
	}
	if !key.PublicKey.Equal(cert.PublicKey.(*rsa.PublicKey)) {
		t.Error("certificate of another key")
	}
	again, same, err := newAuthority(t, 1).IdentitySigner("us-east-1")
	if err != nil {
		t.Fatal(err)
	}
	if !again.Equal(key) || !same.Equal(cert) {
		t.Error("equal seeds give two keys")
	}
	other, _, err := a.IdentitySigner("eu-west-1")
	if err != nil {
		t.Fatal(err)
	}
	if other.Equal(key) {
		t.Error("two regions share a key")
	}
}

func BenchmarkIdentitySigner(b *testing.B) {
	a, err := New(make([]byte, SeedSize), nil)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, _, err := a.IdentitySigner("us-east-1"); err != nil {
			b.Fatal(err)
		}
	}
}
