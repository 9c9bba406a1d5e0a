package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/nitrolab/nitrolab/guest/vsockproxy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParse(t *testing.T) {
	kms := vsockproxy.Endpoint{Host: "kms", Port: 443}
	tests := []struct {
		args string
		want options
	}{
		{"8000 kms 443", options{8000, kms, vsockproxy.Any, 4, "/etc/nitro_enclaves/vsock-proxy.yaml"}},
		{"-4 -w 20 --config f 8000 kms 443", options{8000, kms, vsockproxy.IPv4, 20, "f"}},
		{"8000 kms 443 --ipv6 --num_workers=1 --config=g", options{8000, kms, vsockproxy.IPv6, 1, "g"}},
		{"-6w20 8000 kms 443", options{8000, kms, vsockproxy.IPv6, 20, "/etc/nitro_enclaves/vsock-proxy.yaml"}},
		{"--ipv4 -- 4294967294 127.0.0.1 65535", options{4294967294, vsockproxy.Endpoint{Host: "127.0.0.1", Port: 65535}, vsockproxy.IPv4, 4, "/etc/nitro_enclaves/vsock-proxy.yaml"}},
	}
	for _, tt := range tests {
		got, err := parse(strings.Fields(tt.args))
		if err != nil {
			t.Errorf("%s: %v", tt.args, err)
		}
		if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(options{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.args, diff)
		}
	}
	refused := []struct{ args, want string }{
		{"", "0 arguments; needed are <local_port> <remote_addr> <remote_port>"},
		{"8000 kms", "2 arguments"},
		{"8000 kms 443 443", "4 arguments"},
		{"-4 -6 8000 kms 443", "--ipv4 cannot be used with --ipv6"},
		{"x kms 443", `local port is "x"; allowed are 0 to 4294967294`},
		{"-1 kms 443", "unknown shorthand flag"},
		{"4294967295 kms 443", `local port is "4294967295"`},
		{"8000 kms https", `remote port is "https"; allowed are 1 to 65535`},
		{"8000 kms 0", `remote port is "0"`},
		{"8000 kms 65536", `remote port is "65536"`},
		{"-w 0 8000 kms 443", `number of workers is "0"; allowed are 1 to 4096`},
		{"-w x 8000 kms 443", `number of workers is "x"`},
		{"--verbose 8000 kms 443", "unknown flag: --verbose"},
		{"8000 kms 443 --config", "flag needs an argument"},
	}
	for _, tt := range refused {
		if _, err := parse(strings.Fields(tt.args)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v, want %q", tt.args, err, tt.want)
		}
	}
}

// fake is a network where kms has one address, and who connects is answered hello.
func fake() vsockproxy.Config {
	return vsockproxy.Config{
		Resolve: func(_ context.Context, _, host string) ([]netip.Addr, error) {
			if host != "kms" {
				return nil, &net.DNSError{Err: "no such host", Name: host}
			}
			return []netip.Addr{netip.MustParseAddr("192.0.2.1")}, nil
		},
		Dial: func(_ context.Context, _, address string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			go func() {
				io.WriteString(theirs, "hello from "+address+"\n")
				theirs.Close()
			}()
			return ours, nil
		},
	}
}

// runProgram runs it to its end, or until an enclave has read a line.
func runProgram(t *testing.T, args string, listenErr error) (code int, stdout, stderr, read string, port uint32) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	start := time.Now()
	conns := make(chan net.Conn, 1)
	listen := func(p uint32) (net.Listener, error) {
		port = p
		return &listener{conns, make(chan struct{})}, listenErr
	}
	ours, theirs := net.Pipe()
	conns <- theirs
	done := make(chan string, 1)
	go func() {
		line, err := bufio.NewReader(ours).ReadString('\n')
		if err == nil {
			cancel() // SIGTERM
		}
		done <- line
	}()
	var out, errs bytes.Buffer
	code = run(ctx, strings.Fields(args), &out, &errs, listen, fake())
	if time.Since(start) > 20*time.Second {
		t.Error("it did not end by itself")
	}
	theirs.Close()
	ours.Close()
	return code, out.String(), errs.String(), <-done, port
}

// A listener hands out the connections of a channel.
type listener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	select {
	case <-l.closed:
	default:
		close(l.closed)
	}
	return nil
}

func (l *listener) Addr() net.Addr { return &net.UnixAddr{} }

func TestRun(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := write("good", "allowlist:\n- {address: kms, port: 443}\n- {address: gone, port: 443}\n")
	bad := write("bad", "allowlist:\n- kms\n")
	none := filepath.Join(dir, "none")

	tests := []struct {
		name, args string
		listen     error
		code       int
		want       string // on standard error
	}{
		{"usage", "8000 kms", nil, 2, "vsock-proxy: 2 arguments"},
		{"no file", "--config " + none + " 8000 kms 443", nil, 1, none + ": no such file"},
		{"bad file", "--config " + bad + " 8000 kms 443", nil, 1, bad + ": allowlist: line 2"},
		{"not allowed", "--config " + good + " 8000 kms 80", nil, 1, good + ": kms port 80 is not in the allowlist"},
		{"no such host", "--config " + good + " 8000 gone 443", nil, 1, "look up gone"},
		{"no vsock", "--config " + good + " 8000 kms 443", errors.New("cannot assign requested address"), 1, "listen on CID 3 port 8000: cannot assign"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, stdout, stderr, read, _ := runProgram(t, tt.args, tt.listen)
			if code != tt.code || !strings.Contains(stderr, tt.want) || stdout != "" || read != "" {
				t.Errorf("exit code %d, standard error %q, output %q, the enclave read %q", code, stderr, stdout, read)
			}
		})
	}

	t.Run("help", func(t *testing.T) {
		code, stdout, stderr, _, _ := runProgram(t, "--help", nil)
		if code != 0 || stdout != usage || stderr != "" {
			t.Errorf("exit code %d, output %q, standard error %q", code, stdout, stderr)
		}
	})
	t.Run("serves until it is told to end", func(t *testing.T) {
		code, _, stderr, read, port := runProgram(t, "--config "+good+" 8000 kms 443", nil)
		if code != 0 || read != "hello from 192.0.2.1:443\n" || port != 8000 {
			t.Errorf("exit code %d, port %d, the enclave read %q\n%s", code, port, read, stderr)
		}
		if !strings.Contains(stderr, `msg=listening cid=3 port=8000 remote="kms port 443" workers=4`) {
			t.Errorf("log:\n%s", stderr)
		}
	})
}

// Told to end before it listens, it ends in order too.
func TestRunEndsEarly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list")
	if err := os.WriteFile(path, []byte("allowlist:\n- {address: kms, port: 443}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cfg := vsockproxy.Config{Resolve: func(ctx context.Context, _, _ string) ([]netip.Addr, error) {
		cancel()
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	listen := func(uint32) (net.Listener, error) {
		t.Error("it listens")
		return nil, errors.New("no")
	}
	var stderr bytes.Buffer
	if code := run(ctx, []string{"--config", path, "8000", "kms", "443"}, io.Discard, &stderr, listen, cfg); code != 0 || stderr.Len() != 0 {
		t.Errorf("exit code %d, standard error %q", code, &stderr)
	}
}
