package kmsclient_test

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nitrolab/nitrolab/devices/weaken"
	"github.com/nitrolab/nitrolab/guest/kmsclient"
)

// socketPair is a pipe with buffers. Without them a client that refuses a
// certificate cannot say so while the service is still writing.
func socketPair(t *testing.T) (a, b net.Conn) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]net.Conn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "pair")
		if ends[i], err = net.FileConn(f); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	return ends[0], ends[1]
}

// The parent cannot be the key service: each way to try beside its counter-proof,
// the same service with the protection off.
func TestCertificates(t *testing.T) {
	later := begin.AddDate(200, 0, 0)
	with := func(c tls.Certificate) func(*tls.Config) {
		return func(cfg *tls.Config) { cfg.Certificates = []tls.Certificate{c} }
	}
	tests := []struct {
		name   string
		change func(*tls.Config)
	}{
		{"another authority", with(stranger.issue(host, later))},
		{"another name", with(trusted.issue("kms.us-east-2.amazonaws.com", later))},
		{"a name that begins like it", with(trusted.issue(host+".example.com", later))},
		{"expired", with(trusted.issue(host, begin.Add(time.Hour)))},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := serve(t, tt.change, operations()[0].sealed())
			s.pipe = func() (net.Conn, net.Conn) { return socketPair(t) }
			cfg := config(s)
			_, err := decrypt(t.Context(), client(t, cfg))
			var typed *kmsclient.Error
			if !errors.Is(err, kmsclient.ErrCertificate) || !errors.As(err, &typed) || typed.Attempts != 1 {
				t.Errorf("error %v; want ErrCertificate after 1 attempt", err)
			}
			if n := len(s.got()); n != 0 {
				t.Errorf("%d requests went to whoever that is", n)
			}

			cfg.Weaken = weaken.Only(weaken.ServiceTLS)
			if _, err := decrypt(t.Context(), client(t, cfg)); err != nil || len(s.got()) != 1 {
				t.Errorf("with %q: %v after %d requests", cfg.Weaken, err, len(s.got()))
			}
		})
	}
}

func TestTLSVersions(t *testing.T) {
	tests := []struct {
		version uint16
		ok      bool
	}{{tls.VersionTLS11, false}, {tls.VersionTLS12, true}, {tls.VersionTLS13, true}}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			s := serve(t, func(c *tls.Config) { c.MinVersion, c.MaxVersion = tt.version, tt.version }, operations()[0].sealed())
			_, err := decrypt(t.Context(), client(t, config(s)))
			if tt.ok != (err == nil) || !tt.ok && !errors.Is(err, kmsclient.ErrUnavailable) {
				t.Errorf("%s: %v", tls.VersionName(tt.version), err)
			}
		})
	}
}
