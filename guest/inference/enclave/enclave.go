// Package enclave joins the inference server with the enclave it runs in: the
// settings in its image, the NSM, and vsock. It is the whole of guest/cmd/inference.
package enclave

import (
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"strings"

	"github.com/mdlayher/vsock"

	"github.com/nitrolab/nitrolab/devices/nsm/wire"
	"github.com/nitrolab/nitrolab/devices/vsock/ports"
	"github.com/nitrolab/nitrolab/devices/weaken"
	"github.com/nitrolab/nitrolab/guest/inference"
	"github.com/nitrolab/nitrolab/guest/nsm"
)

// Run serves until ctx ends. allowed is [inference.Config.Weaken].
func Run(ctx context.Context, allowed func(weaken.Protection) (weaken.Set, error)) error {
	module, err := nsm.Open()
	if err != nil {
		return err
	}
	defer module.Close()
	return machine{os.DirFS("/"), module.Attest, listen, os.Stderr}.run(ctx, allowed)
}

// A machine is the enclave around the server.
type machine struct {
	root   fs.FS
	attest func(wire.Attestation) ([]byte, error)
	listen func(port uint32) (net.Listener, error)
	stderr io.Writer
}

func (m machine) run(ctx context.Context, allowed func(weaken.Protection) (weaken.Set, error)) error {
	settings, roots, err := m.measured()
	if err != nil {
		return err
	}
	s, err := inference.New(inference.Config{
		Settings: settings, Roots: roots, Attest: m.attest, Weaken: allowed,
		Log: slog.New(slog.NewTextHandler(m.stderr, nil)),
	})
	if err != nil {
		return err
	}
	clients, err := m.open(ports.Inference)
	if err != nil {
		return err
	}
	parent, err := m.open(ports.Provision)
	if err != nil {
		clients.Close()
		return err
	}
	return s.Serve(ctx, parent, clients)
}

// measured is what the image says.
func (m machine) measured() (inference.Settings, *x509.CertPool, error) {
	read := func(path string) ([]byte, error) { return fs.ReadFile(m.root, strings.TrimPrefix(path, "/")) }
	file, err := read(inference.SettingsPath)
	if err != nil {
		return inference.Settings{}, nil, err
	}
	settings, err := inference.ParseSettings(file)
	if err != nil {
		return inference.Settings{}, nil, fmt.Errorf("%s: %w", inference.SettingsPath, err)
	}
	bundle, err := read(inference.RootsPath)
	if err != nil {
		return inference.Settings{}, nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(bundle) {
		return inference.Settings{}, nil, fmt.Errorf("%s holds no certificate", inference.RootsPath)
	}
	return settings, roots, nil
}

func (m machine) open(port uint32) (net.Listener, error) {
	l, err := m.listen(port)
	if err != nil {
		return nil, fmt.Errorf("listen on vsock port %d: %w", port, err)
	}
	fmt.Fprintf(m.stderr, "inference: listening on vsock port %d\n", port)
	return l, nil
}

func listen(port uint32) (net.Listener, error) {
	l, err := vsock.Listen(port, nil)
	if err != nil {
		return nil, err // not a nil *vsock.Listener in a net.Listener
	}
	return l, nil
}
