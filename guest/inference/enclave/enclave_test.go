package enclave

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"go.uber.org/goleak"

	"github.com/nitrolab/nitrolab/devices/nsm/attestation"
	"github.com/nitrolab/nitrolab/devices/nsm/wire"
	"github.com/nitrolab/nitrolab/devices/vsock/ports"
	"github.com/nitrolab/nitrolab/devices/weaken"
	"github.com/nitrolab/nitrolab/guest/inference/provision"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const settings = `{"region":"us-east-1","key_id":"arn:aws:kms:us-east-1:123456789012:alias/weights","context":{"model":"answers"}}`

// A socket is a listener that hands out one end of pipes.
type socket struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newSocket() *socket { return &socket{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (s *socket) Accept() (net.Conn, error) {
	select {
	case c := <-s.conns:
		return c, nil
	case <-s.closed:
		return nil, net.ErrClosed
	}
}

func (s *socket) Close() error   { s.once.Do(func() { close(s.closed) }); return nil }
func (s *socket) Addr() net.Addr { return &net.UnixAddr{} }

// image has a certificate authority, for which any certificate will do.
func image(t *testing.T) fstest.MapFS {
	t.Helper()
	a, err := attestation.NewAuthority(attestation.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return fstest.MapFS{
		"etc/nitrolab/inference.json":       {Data: []byte(settings)},
		"etc/ssl/certs/ca-certificates.crt": {Data: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Root().Raw})},
	}
}

func noDocument(wire.Attestation) ([]byte, error) { return nil, errors.New("no document") }

func TestMeasured(t *testing.T) {
	s, roots, err := machine{root: image(t)}.measured()
	if err != nil || s.Region != "us-east-1" || s.Context["model"] != "answers" || !strings.HasSuffix(s.KeyID, ":alias/weights") || roots == nil {
		t.Errorf("settings %+v, %v", s, err)
	}
	tests := []struct {
		name, path string
		file       *fstest.MapFile // nil removes it
		want       string
	}{
		{"no settings", "etc/nitrolab/inference.json", nil, "file does not exist"},
		{"bad settings", "etc/nitrolab/inference.json", &fstest.MapFile{Data: []byte(`{"region":"us-east-1"}`)}, "/etc/nitrolab/inference.json: settings: key_id is missing"},
		{"no authorities", "etc/ssl/certs/ca-certificates.crt", nil, "file does not exist"},
		{"an empty list of authorities", "etc/ssl/certs/ca-certificates.crt", &fstest.MapFile{}, "/etc/ssl/certs/ca-certificates.crt holds no certificate"},
	}
	for _, tt := range tests {
		root := image(t)
		if tt.file == nil {
			delete(root, tt.path)
		} else {
			root[tt.path] = tt.file
		}
		err := machine{root: root, attest: noDocument}.run(t.Context(), nil)
		if err == nil || !strings.Contains(err.Error(), tt.want) || tt.file == nil && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

// Both ports are served, by a server that has the hook it was given, until the end.
func TestRun(t *testing.T) {
	sockets := map[uint32]*socket{ports.Provision: newSocket(), ports.Inference: newSocket()}
	var stderr bytes.Buffer
	m := machine{image(t), noDocument, func(port uint32) (net.Listener, error) { return sockets[port], nil }, &stderr}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- m.run(ctx, func(weaken.Protection) (weaken.Set, error) { return weaken.Set{}, errors.New("the hook") })
	}()
	dial := func(port uint32) net.Conn {
		ours, theirs := net.Pipe()
		sockets[port].conns <- theirs
		return ours
	}
	c := dial(ports.Provision)
	_, err := provision.Send(t.Context(), c, provision.Request{
		Credentials: provision.Credentials{AccessKeyID: "A", SecretAccessKey: "B"}, Weights: []byte("x"), Weaken: weaken.ZeroPCR,
	})
	if err == nil || !strings.Contains(err.Error(), "the hook") {
		t.Errorf("provision: %v", err)
	}
	c = dial(ports.Inference)
	defer c.Close()
	if _, err := c.Write([]byte("no TLS at all, but long enough")); err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("it ends with %v", err)
	}
	for _, want := range []string{"listening on vsock port 5200\n", "listening on vsock port 5443\n"} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("standard error has no %q:\n%s", want, &stderr)
		}
	}
}

// A port that is taken ends it, and leaves none open.
func TestPortTaken(t *testing.T) {
	taken := errors.New("address already in use")
	for _, port := range []uint32{ports.Provision, ports.Inference} {
		other := newSocket()
		m := machine{image(t), noDocument, func(p uint32) (net.Listener, error) {
			if p == port {
				return nil, taken
			}
			return other, nil
		}, io.Discard}
		if err := m.run(t.Context(), nil); !errors.Is(err, taken) {
			t.Errorf("port %d: %v", port, err)
		}
		select {
		case <-other.closed:
		default:
			if port == ports.Provision {
				t.Error("the other port is open")
			}
		}
	}
}
