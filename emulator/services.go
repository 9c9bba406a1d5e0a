package emulator

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nitrolab/nitrolab/devices/vsock"
	"github.com/nitrolab/nitrolab/devices/vsock/ports"
	"github.com/nitrolab/nitrolab/emulator/ca"
	"github.com/nitrolab/nitrolab/emulator/iam"
	"github.com/nitrolab/nitrolab/emulator/kms"
	"github.com/nitrolab/nitrolab/emulator/kms/keys"
	"github.com/nitrolab/nitrolab/emulator/resolver"
	"github.com/nitrolab/nitrolab/guest/linklocal/endpoints"
)

// DefaultAccount is the AWS account of a Host that names none and has no role. It
// is the one of AWS's own examples.
const DefaultAccount = "111122223333"

// KMSConfig describes the key service of a Host.
type KMSConfig struct {
	// Store is the file in which keys and policies are kept. Empty keeps them in
	// memory, and they end with the Host.
	Store string

	// Window is how old an attestation document may be; zero means
	// kms.DefaultWindow.
	Window time.Duration

	// Debug says what becomes of documents of debug enclaves.
	Debug kms.DebugDocuments

	// Audit, if not nil, is called with every event of the audit log.
	Audit func(kms.Event)
}

// services are what a Host offers its instances under the names of AWS, and the
// accounts and keys behind them. Every parent reaches them at CID 2.
type services struct {
	region    string
	account   string
	ca        *ca.Authority
	directory *iam.Directory
	ring      *keys.Ring
	kms       *kms.Service
	web       *http.Server
	names     *resolver.Resolver
	log       *slog.Logger

	serving sync.WaitGroup
	ctx     context.Context // ends with the Host
	cancel  context.CancelFunc
}

var (
	accountPattern = regexp.MustCompile(`^[0-9]{12}$`)
	roleAccount    = regexp.MustCompile(`^arn:[a-z-]+:iam::([0-9]{12}):role/.+$`)
)

// account is the AWS account of the instances.
func (c Config) account() (string, error) {
	m := roleAccount.FindStringSubmatch(c.Role)
	switch {
	case c.Role != "" && m == nil:
		return "", &RequestError{"role", fmt.Sprintf("%.80q", c.Role), "an ARN like arn:aws:iam::123456789012:role/name"}
	case c.Account == "" && m != nil:
		return m[1], nil
	case c.Account == "":
		return DefaultAccount, nil
	case !accountPattern.MatchString(c.Account):
		return "", &RequestError{"account", fmt.Sprintf("%.80q", c.Account), "a number of 12 digits"}
	case m != nil && m[1] != c.Account:
		return "", &RequestError{"role", fmt.Sprintf("of account %s", m[1]), "one of the Host's account " + c.Account}
	}
	return c.Account, nil
}

// newServices makes the services of a Host. None of them answers before a listener
// is given to it.
func (h *Host) newServices() (_ *services, err error) {
	cfg := h.cfg
	s := &services{region: h.Region(), log: cfg.Log}
	if s.account, err = cfg.account(); err != nil {
		return nil, err
	}
	if s.ca, err = ca.New(cfg.Identity.Seed, cfg.Clock); err != nil {
		return nil, err
	}
	s.directory = iam.NewDirectory(s.account, cfg.Clock, h.entropy)
	if _, name, ok := strings.Cut(cfg.Role, ":role/"); ok {
		if _, err := s.directory.CreateRole(s.account, name); err != nil {
			return nil, err
		}
	}
	s.ring, err = keys.New(keys.Config{
		Region: s.region, Account: s.account, Clock: cfg.Clock, Entropy: h.entropy, Path: cfg.KMS.Store,
	})
	if err != nil {
		return nil, err
	}
	s.kms, err = kms.New(kms.Config{
		Region: s.region, Account: s.account,
		Directory: s.directory, Ring: s.ring, Roots: h.roots(),
		Clock: cfg.Clock, Entropy: h.entropy,
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
	s.web = newWebServer(s.kms, cfg.Log)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

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

// debugWriter takes what net/http has to say, mostly of clients that went away.
type debugWriter struct{ log *slog.Logger }

func (w debugWriter) Write(p []byte) (int, error) {
	w.log.Debug("web server", "says", string(p))
	return len(p), nil
}

// hostNames are the names under which the services are reached.
func (s *services) hostNames() []string {
	return []string{
		"kms." + s.region + ".amazonaws.com",
		"kms-fips." + s.region + ".amazonaws.com",
	}
}

func (s *services) serves(name string) bool {
	return slices.Contains(s.hostNames(), name)
}

// serve answers on a listener until it or the Host is closed.
func (s *services) serve(l net.Listener) {
	s.serving.Go(func() {
		err := s.web.Serve(tls.NewListener(l, s.ca.ServerConfig(s.serves)))
		if err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			s.log.Error("services ended", "err", err)
		}
	})
}

// serveHTTP answers without TLS on a listener until it is closed.
func (s *services) serveHTTP(l net.Listener, handler http.Handler) {
	s.serving.Go(func() {
		if err := newWebServer(handler, s.log).Serve(l); err != nil && !errors.Is(err, net.ErrClosed) {
			s.log.Error("metadata service ended", "err", err)
		}
	})
}

// serveParent gives a parent, at CID 2, what concerns no single instance.
func (s *services) serveParent(sw *vsock.Switch) error {
	aws, err := sw.Listen(vsock.CIDHost, ports.AWS)
	if err != nil {
		return fmt.Errorf("services: %w", err)
	}
	dns, err := sw.Listen(vsock.CIDHost, ports.DNS)
	if err != nil {
		return errors.Join(fmt.Errorf("services: %w", err), aws.Close())
	}
	s.serve(aws)
	s.serving.Go(func() {
		if err := s.names.Serve(s.ctx, dns); err != nil && s.ctx.Err() == nil && !errors.Is(err, net.ErrClosed) {
			s.log.Error("resolver ended", "err", err)
		}
	})
	return nil
}

// close ends everything. The parents' switches are closed by now.
func (s *services) close() error {
	s.cancel()
	err := s.web.Close()
	s.serving.Wait()
	return errors.Join(ignoreClosed(err), s.kms.Close(), s.ring.Close())
}
