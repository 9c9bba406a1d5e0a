package supervisor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/nitrolab/nitrolab/devices/vsock"
	"github.com/nitrolab/nitrolab/devices/vsock/ports"
	"github.com/nitrolab/nitrolab/emulator"
	"github.com/nitrolab/nitrolab/emulator/guard"
	"github.com/nitrolab/nitrolab/images/eif"
)

// plotEnv says what the fake guest of a supervisor process does, and callerEnv makes
// the test binary a program that calls Start, for an "enclave" or an "instance", and
// keeps what it gets as long as it lives.
const (
	plotEnv   = "NITROLAB_TEST_PLOT"
	callerEnv = "NITROLAB_TEST_CALLER"
)

func TestMain(m *testing.M) {
	switch {
	case len(os.Args) == 2 && os.Args[1] == Command:
		signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
		if err := Supervise(context.Background(), os.Stdin, os.Stdout, startFake); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	case os.Getenv(callerEnv) != "":
		_, err := Start(context.Background(), testOrders[os.Getenv(callerEnv)], func(string) {})
		if err == nil {
			_, _ = os.Stdin.Read(make([]byte, 1))
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// patience bounds every wait. It is never used up unless the test fails.
const patience = 20 * time.Second

var testConfig = emulator.EnclaveConfig{EIFPath: "/images/app.eif", MemoryMiB: 64, CPUs: 1}

// testOrders are for one of each kind of guest.
var testOrders = map[string]Order{
	"enclave":  {Enclave: &testConfig},
	"instance": {Instance: &emulator.InstanceConfig{}},
}

// A fakeGuest has no machine: what it does is called from outside.
type fakeGuest struct {
	running, ended chan struct{}
	run, end       func()
	err            error // why it ended

	mu      sync.Mutex
	changed *sync.Cond
	console []byte // guarded by mu
	stuck   bool   // Terminate does nothing
	debug   bool
	ports   map[uint32]func(net.Conn) // what happens on a port; it owns the connection
	serving sync.WaitGroup
}

func newFakeGuest() *fakeGuest {
	g := &fakeGuest{running: make(chan struct{}), ended: make(chan struct{}), ports: map[uint32]func(net.Conn){}}
	g.changed = sync.NewCond(&g.mu)
	g.run = sync.OnceFunc(func() { close(g.running) })
	g.end = sync.OnceFunc(func() {
		close(g.ended)
		g.mu.Lock()
		defer g.mu.Unlock()
		g.changed.Broadcast()
	})
	return g
}

func (g *fakeGuest) Done() <-chan struct{} { return g.ended }

func (g *fakeGuest) Err() error {
	if !isClosed(g.ended) {
		return nil
	}
	return g.err
}

func (g *fakeGuest) WaitRunning(ctx context.Context) error {
	select {
	case <-g.running:
		return nil
	case <-g.ended:
		return g.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g *fakeGuest) Terminate(ctx context.Context) error {
	if g.stuck {
		return errors.New("the guest does not end")
	}
	g.end()
	return ctx.Err()
}

func (g *fakeGuest) print(text string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.console = append(g.console, text...)
	g.changed.Broadcast()
}

func (g *fakeGuest) CopyConsole(ctx context.Context, w io.Writer, follow bool) error {
	if !g.debug {
		return emulator.ErrNoConsole
	}
	stop := context.AfterFunc(ctx, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.changed.Broadcast()
	})
	defer stop()
	for at := 0; ; {
		g.mu.Lock()
		for len(g.console) == at && follow && ctx.Err() == nil && !isClosed(g.ended) {
			g.changed.Wait()
		}
		piece := g.console[at:]
		g.mu.Unlock()
		if len(piece) == 0 {
			return ctx.Err()
		}
		if _, err := w.Write(piece); err != nil {
			return err
		}
		at += len(piece)
	}
}

func (g *fakeGuest) Dial(ctx context.Context, port uint32) (net.Conn, error) {
	serve := g.ports[port]
	if serve == nil {
		return nil, &net.OpError{Op: "dial", Net: "vsock", Addr: vsock.Addr{CID: 16, Port: port}, Err: unix.ECONNREFUSED}
	}
	ours, theirs, err := pair()
	if err != nil {
		return nil, err
	}
	g.serving.Go(func() { serve(theirs) })
	return ours, nil
}

// close ends it and waits for what it serves.
func (g *fakeGuest) close() {
	g.end()
	g.serving.Wait()
}

type fakeEnclave struct {
	*fakeGuest
	info emulator.EnclaveInfo
}

func newFakeEnclave() *fakeEnclave { return &fakeEnclave{fakeGuest: newFakeGuest()} }

func (e *fakeEnclave) Info() emulator.EnclaveInfo { return e.info }

func (e *fakeEnclave) DialReady(ctx context.Context, port uint32) (net.Conn, error) {
	return e.Dial(ctx, port)
}

type fakeInstance struct {
	*fakeGuest
	info     emulator.InstanceInfo
	enclaves []emulator.EnclaveInfo
}

func newFakeInstance() *fakeInstance { return &fakeInstance{fakeGuest: newFakeGuest()} }

func (i *fakeInstance) Info() emulator.InstanceInfo { return i.info }

func (i *fakeInstance) Enclaves() []emulator.EnclaveInfo { return i.enclaves }

// pair is a connection with half-closes and buffers.
func pair() (a, b *net.UnixConn, err error) {
	a, file, err := guard.SocketPair()
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	c, err := net.FileConn(file)
	if err != nil {
		a.Close()
		return nil, nil, err
	}
	return a, c.(*net.UnixConn), nil
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// A fakeHost runs one guest.
type fakeHost struct {
	enclave  *fakeEnclave
	instance *fakeInstance
	dir      *guard.Dir
	log      *slog.Logger
	scale    float64
	// start and launch are called with the configuration as the supervisor
	// completed it.
	start  func(emulator.EnclaveConfig) error
	launch func(emulator.InstanceConfig) error
}

func newFakeHost(e *fakeEnclave) (*fakeHost, error) {
	base, err := BaseDir()
	if err != nil {
		return nil, err
	}
	dir, err := guard.TempDir(base, "host")
	if err != nil {
		return nil, err
	}
	return &fakeHost{enclave: e, instance: newFakeInstance(), dir: dir, log: slog.New(slog.DiscardHandler), scale: 1}, nil
}

func (h *fakeHost) StartEnclave(ctx context.Context, cfg emulator.EnclaveConfig) (Enclave, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if h.start != nil {
		if err := h.start(cfg); err != nil {
			return nil, err
		}
	}
	h.enclave.info.EnclaveName, h.enclave.info.EnclaveCID = cfg.Name, cfg.CID
	h.enclave.info.State, h.enclave.info.ProcessID = emulator.Running, os.Getpid()
	if h.enclave.info.EnclaveID == "" {
		h.enclave.info.EnclaveID = fmt.Sprintf("i-test-enc%d", cfg.CID)
	}
	return h.enclave, nil
}

// Launch returns when the fake runs, as that of the real Host does.
func (h *fakeHost) Launch(ctx context.Context, cfg emulator.InstanceConfig) (Instance, error) {
	if h.launch != nil {
		if err := h.launch(cfg); err != nil {
			return nil, err
		}
	}
	if err := h.instance.WaitRunning(ctx); err != nil {
		return nil, err
	}
	i := &h.instance.info
	if i.InstanceID == "" {
		i.InstanceID = fmt.Sprintf("i-%017x", os.Getpid())
	}
	i.Name, i.InstanceType = cmp.Or(cfg.Name, i.InstanceID), cfg.Type
	i.State, i.ProcessID, i.Started = emulator.Running, os.Getpid(), time.Now()
	return h.instance, nil
}

func (h *fakeHost) Listen(port uint32) (net.Listener, error) {
	return net.Listen("unix", filepath.Join(h.Dir(), "vsock-"+strconv.FormatUint(uint64(port), 10)))
}

func (h *fakeHost) Dir() string     { return h.dir.Path() }
func (h *fakeHost) RootPEM() []byte { return []byte("root") }
func (h *fakeHost) KMSEnv() string  { return "" }
func (h *fakeHost) ProxyKMS() (io.Closer, error) {
	return h.Listen(ports.KMSProxy)
}
func (h *fakeHost) Log() *slog.Logger { return h.log }

func (h *fakeHost) Timeout(base time.Duration) time.Duration {
	return time.Duration(float64(base) * h.scale)
}

func (h *fakeHost) Close() error {
	h.enclave.close()
	h.instance.close()
	return h.dir.Close()
}

// startFake is the Starter of a supervisor process.
func startFake(ctx context.Context, order Order, progress func(string)) (Host, error) {
	plot := os.Getenv(plotEnv)
	progress("plot " + plot)
	h, err := newFakeHost(newFakeEnclave())
	if err != nil {
		return nil, err
	}
	g := h.enclave.fakeGuest
	if order.Instance != nil {
		g = h.instance.fakeGuest
	}
	h.log = slog.New(slog.NewTextHandler(writer(func(p []byte) { progress(string(p)) }), nil))
	switch plot {
	case "run":
		g.run()
	case "fail":
		return nil, errors.Join(errors.New("no QEMU here"), h.Close())
	case "die":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case "end":
		g.err = errors.New("the guest panicked")
		g.end()
	case "panic": // after it ran, when somebody connects to port 7
		g.run()
		g.ports[7] = func(c net.Conn) {
			g.err = errors.New("the guest panicked")
			g.end()
			c.Close()
		}
	case "leave": // likewise, but no fault of anybody's
		g.run()
		g.ports[7] = func(c net.Conn) { g.end(); c.Close() }
	case "chatter": // says something all the time, as long as it lives
		g.run()
		go func() {
			for !isClosed(g.ended) {
				h.log.Info("chatter")
			}
		}()
	case "late": // the guest needs a while to give up
		late := func() error {
			<-ctx.Done()
			return ctx.Err()
		}
		h.start = func(emulator.EnclaveConfig) error { return late() }
		h.launch = func(emulator.InstanceConfig) error { return late() }
	}
	return h, nil
}

type writer func(p []byte)

func (w writer) Write(p []byte) (int, error) { w(p); return len(p), nil }

// useBase gives the test a base directory of its own.
func useBase(t *testing.T) string {
	t.Helper()
	// Short: a socket's path has 107 bytes at most.
	dir, err := os.MkdirTemp("", "nl")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	t.Setenv("XDG_RUNTIME_DIR", dir)
	base, err := BaseDir()
	if err != nil {
		t.Fatal(err)
	}
	return base
}

// within is a context that ends a test which hangs.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// until waits for a condition that nothing announces.
func until(t *testing.T, what string, met func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !met() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s did not happen", what)
		}
	}
}

// nothingLeft fails unless the base directory has no state directory and no
// process of the test is left.
func nothingLeft(t *testing.T, base string) {
	t.Helper()
	until(t, "the removal of every state directory in "+base, func() bool {
		left, err := filepath.Glob(filepath.Join(base, "*.state"))
		return err == nil && len(left) == 0
	})
}

// measured is an image's measurements as they come over the wire.
var measured = eif.Measurements{PCR0: eif.Digest{1}, PCR1: eif.Digest{2}, PCR2: eif.Digest{3}}
