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
	"cmp"
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
)

// firstCID is where the choice of enclave CIDs begins, as the hypervisor's; lower
// ones are for those who ask.
const firstCID = 16

// A Host is one emulated Nitro host. There is no parent instance yet: the Host
// itself plays it on vsock, as CID 3. Its methods may be called concurrently.
type Host struct {
	cfg       Config
	authority *attestation.Authority
	vsock     *vsock.Switch
	heart     *heart
	entropy   io.Reader // locked
	dir       *guard.Dir

	closing  context.Context // ends when Close begins
	shut     context.CancelFunc
	starting sync.WaitGroup // StartEnclave calls under way

	mu       sync.Mutex          // guards the fields below
	enclaves map[uint32]*Enclave // nil for a CID whose enclave is starting
	ended    []*Enclave          // with KeepEnclaveDirs
	nextCID  uint32
	closed   bool
}

// NewHost starts a Host. It has no process of its own until an enclave runs.
func NewHost(cfg Config) (_ *Host, err error) {
	cfg, err = cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	h := &Host{
		cfg:      cfg,
		entropy:  &lockedReader{r: cfg.Entropy},
		enclaves: map[uint32]*Enclave{},
		nextCID:  firstCID,
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
	h.vsock = vsock.NewSwitch(&vsock.Config{Log: cfg.Log, Weaken: cfg.Weaken})
	h.heart, err = newHeart(h.vsock, cfg.Accel.Scale(), cfg.Log)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("new host: %w", err), h.vsock.Close(), h.dir.Close())
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
	h.shut()
	h.starting.Wait()

	enclaves := h.Enclaves()
	for _, e := range enclaves {
		e.end(EndTerminated, nil) // all at once
	}
	var errs []error
	for _, e := range enclaves {
		errs = append(errs, e.Close())
	}
	// The switch first: it ends what the heart waits for.
	errs = append(errs, h.vsock.Close(), ignoreClosed(h.heart.close()), h.dir.Close())
	return errors.Join(errs...)
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

// InstanceID is the parent instance's.
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
	l, err := h.vsock.Listen(vsock.CIDParent, port)
	if err != nil {
		return nil, fmt.Errorf("listen on the parent's vsock port %d: %w", port, err)
	}
	return l, nil
}

// Dial opens a connection from CID from, which is the parent's (3) unless a test
// plays an attacker, to a port of an enclave.
func (h *Host) Dial(ctx context.Context, from, to, port uint32) (net.Conn, error) {
	c, err := h.vsock.Dial(ctx, from, to, port)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Enclaves lists those that run, by CID.
func (h *Host) Enclaves() []*Enclave {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := make([]*Enclave, 0, len(h.enclaves))
	for _, e := range h.enclaves {
		if e != nil {
			list = append(list, e)
		}
	}
	slices.SortFunc(list, func(a, b *Enclave) int { return cmp.Compare(a.cid, b.cid) })
	return list
}

// errClosed is what a start gets that comes too late.
var errClosed = errors.New("host is closed")

// reserve takes the CID asked for, or the next free one for 0. The caller ends
// that with started or release, and calls starting.Done.
func (h *Host) reserve(cid uint32) (uint32, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return 0, errClosed
	}
	taken := func(cid uint32) bool { _, ok := h.enclaves[cid]; return ok }
	if cid == 0 {
		for taken(h.nextCID) {
			h.advance()
		}
		cid = h.nextCID
		h.advance()
	}
	if taken(cid) {
		return 0, &RequestError{"enclave CID", fmt.Sprintf("%d, which another enclave has", cid), "one that is free"}
	}
	h.enclaves[cid] = nil
	h.starting.Add(1)
	return cid, nil
}

// advance moves nextCID on, around the end.
func (h *Host) advance() {
	if h.nextCID++; h.nextCID == vsock.CIDAny {
		h.nextCID = firstCID
	}
}

// started shows an enclave to the world.
func (h *Host) started(e *Enclave) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.enclaves[e.cid] = e
}

// release frees the CID of an enclave that has ended or never was. With keep its
// folder is among those to be saved.
func (h *Host) release(e *Enclave, keep bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if keep {
		h.ended = append(h.ended, e)
	}
	delete(h.enclaves, e.cid)
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
