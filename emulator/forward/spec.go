// Package forward joins vsock ports of an enclave with TCP and unix sockets of
// the machine that nitrolab runs on, in both directions.
package forward

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

// An Endpoint is one side of a forward.
type Endpoint struct {
	// Network is "vsock", "tcp" or "unix".
	Network string
	// Address is a port for vsock, host:port for tcp, a path for unix.
	Address string
	// Port is Address as a number; vsock only.
	Port uint32
}

func (e Endpoint) String() string { return e.Network + ":" + e.Address }

// A Spec listens on one side and dials the other for each connection. Exactly
// one side is vsock.
type Spec struct {
	Listen, Dial Endpoint
}

func (s Spec) String() string { return s.Listen.String() + "=" + s.Dial.String() }

// Parse reads LISTEN=DIAL, for example
//
//	tcp:127.0.0.1:8080=vsock:5005   host port 8080 reaches the enclave's port 5005
//	vsock:8000=tcp:127.0.0.1:443    the enclave's CID 3 port 8000 reaches a host port
//	vsock:9001=unix:/tmp/app.sock
func Parse(text string) (Spec, error) {
	left, right, ok := cut(text)
	if !ok {
		return Spec{}, fmt.Errorf("forward %q: want LISTEN=DIAL, such as tcp:127.0.0.1:8080=vsock:5005", text)
	}
	var s Spec
	var err error
	if s.Listen, err = parseEndpoint(left); err != nil {
		return Spec{}, fmt.Errorf("forward %q: left side: %w", text, err)
	}
	if s.Dial, err = parseEndpoint(right); err != nil {
		return Spec{}, fmt.Errorf("forward %q: right side: %w", text, err)
	}
	if (s.Listen.Network == "vsock") == (s.Dial.Network == "vsock") {
		return Spec{}, fmt.Errorf("forward %q: exactly one side must be vsock:PORT", text)
	}
	return s, nil
}

// cut splits at the "=" between the sides. A unix path may hold others.
func cut(text string) (left, right string, ok bool) {
	if i := strings.LastIndex(text, "=vsock:"); i >= 0 && !strings.HasPrefix(text, "vsock:") {
		return text[:i], text[i+1:], true
	}
	return strings.Cut(text, "=")
}

func parseEndpoint(text string) (Endpoint, error) {
	network, address, ok := strings.Cut(text, ":")
	if !ok {
		return Endpoint{}, fmt.Errorf("%q has no network; allowed are vsock:PORT, tcp:HOST:PORT and unix:PATH", text)
	}
	e := Endpoint{Network: network, Address: address}
	switch network {
	case "vsock":
		// The largest value is VMADDR_PORT_ANY and no port.
		port, err := strconv.ParseUint(address, 10, 32)
		if err != nil || port == 1<<32-1 {
			return Endpoint{}, fmt.Errorf("vsock port is %q; allowed are 0 to 4294967294", address)
		}
		e.Port = uint32(port)
	case "tcp":
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			return Endpoint{}, fmt.Errorf("tcp address is %q; allowed is HOST:PORT", address)
		}
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return Endpoint{}, fmt.Errorf("tcp port is %q; allowed are 0 to 65535", port)
		}
	case "unix":
		// sun_path holds 108 bytes with its terminator.
		if address == "" || len(address) > 107 {
			return Endpoint{}, fmt.Errorf("unix path has %d bytes; allowed are 1 to 107", len(address))
		}
		if strings.HasPrefix(address, "@") || strings.ContainsRune(address, 0) {
			return Endpoint{}, fmt.Errorf("unix path is %q; allowed is the path of a file, because abstract sockets have no owner", address)
		}
	default:
		return Endpoint{}, fmt.Errorf("network is %q; allowed are vsock, tcp and unix", network)
	}
	return e, nil
}
