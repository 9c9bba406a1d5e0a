package channel

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/devices/nsm/ask"
	"github.com/nitrolab/nitrolab/devices/nsm/attestation"
	"github.com/nitrolab/nitrolab/devices/nsm/wire"
	"github.com/nitrolab/nitrolab/devices/weaken"
)

const prompt = "what the parent must not read"

// A scene is an enclave, and a parent between it and the client.
type scene struct {
	*lab
	key    *ecdsa.PrivateKey // of the enclave
	server *Server           // the enclave
}

// An impostor answers the client's nonce within a session that it ends itself.
type impostor struct {
	key    *ecdsa.PrivateKey
	answer func(session *tls.Conn, nonce []byte) (document []byte, err error)
}

// attack plays i to a client, and returns the frame that the client sent.
func (i impostor) attack(t *testing.T, conn net.Conn) []byte {
	defer conn.Close()
	session := tls.Server(conn, tlsServer(t, i.key))
	nonce, err := ask.ReadQuestion(session)
	if err != nil || len(nonce) != nonceSize {
		t.Errorf("impostor: nonce of %d bytes, %v", len(nonce), err)
		return nil
	}
	document, err := i.answer(session, nonce)
	if err != nil {
		t.Errorf("impostor: %v", err)
		return nil
	}
	if err := ask.WriteAnswer(session, document); err != nil {
		return nil // the client had left
	}
	// Everything that comes after the nonce.
	got, _ := io.ReadAll(session)
	return got
}

// relayed asks the enclave for a document over nonce, in a session of its own.
func (s *scene) relayed(t *testing.T, nonce []byte) ([]byte, error) {
	near, far := pair(t)
	var group sync.WaitGroup
	group.Go(func() {
		if _, err := s.server.Handshake(within(t), far); err != nil {
			t.Errorf("enclave: %v", err)
		}
	})
	defer group.Wait()
	session := tls.Client(near, clientTLS())
	if err := session.Handshake(); err != nil {
		return nil, err
	}
	return ask.Ask(session, nonce)
}

// TestAttacks: each fails on exactly the checks that are there for it, before the
// prompt is out, and succeeds when the one protection is off. Where another
// protection stands for itself, switching off the other one does not help.
func TestAttacks(t *testing.T) {
	off := func(p weaken.Protection) func(*Config) {
		return func(c *Config) { c.Weaken = weaken.Only(p) }
	}
	tests := []struct {
		name    string
		attack  func(*testing.T, *scene) impostor
		client  func(*Config) // nil: as usual
		fails   []string
		without func(*Config) // the attack succeeds
		still   func(*Config) // it does not; nil if there is nothing of the kind
	}{
		{
			name: "man in the middle with a key of its own",
			attack: func(t *testing.T, s *scene) impostor {
				return impostor{newKey(t), func(_ *tls.Conn, nonce []byte) ([]byte, error) { return s.relayed(t, nonce) }}
			},
			fails:   []string{attestation.CheckPublicKey, attestation.CheckUserData},
			without: off(weaken.ChannelKey),
			still:   off(weaken.ChannelNonce),
		},
		{
			name: "document of another key, made for this session",
			attack: func(t *testing.T, s *scene) impostor {
				return impostor{newKey(t), func(session *tls.Conn, nonce []byte) ([]byte, error) {
					userData, err := binding(session.ConnectionState())
					if err != nil {
						return nil, err
					}
					return s.source(t, goodPCR)(wire.Attestation{Nonce: nonce, UserData: userData, PublicKey: s.server.PublicKey()})
				}}
			},
			fails:   []string{attestation.CheckPublicKey},
			without: off(weaken.ChannelKey),
			still:   off(weaken.ChannelNonce),
		},
		{
			name: "document without a key",
			attack: func(t *testing.T, s *scene) impostor {
				return impostor{newKey(t), func(_ *tls.Conn, nonce []byte) ([]byte, error) {
					return s.source(t, goodPCR)(wire.Attestation{Nonce: nonce})
				}}
			},
			fails:   []string{attestation.CheckPublicKey, attestation.CheckUserData},
			without: off(weaken.ChannelKey),
			still:   off(weaken.ChannelNonce),
		},
		{
			name: "replay of an old document, with the enclave's key",
			attack: func(t *testing.T, s *scene) impostor {
				old, err := s.relayed(t, bytes.Repeat([]byte{7}, nonceSize))
				if err != nil {
					t.Fatal(err)
				}
				return impostor{s.key, func(*tls.Conn, []byte) ([]byte, error) { return old, nil }}
			},
			fails:   []string{attestation.CheckUserData, attestation.CheckNonce},
			without: off(weaken.ChannelNonce),
			still:   off(weaken.ChannelKey),
		},
		{
			name: "old document made for this session",
			attack: func(t *testing.T, s *scene) impostor {
				return impostor{s.key, func(session *tls.Conn, _ []byte) ([]byte, error) {
					userData, err := binding(session.ConnectionState())
					if err != nil {
						return nil, err
					}
					return s.source(t, goodPCR)(wire.Attestation{Nonce: make([]byte, nonceSize), UserData: userData, PublicKey: s.server.PublicKey()})
				}}
			},
			fails:   []string{attestation.CheckNonce},
			without: off(weaken.ChannelNonce),
			still:   off(weaken.ChannelKey),
		},
		{
			name: "splice of two sessions, with the enclave's key",
			attack: func(t *testing.T, s *scene) impostor {
				return impostor{s.key, func(_ *tls.Conn, nonce []byte) ([]byte, error) { return s.relayed(t, nonce) }}
			},
			fails:   []string{attestation.CheckUserData},
			without: off(weaken.ChannelKey), // with which the binding falls
		},
		{
			name: "exporter value without the label",
			attack: func(t *testing.T, s *scene) impostor {
				return impostor{s.key, func(session *tls.Conn, nonce []byte) ([]byte, error) {
					state := session.ConnectionState()
					value, err := state.ExportKeyingMaterial(exporterLabel, nil, exporterSize)
					if err != nil {
						return nil, err
					}
					sum := sha256.Sum256(value)
					return s.source(t, goodPCR)(wire.Attestation{Nonce: nonce, UserData: sum[:], PublicKey: s.server.PublicKey()})
				}}
			},
			fails:   []string{attestation.CheckUserData},
			without: off(weaken.ChannelNonce),
		},
		{
			name:    "another image",
			attack:  honest(func(t *testing.T, s *scene) Source { return s.source(t, 0xb2) }),
			fails:   []string{attestation.CheckPCR(0), attestation.CheckPCR(2)},
			without: func(c *Config) { c.Options.PCRs, c.Options.NoPCRPolicy = nil, true },
		},
		{
			name:    "debug mode",
			attack:  honest(func(t *testing.T, s *scene) Source { return s.source(t, 0) }),
			client:  func(c *Config) { c.Options.PCRs, c.Options.NoPCRPolicy = nil, true },
			fails:   []string{attestation.CheckDebug},
			without: func(c *Config) { c.Options.Weaken = weaken.Only(weaken.ZeroPCR) },
			still:   off(weaken.ChannelNonce),
		},
		{
			name:    "another PKI",
			attack:  honest(func(t *testing.T, s *scene) Source { return newLab(t, 2).source(t, goodPCR) }),
			fails:   []string{attestation.CheckChain},
			without: func(c *Config) { c.Options.Roots = append(c.Options.Roots, newLab(t, 2).authority.Root()) },
			still:   off(weaken.ChannelKey),
		},
		{
			name:    "document of four hours ago",
			attack:  honest(func(t *testing.T, s *scene) Source { return s.source(t, goodPCR) }),
			client:  func(c *Config) { c.Options.Time = t0.Add(4 * time.Hour) },
			fails:   []string{attestation.CheckValidity},
			without: func(c *Config) { c.Options.Time = t0 },
			still:   off(weaken.ChannelKey),
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			run := func(changes ...func(*Config)) ([]byte, error) {
				key := newKey(t)
				s := &scene{lab: newLab(t, 1), key: key}
				s.server = newServer(t, s.source(t, goodPCR), &ServerConfig{Key: key})
				cfg := Config{Options: s.options}
				if test.client != nil {
					test.client(&cfg)
				}
				for _, change := range changes {
					change(&cfg)
				}
				i := test.attack(t, s)
				var read []byte
				c, join, err := meet(t, cfg, func(conn net.Conn) { read = i.attack(t, conn) })
				if err == nil {
					if err := c.Send(within(t), []byte(prompt)); err != nil {
						t.Error(err)
					}
				}
				join()
				return read, err
			}

			read, err := run()
			if diff := cmp.Diff(test.fails, failed(err)); diff != "" {
				t.Errorf("failed checks (-want +got):\n%s\n%v", diff, err)
			}
			if len(read) != 0 {
				t.Errorf("%d bytes after the nonce went to the impostor", len(read))
			}
			read, err = run(test.without)
			if err != nil || !bytes.HasSuffix(read, []byte(prompt)) {
				t.Errorf("without the protection: %v, and the impostor read %q; want the attack to succeed", err, read)
			}
			if test.still == nil {
				return
			}
			read, err = run(test.still)
			if len(failed(err)) == 0 || len(read) != 0 {
				t.Errorf("with another protection off: %v, and the impostor read %d bytes", err, len(read))
			}
		})
	}
}

// honest is an enclave that does everything right with documents of source.
func honest(source func(*testing.T, *scene) Source) func(*testing.T, *scene) impostor {
	return func(t *testing.T, s *scene) impostor {
		key := newKey(t)
		attest, public := source(t, s), newServer(t, s.source(t, goodPCR), &ServerConfig{Key: key}).PublicKey()
		return impostor{key, func(session *tls.Conn, nonce []byte) ([]byte, error) {
			userData, err := binding(session.ConnectionState())
			if err != nil {
				return nil, err
			}
			return attest(wire.Attestation{Nonce: nonce, UserData: userData, PublicKey: public})
		}}
	}
}

// TestRelay: a parent that passes bytes on reads none of what is said, and cannot
// change it.
func TestRelay(t *testing.T) {
	for _, damage := range []bool{false, true} {
		t.Run(fmt.Sprint("damage ", damage), func(t *testing.T) {
			l := newLab(t, 1)
			s := newServer(t, l.source(t, goodPCR), nil)
			var seen bytes.Buffer
			var armed atomic.Bool
			received := make(chan []byte, 1)
			c, join, err := meet(t, Config{Options: l.options}, func(conn net.Conn) {
				defer conn.Close()
				near, far := pair(t)
				var group sync.WaitGroup
				group.Go(func() { // the enclave
					end, err := s.Handshake(within(t), far)
					if err != nil {
						t.Error(err)
						return
					}
					defer end.Close()
					frame, err := end.Receive(within(t))
					if damage != (err != nil) {
						t.Errorf("receive: %v", err)
					}
					received <- frame
				})
				group.Go(func() { // answers
					io.Copy(conn, near)
				})
				buffer := make([]byte, 4096)
				for {
					n, err := conn.Read(buffer)
					if err != nil {
						break
					}
					seen.Write(buffer[:n])
					if armed.Load() {
						buffer[n-1] ^= 1
					}
					near.Write(buffer[:n])
				}
				near.Close()
				group.Wait()
			})
			if err != nil {
				t.Fatal(err)
			}
			armed.Store(damage)
			if err := c.Send(within(t), []byte(prompt)); err != nil {
				t.Fatal(err)
			}
			if got := string(<-received); !damage && got != prompt || damage && got != "" {
				t.Errorf("the enclave received %q", got)
			}
			join()
			if bytes.Contains(seen.Bytes(), []byte(prompt)) || seen.Len() < 300 {
				t.Errorf("the parent read the prompt in %d bytes", seen.Len())
			}
		})
	}
}
