package channel

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/devices/nsm/ask"
	"github.com/nitrolab/nitrolab/devices/nsm/attestation"
	"github.com/nitrolab/nitrolab/devices/nsm/wire"
)

func TestHandshake(t *testing.T) {
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, cfg := range map[string]*ServerConfig{"key of its own": nil, "P-256": {Key: newKey(t)}, "P-384": {Key: p384}} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, 1)
			var asked wire.Attestation
			make := l.source(t, goodPCR)
			s := newServer(t, func(r wire.Attestation) ([]byte, error) { asked = r; return make(r) }, cfg)
			var userData []byte
			nonce := bytes.Repeat([]byte{0x6e}, nonceSize)
			c, join, err := meet(t, Config{Options: l.options, Rand: bytes.NewReader(nonce)}, func(conn net.Conn) {
				end, err := s.Handshake(within(t), conn)
				if err != nil {
					t.Error(err)
					return
				}
				defer end.Close()
				if end.Result() != nil {
					t.Error("the server has a result")
				}
				state := end.tls.ConnectionState()
				value, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32)
				if err != nil {
					t.Error(err)
				}
				sum := sha256.Sum256(append([]byte("nitrolab attested channel, version 1\x00"), value...))
				userData = sum[:]
				if frame, err := end.Receive(within(t)); err != nil || string(frame) != prompt {
					t.Errorf("received %q, %v", frame, err)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Send(within(t), []byte(prompt)); err != nil {
				t.Error(err)
			}
			join()
			want := wire.Attestation{Nonce: nonce, UserData: userData, PublicKey: s.PublicKey()}
			if diff := cmp.Diff(want, asked); diff != "" {
				t.Errorf("request of a document (-want +got):\n%s", diff)
			}
			d := c.Result().Document
			got := wire.Attestation{Nonce: d.Nonce, UserData: d.UserData, PublicKey: d.PublicKey}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
			key, err := x509.ParsePKIXPublicKey(s.PublicKey())
			if err != nil || cfg != nil && !cfg.Key.PublicKey.Equal(key) {
				t.Errorf("public key %v, %v", key, err)
			}
			if v := c.tls.ConnectionState().Version; v != tls.VersionTLS13 {
				t.Errorf("version %#x", v)
			}
		})
	}
}

// TestNoncesAndKeysAreFresh: by default no two sessions have the same nonce, and no
// two servers the same key.
func TestNoncesAndKeysAreFresh(t *testing.T) {
	seen := make(map[string]bool)
	for range 2 {
		c, s := sessions(t)
		d := c.Result().Document
		for _, v := range [][]byte{d.Nonce, d.UserData, d.PublicKey} {
			if seen[string(v)] {
				t.Errorf("%x again", v)
			}
			seen[string(v)] = true
		}
		s.Close()
	}
}

func TestNewServerErrors(t *testing.T) {
	source := newLab(t, 1).source(t, goodPCR)
	p521, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewServer(nil, nil); err == nil || !strings.Contains(err.Error(), "no source") {
		t.Errorf("without a source: %v", err)
	}
	if _, err := NewServer(source, &ServerConfig{Key: p521}); err == nil || !strings.Contains(err.Error(), "curve P-521, allowed are P-256 and P-384") {
		t.Errorf("P-521: %v", err)
	}
}

func TestClientOptions(t *testing.T) {
	good := newLab(t, 1).options
	with := func(change func(*Config)) Config {
		c := Config{Options: good}
		change(&c)
		return c
	}
	tests := []struct {
		name string
		cfg  Config
		want string
	}{
		{"nonce", with(func(c *Config) { c.Options.Nonce = []byte{} }), "set by the channel"},
		{"public key", with(func(c *Config) { c.Options.PublicKey = []byte{1} }), "set by the channel"},
		{"user data", with(func(c *Config) { c.Options.UserData = []byte{1} }), "set by the channel"},
		{"entropy ends", with(func(c *Config) { c.Rand = strings.NewReader("only these") }), io.ErrUnexpectedEOF.Error()},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			near, far := pair(t)
			if c, err := Client(within(t), near, test.cfg); c != nil || err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
			if got, err := io.ReadAll(far); len(got) != 0 || err != nil {
				t.Errorf("%d bytes were sent, %v; want none and a closed connection", len(got), err)
			}
		})
	}
	// A policy that would accept anything is refused, before a prompt goes out.
	s := newServer(t, newLab(t, 1).source(t, goodPCR), nil)
	for _, test := range []struct {
		change func(*Config)
		is     error
	}{
		{func(c *Config) { c.Options.Roots = nil }, attestation.ErrNoRoot},
		{func(c *Config) { c.Options.PCRs = nil }, attestation.ErrNoPCRPolicy},
	} {
		_, join, err := meet(t, with(test.change), func(c net.Conn) { s.Handshake(within(t), c) })
		if !errors.Is(err, test.is) {
			t.Errorf("error %v, want %v", err, test.is)
		}
		join()
	}
}

// TestClientMeetsStrangers: servers that are no enclave's.
func TestClientMeetsStrangers(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	rsaDER, err := x509.CreateCertificate(rand.Reader, template, template, &rsaKey.PublicKey, rsaKey)
	if err != nil {
		t.Fatal(err)
	}
	// after has an impostor do something in place of an answer.
	after := func(answer func(*tls.Conn)) func(net.Conn) {
		return func(c net.Conn) {
			session := tls.Server(c, tlsServer(t, newKey(t)))
			if _, err := ask.ReadQuestion(session); err == nil {
				answer(session)
			}
			session.Close()
		}
	}
	// speak is a server of another configuration.
	speak := func(change func(*tls.Config)) func(net.Conn) {
		cfg := tlsServer(t, newKey(t))
		change(cfg)
		return func(c net.Conn) {
			defer c.Close()
			session := tls.Server(c, cfg)
			if session.Handshake() != nil {
				return
			}
			if got, _ := io.ReadAll(session); len(got) > 0 {
				t.Errorf("the client sent %d bytes", len(got))
			}
		}
	}
	var refused *ask.RefusedError
	tests := []struct {
		name string
		far  func(net.Conn)
		is   error  // or
		as   any    // or
		want string // in the text
	}{
		{"closes", func(c net.Conn) { c.Close() }, nil, nil, "handshake"},
		{"another protocol", func(c net.Conn) { io.WriteString(c, "SSH-2.0-OpenSSH_9.6\r\n"); c.Close() }, nil, nil, "handshake"},
		{"TLS 1.2", speak(func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }), nil, nil, "handshake"},
		{"no ALPN", speak(func(c *tls.Config) { c.NextProtos = nil }), ErrProtocol, nil, "no such ALPN"},
		{"another ALPN", speak(func(c *tls.Config) { c.NextProtos = []string{"h2"} }), nil, nil, "handshake"},
		{"RSA", speak(func(c *tls.Config) {
			c.Certificates = []tls.Certificate{{Certificate: [][]byte{rsaDER}, PrivateKey: rsaKey}}
		}), ErrProtocol, nil, "a key of RSA instead of ECDSA"},
		{"two certificates", speak(func(c *tls.Config) {
			c.Certificates[0].Certificate = append(c.Certificates[0].Certificate, rsaDER)
		}), ErrProtocol, nil, "2 certificates instead of one"},
		{"closes after the nonce", after(func(*tls.Conn) {}), io.ErrUnexpectedEOF, nil, "read answer"},
		{"refuses", after(func(s *tls.Conn) { ask.WriteRefusal(s, "no \x1b[31mNSM") }), nil, &refused, "no ?[31mNSM"},
		{"document too long", after(func(s *tls.Conn) { s.Write([]byte{0, 0, 0x30, 1}) }), ErrProtocol, nil, "12289 bytes announced"},
		{"document of 4 GiB", after(func(s *tls.Conn) { s.Write([]byte{0xff, 0xff, 0xff, 0xff}) }), ErrProtocol, nil, "announced"},
		{"reason too long", after(func(s *tls.Conn) { s.Write([]byte{0, 0, 0, 0, 0, 1, 0, 0}) }), ErrProtocol, nil, "announced"},
		{"half a document", after(func(s *tls.Conn) { s.Write([]byte{0, 0, 1, 0, 0xd2}) }), io.ErrUnexpectedEOF, nil, "read answer"},
		{"no document", after(func(s *tls.Conn) { ask.WriteAnswer(s, []byte("text")) }), attestation.ErrFormat, nil, "format"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, join, err := meet(t, Config{Options: newLab(t, 1).options}, test.far)
			join()
			if c != nil || err == nil || !strings.Contains(err.Error(), test.want) ||
				test.is != nil && !errors.Is(err, test.is) || test.as != nil && !errors.As(err, test.as) {
				t.Errorf("error %v, want one that matches %v and has %q", err, test.is, test.want)
			}
		})
	}
}

// TestServerMeetsStrangers: clients that say something else than a nonce.
func TestServerMeetsStrangers(t *testing.T) {
	after := func(message ...byte) func(*testing.T, net.Conn) {
		return func(_ *testing.T, c net.Conn) {
			session := tls.Client(c, clientTLS())
			session.Write(message)
			session.CloseWrite()
			io.Copy(io.Discard, session)
		}
	}
	speak := func(change func(*tls.Config)) func(*testing.T, net.Conn) {
		return func(t *testing.T, c net.Conn) {
			cfg := clientTLS()
			cfg.VerifyConnection = nil
			change(cfg)
			session := tls.Client(c, cfg)
			session.Write(append([]byte{0, 0, 0, nonceSize}, make([]byte, nonceSize)...))
			if got, _ := io.ReadAll(session); len(got) > 0 {
				t.Errorf("the server sent %d bytes", len(got))
			}
		}
	}
	nonce := func(n int) []byte { return append([]byte{0, 0, byte(n >> 8), byte(n)}, make([]byte, n)...) }
	tests := []struct {
		name string
		near func(*testing.T, net.Conn)
		is   error // or
		want string
	}{
		{"closes", func(_ *testing.T, c net.Conn) { c.Close() }, nil, "handshake"},
		{"another protocol", func(_ *testing.T, c net.Conn) { io.WriteString(c, "GET / HTTP/1.1\r\n\r\n"); c.Close() }, nil, "handshake"},
		{"TLS 1.2", speak(func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12 }), nil, "handshake"},
		{"no ALPN", speak(func(c *tls.Config) { c.NextProtos = nil }), ErrProtocol, "no such ALPN"},
		{"another ALPN", speak(func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} }), nil, "handshake"},
		{"closes after the handshake", after(), io.EOF, "EOF"},
		{"half a nonce", after(nonce(nonceSize)[:20]...), io.ErrUnexpectedEOF, "nonce"},
		{"empty nonce", after(nonce(0)...), ErrProtocol, "a nonce of 0 bytes instead of 32"},
		{"nonce too short", after(nonce(nonceSize - 1)...), ErrProtocol, "a nonce of 31 bytes"},
		{"nonce too long", after(nonce(nonceSize + 1)...), ErrProtocol, "a nonce of 33 bytes"},
		{"nonce beyond the NSM's", after(nonce(513)...), ErrProtocol, "513 bytes announced"},
		{"nonce of 4 GiB", after(0xff, 0xff, 0xff, 0xff), ErrProtocol, "announced"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			near, far := pair(t)
			done := make(chan struct{})
			go func() {
				defer close(done)
				test.near(t, near)
			}()
			s := newServer(t, func(wire.Attestation) ([]byte, error) {
				t.Error("a document was asked for")
				return nil, errors.New("none")
			}, nil)
			c, err := s.Handshake(within(t), far)
			if c != nil || err == nil || !strings.Contains(err.Error(), test.want) || test.is != nil && !errors.Is(err, test.is) {
				t.Errorf("error %v, want one that matches %v and has %q", err, test.is, test.want)
			}
			<-done // which it is when far was closed
		})
	}
}

// TestNoDocument: the client learns why there is none.
func TestNoDocument(t *testing.T) {
	broken := errors.New("NSM is gone")
	s := newServer(t, func(wire.Attestation) ([]byte, error) { return nil, broken }, nil)
	_, join, err := meet(t, Config{Options: newLab(t, 1).options}, func(c net.Conn) {
		if _, err := s.Handshake(within(t), c); !errors.Is(err, broken) {
			t.Errorf("server: %v, want %v", err, broken)
		}
	})
	var refused *ask.RefusedError
	if !errors.As(err, &refused) || refused.Reason != broken.Error() {
		t.Errorf("client: %v, want a refusal with %q", err, broken)
	}
	join()
}

// TestEndedContext: nothing begins.
func TestEndedContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	l := newLab(t, 1)
	near, far := pair(t)
	if _, err := Client(ctx, near, Config{Options: l.options}); !errors.Is(err, context.Canceled) {
		t.Errorf("client: %v", err)
	}
	if _, err := newServer(t, l.source(t, goodPCR), nil).Handshake(ctx, far); !errors.Is(err, context.Canceled) {
		t.Errorf("server: %v", err)
	}
	client, server := sessions(t)
	if err := client.Send(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("send: %v", err)
	}
	if _, err := server.Receive(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("receive: %v", err)
	}
	// The session is as it was: nothing had begun.
	if err := client.Send(within(t), []byte("on")); err != nil {
		t.Error(err)
	}
	if frame, err := server.Receive(within(t)); string(frame) != "on" || err != nil {
		t.Errorf("received %q, %v", frame, err)
	}
}
