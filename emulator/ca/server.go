package ca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"
)

// Validity of a server's certificate around the moment it is made. The time before
// it is generous because guests set their own clocks.
const (
	serverBefore = 30 * 24 * time.Hour
	serverAfter  = 395 * 24 * time.Hour

	// maxServers bounds the certificates kept; allowed names are few, so that only
	// a mistake gets there.
	maxServers = 256
)

type servers struct {
	mu    sync.Mutex
	certs map[string]*serverCert // by name
}

// A serverCert is made once, by whoever comes first.
type serverCert struct {
	once sync.Once
	cert *tls.Certificate
	err  error
}

// ServerConfig is the TLS side of a server that speaks for the names for which
// allowed is true. Clients that name none, because they connect to an address, get
// a certificate for the address they reached, if it is one of this machine.
//
// It offers HTTP/1.1 only: kmstool's C client asks for h2 too and cannot speak it
// over vsock.
func (a *Authority) ServerConfig(allowed func(name string) bool) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"http/1.1"},
		Time:       a.clock,
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			name := strings.ToLower(hello.ServerName)
			if name == "" {
				host, _, err := net.SplitHostPort(hello.Conn.LocalAddr().String())
				if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
					return nil, fmt.Errorf("client names no server")
				}
				return a.server(host)
			}
			if name != "localhost" && !allowed(name) {
				return nil, fmt.Errorf("no certificate for %.80q", name)
			}
			return a.server(name)
		},
	}
}

// server is the certificate for one name or address.
func (a *Authority) server(name string) (*tls.Certificate, error) {
	a.servers.mu.Lock()
	s := a.servers.certs[name]
	if s == nil {
		if len(a.servers.certs) >= maxServers {
			a.servers.mu.Unlock()
			return nil, fmt.Errorf("no certificate for %.80q: there are %d already", name, maxServers)
		}
		s = &serverCert{}
		a.servers.certs[name] = s
	}
	a.servers.mu.Unlock()
	s.once.Do(func() { s.cert, s.err = a.issue(name) })
	return s.cert, s.err
}

// issue makes a server's key and certificate. They are new for each Host: nobody
// pins them.
func (a *Authority) issue(name string) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("certificate for %s: %w", name, err)
	}
	var serial [16]byte
	_, _ = rand.Read(serial[:]) // never fails
	now := a.clock()
	tmpl := &x509.Certificate{
		SerialNumber: positive(serial[:]),
		Subject:      pkix.Name{CommonName: name, Organization: []string{"nitrolab"}},
		NotBefore:    later(now.Add(-serverBefore), notBefore),
		NotAfter:     earlier(now.Add(serverAfter), notAfter),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if ip := net.ParseIP(name); ip != nil {
		tmpl.IPAddresses = []net.IP{ip}
	} else {
		tmpl.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.root, key.Public(), a.key)
	if err != nil {
		return nil, fmt.Errorf("certificate for %s: %w", name, err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("certificate for %s: %w", name, err)
	}
	return &tls.Certificate{Certificate: [][]byte{der, a.root.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
