// Package services composes what a Host offers its instances under the names of
// AWS: the key service, names, and the accounts and certificates behind them.
package services

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/nitrolab/nitrolab/devices/vsock"
	"github.com/nitrolab/nitrolab/devices/vsock/ports"
	"github.com/nitrolab/nitrolab/devices/weaken"
	"github.com/nitrolab/nitrolab/emulator/ca"
	"github.com/nitrolab/nitrolab/emulator/iam"
	"github.com/nitrolab/nitrolab/emulator/kms"
	"github.com/nitrolab/nitrolab/emulator/kms/keys"
	"github.com/nitrolab/nitrolab/emulator/resolver"
	"github.com/nitrolab/nitrolab/guest/linklocal/endpoints"
)

// DefaultAccount is the AWS account of services that are told none and have no role.
// It is the one of AWS's own examples.
const DefaultAccount = "111122223333"

// KMSConfig describes the key service.
type KMSConfig struct {
	// Store is the file in which keys and policies are kept. Empty keeps them in
	// memory, and they end with the services.
	Store string

	// Window is how old an attestation document may be; zero means
	// kms.DefaultWindow.
	Window time.Duration

	// Debug says what becomes of documents of debug enclaves.
	Debug kms.DebugDocuments

	// Audit, if not nil, is called with every event of the audit log.
	Audit func(kms.Event)
}

// Config says whose services they are.
type Config struct {
	// Region, such as us-east-1, and Seed of the CA, at least ca.SeedSize bytes.
	// Required.
	Region string
	Seed   []byte

	// Roots are those of attestation documents. Required.
	Roots []*x509.Certificate

	// Account of 12 digits; empty means that of Role, or [DefaultAccount].
	Account string

	// Role is the ARN of the role of instances, empty if they have none. It has no
	// identity policies: what it may do is what key policies say.
	Role string

	KMS     KMSConfig
	Clock   func() time.Time // nil means time.Now
	Entropy io.Reader        // safe for concurrent use; nil means crypto/rand
	Log     *slog.Logger     // nil discards
	Weaken  weaken.Set       // in tests only
}

// A FieldError says that a setting is none: it names the field, what was found and
// what is allowed.
type FieldError struct{ Field, Found, Allowed string }

func (e *FieldError) Error() string {
	return fmt.Sprintf("%s is %s; allowed is %s", e.Field, e.Found, e.Allowed)
}

// Services are those of one Host. Its methods may be called concurrently.
type Services struct {
	cfg       Config
	ca        *ca.Authority
	directory *iam.Directory
	ring      *keys.Ring
	kms       *kms.Service
	web       *http.Server
	names     *resolver.Resolver

	serving sync.WaitGroup
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
}

var (
	accountPattern = regexp.MustCompile(`^[0-9]{12}$`)
	rolePattern    = regexp.MustCompile(`^arn:[a-z-]+:iam::([0-9]{12}):role/(.+)$`)
)

// withDefaults is c with the account it means.
func (c Config) withDefaults() (Config, error) {
	m := rolePattern.FindStringSubmatch(c.Role)
	switch {
	case c.Role != "" && m == nil:
		return c, &FieldError{"role", fmt.Sprintf("%.80q", c.Role), "an ARN like arn:aws:iam::123456789012:role/name"}
	case c.Account == "" && m != nil:
		c.Account = m[1]
	case c.Account == "":
		c.Account = DefaultAccount
	case !accountPattern.MatchString(c.Account):
		return c, &FieldError{"account", fmt.Sprintf("%.80q", c.Account), "a number of 12 digits"}
	case m != nil && m[1] != c.Account:
		return c, &FieldError{"role", fmt.Sprintf("of account %s", m[1]), "one of account " + c.Account}
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Entropy == nil {
		c.Entropy = rand.Reader
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

// New makes services that answer nobody before a listener is given to them.
func New(cfg Config) (*Services, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Services{cfg: cfg}
	if s.ca, err = ca.New(cfg.Seed, cfg.Clock); err != nil {
		return nil, err
	}
	s.directory = iam.NewDirectory(cfg.Account, cfg.Clock, cfg.Entropy)
	if m := rolePattern.FindStringSubmatch(cfg.Role); m != nil {
		if _, err := s.directory.CreateRole(cfg.Account, m[2]); err != nil {
			return nil, err
		}
	}
	s.ring, err = keys.New(keys.Config{
		Region: cfg.Region, Account: cfg.Account, Clock: cfg.Clock, Entropy: cfg.Entropy, Path: cfg.KMS.Store,
	})
	if err != nil {
		return nil, err
	}
	s.kms, err = kms.New(kms.Config{
		Region: cfg.Region, Account: cfg.Account,
		Directory: s.directory, Ring: s.ring, Roots: cfg.Roots,
		Clock: cfg.Clock, Entropy: cfg.Entropy,
		Window: cfg.KMS.Window, Debug: cfg.KMS.Debug, Audit: cfg.KMS.Audit,
		Log: cfg.Log.With("service", "kms"), Weaken: cfg.Weaken,
	})
	if err != nil {
		return nil, errors.Join(err, s.ring.Close())
	}
	zone := resolver.Names{}
	for _, name := range s.hostNames() {
		zone[name] = []netip.Addr{endpoints.Services}
	}
	s.names = resolver.New(zone.Lookup)
	s.web = newWebServer(s.dated(s.kms), cfg.Log)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// Account is the AWS account of instances and keys.
func (s *Services) Account() string { return s.cfg.Account }

// KMS is the key service, for its audit log and for faults. Keys are made and used
// through its API.
func (s *Services) KMS() *kms.Service { return s.kms }

// IAM are the accounts, users and roles that the services know. The root user of
// the account is there, and the role.
func (s *Services) IAM() *iam.Directory { return s.directory }

// CA is who signs the certificates of the services.
func (s *Services) CA() *ca.Authority { return s.ca }

// newWebServer is an HTTP server for clients that may be hostile.
func newWebServer(handler http.Handler, l *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 20 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          log.New(debugWriter{l}, "", 0),
	}
}

// dated answers with the time of the Host, by which clients set their clocks right
// when a signature is refused for its date.
func (s *Services) dated(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", s.cfg.Clock().UTC().Format(http.TimeFormat))
		h.ServeHTTP(w, r)
	})
}

// debugWriter takes what net/http has to say, mostly of clients that went away.
type debugWriter struct{ log *slog.Logger }

func (w debugWriter) Write(p []byte) (int, error) {
	w.log.Debug("web server", "says", string(p))
	return len(p), nil
}

// hostNames are the names under which the services are reached.
func (s *Services) hostNames() []string {
	return []string{
		"kms." + s.cfg.Region + ".amazonaws.com",
		"kms-fips." + s.cfg.Region + ".amazonaws.com",
	}
}

func (s *Services) serves(name string) bool {
	return slices.Contains(s.hostNames(), name)
}

// Serve answers with TLS on a listener until it or the services are closed.
func (s *Services) Serve(l net.Listener) {
	s.serving.Go(func() {
		err := s.web.Serve(tls.NewListener(l, s.ca.ServerConfig(s.serves)))
		if err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			s.cfg.Log.Error("services ended", "err", err)
		}
	})
}

// ServeHandler lets a handler answer without TLS on a listener until it is closed.
func (s *Services) ServeHandler(l net.Listener, handler http.Handler) {
	s.serving.Go(func() {
		if err := newWebServer(handler, s.cfg.Log).Serve(l); err != nil && !errors.Is(err, net.ErrClosed) {
			s.cfg.Log.Error("web server ended", "err", err)
		}
	})
}

// ServeParent gives a parent, at CID 2, what concerns no single instance: names, and
// services over TLS.
func (s *Services) ServeParent(sw *vsock.Switch) error {
	aws, err := sw.Listen(vsock.CIDHost, ports.AWS)
	if err != nil {
		return fmt.Errorf("services: %w", err)
	}
	dns, err := sw.Listen(vsock.CIDHost, ports.DNS)
	if err != nil {
		return errors.Join(fmt.Errorf("services: %w", err), aws.Close())
	}
	s.Serve(aws)
	s.serving.Go(func() {
		if err := s.names.Serve(s.ctx, dns); err != nil && s.ctx.Err() == nil && !errors.Is(err, net.ErrClosed) {
			s.cfg.Log.Error("resolver ended", "err", err)
		}
	})
	return nil
}

// Close ends everything. It waits for the listeners of ServeHandler, which its
// caller closes first.
func (s *Services) Close() error {
	s.cancel()
	err := s.web.Close()
	s.serving.Wait()
	return errors.Join(err, s.kms.Close(), s.ring.Close())
}
