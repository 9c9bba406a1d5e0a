// Package emulator composes the hardware models, QEMU and the guests into one
// emulated Nitro host.
//
// A [Host] owns everything that lives: QEMU processes, device models,
// certificates, temporary files. Closing it leaves nothing, and so does the end
// of the process, kill -9 included. Two Hosts in one process know nothing of
// each other.
package emulator

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/nitrolab/nitrolab/devices/nsm/attestation"
	"github.com/nitrolab/nitrolab/devices/vsock"
	"github.com/nitrolab/nitrolab/emulator/guard"
	"github.com/nitrolab/nitrolab/emulator/services"
)

// A Host is one emulated Nitro host. Enclaves are started on it by an [Instance],
// or without one: then the Host itself plays the parent on vsock, as CID 3. Its
// methods may be called concurrently.
type Host struct {
	cfg       Config
	authority *attestation.Authority
	own       *parent // the Host in the role of a parent
	services  *services.Services
	entropy   io.Reader // locked
	dir       *guard.Dir

	closing   context.Context // ends when Close begins
	shut      context.CancelFunc
	launching sync.WaitGroup // Launch calls under way

	mu        sync.Mutex // guards the fields below
	instances map[string]*Instance
	ended     []remains // with KeepEnclaveDirs
	closed    bool
}

// NewHost starts a Host. It has no process of its own until an enclave runs.
func NewHost(cfg Config) (_ *Host, err error) {
	cfg, err = cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	h := &Host{
		cfg:       cfg,
		entropy:   &lockedReader{r: cfg.Entropy},
		instances: map[string]*Instance{},
	}
	h.closing, h.shut = context.WithCancel(context.Background())
	h.authority, err = attestation.NewAuthority(attestation.Config{
		Clock:    cfg.Clock,
		Entropy:  bytes.NewReader(cfg.Identity.Seed),
		Names:    cfg.Names,
		Encoding: cfg.Encoding,
	})
	if err != nil {
		return nil, fmt.Errorf("new host: %w", err)
	}
	if h.dir, err = guard.TempDir(cfg.StateDir, "host"); err != nil {
		return nil, fmt.Errorf("new host: %w", err)
	}
	h.own = newParent(h.InstanceID(), h.newSwitch())
	h.own.heart, err = newHeart(h.own.vsock, cfg.Accel.Scale(), cfg.Log)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("new host: %w", err), h.own.vsock.Close(), h.dir.Close())
	}
	if err := h.serveOwn(); err != nil {
		return nil, errors.Join(fmt.Errorf("new host: %w", err), h.own.vsock.Close(), h.own.heart.close(), h.dir.Close())
	}
	if w := cfg.Weaken.String(); w != "" {
		cfg.Log.Warn(w)
	}
	return h, nil
}

// Close ends every enclave and leaves nothing. It may be called more than once.
func (h *Host) Close() error {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.own.refuse()
	h.shut()
	h.launching.Wait()

	var errs []error
	for _, i := range h.Instances() {
		errs = append(errs, i.Close())
	}
	errs = append(errs, h.own.endEnclaves()...)
	// The switch first: it ends what the heart waits for.
	errs = append(errs, h.own.vsock.Close(), ignoreClosed(h.own.heart.close()), h.services.Close(), h.dir.Close())
	return errors.Join(errs...)
}

// newSwitch makes the vsock addresses of one parent.
func (h *Host) newSwitch() *vsock.Switch {
	return vsock.NewSwitch(&vsock.Config{Log: h.cfg.Log, Weaken: h.cfg.Weaken})
}

// ignoreClosed drops the error of closing twice.
func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Dir is a directory that is removed with the Host, kill -9 included.
func (h *Host) Dir() string { return h.dir.Path() }

// InstanceID is the parent instance's as which the Host itself starts enclaves.
func (h *Host) InstanceID() string { return h.cfg.Identity.InstanceID }

// Region is where the Host says it is.
func (h *Host) Region() string { return h.cfg.Identity.Region }

// Root is the certificate to pin for documents of this Host.
func (h *Host) Root() *x509.Certificate { return h.authority.Root() }

// RootPEM is Root as PEM text.
func (h *Host) RootPEM() []byte { return h.authority.RootPEM() }

// Now is the time of the Host.
func (h *Host) Now() time.Time { return h.cfg.Clock() }

// Listen takes connections that enclaves open to their parent, CID 3 (or 2,
// which means the same to an enclave). RemoteAddr of a connection is a
// [vsock.Addr] and tells the enclave.
func (h *Host) Listen(port uint32) (net.Listener, error) {
	l, err := h.own.vsock.Listen(vsock.CIDParent, port)
	if err != nil {
		return nil, fmt.Errorf("listen on the parent's vsock port %d: %w", port, err)
	}
	return l, nil
}

// Dial opens a connection from CID from, which is the parent's (3) unless a test
// plays an attacker, to a port of an enclave.
func (h *Host) Dial(ctx context.Context, from, to, port uint32) (net.Conn, error) {
	return h.own.dial(ctx, from, to, port)
}

// Enclaves lists the enclaves that run with the Host as their parent, by CID. For
// those of an instance see [Instance.Enclaves].
func (h *Host) Enclaves() []*Enclave { return h.own.list() }

// errClosed is what a start gets that comes too late.
var errClosed = errors.New("host is closed")

// Instances lists those that run, in the order in which they were launched.
func (h *Host) Instances() []*Instance {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := make([]*Instance, 0, len(h.instances))
	for _, i := range h.instances {
		list = append(list, i)
	}
	slices.SortFunc(list, func(a, b *Instance) int { return a.began.Compare(b.began) })
	return list
}

func (h *Host) rememberInstance(i *Instance) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.instances[i.ID()] = i
}

func (h *Host) forgetInstance(i *Instance) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.instances, i.ID())
}

// keep remembers the folder of a guest that has ended, to be saved.
func (h *Host) keep(r remains) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended = append(h.ended, r)
}

// Timeout scales a deadline that is right for KVM on a quiet machine.
func (h *Host) Timeout(base time.Duration) time.Duration { return h.cfg.Accel.Timeout(base) }

// Log is where the Host tells what happens.
func (h *Host) Log() *slog.Logger { return h.cfg.Log }

// kernelDir is where kernels taken out of bzImages are kept.
func (h *Host) kernelDir() string {
	if h.cfg.CacheDir == "" {
		return ""
	}
	return filepath.Join(h.cfg.CacheDir, "kernels")
}

// log is the logger for one enclave.
func (h *Host) log(id string) *slog.Logger { return h.cfg.Log.With("enclave", id) }

// lockedReader lets several enclaves draw from one source, which need not be
// safe for that.
type lockedReader struct {
	mu sync.Mutex
	r  io.Reader
}

func (l *lockedReader) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.r.Read(p)
}
