package supervisor

import (
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
	"github.com/nitrolab/nitrolab/emulator"
	"github.com/nitrolab/nitrolab/emulator/guard"
	"github.com/nitrolab/nitrolab/images/eif"
)

// plotEnv says what the fake enclave of a supervisor process does, and callerEnv
// makes the test binary a program that calls Spawn.
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
		_, err := Spawn(context.Background(), Order{Enclave: testConfig}, func(string) {})
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// patience bounds every wait. It is never used up unless the test fails.
const patience = 20 * time.Second

var testConfig = emulator.EnclaveConfig{EIFPath: "/images/app.eif", MemoryMiB: 64, CPUs: 1}

// A fakeEnclave has no machine: what it does is called from outside.
type fakeEnclave struct {
	info           emulator.EnclaveInfo
	running, ended chan struct{}
	run, end       func()
	err            error // of WaitRunning, if it ended before it ran

	mu      sync.Mutex
	changed *sync.Cond
	console []byte // guarded by mu
	stuck   bool   // Terminate does nothing
	debug   bool
	ports   map[uint32]func(net.Conn) // what happens on a port; it owns the connection
	serving sync.WaitGroup
}

func newFakeEnclave() *fakeEnclave {
	e := &fakeEnclave{running: make(chan struct{}), ended: make(chan struct{}), ports: map[uint32]func(net.Conn){}}
	e.changed = sync.NewCond(&e.mu)
	e.run = sync.OnceFunc(func() { close(e.running) })
	e.end = sync.OnceFunc(func() {
		close(e.ended)
		e.mu.Lock()
		defer e.mu.Unlock()
		e.changed.Broadcast()
	})
	return e
}

func (e *fakeEnclave) Info() emulator.EnclaveInfo { return e.info }
func (e *fakeEnclave) Done() <-chan struct{}      { return e.ended }

func (e *fakeEnclave) WaitRunning(ctx context.Context) error {
	select {
	case <-e.running:
		return nil
	case <-e.ended:
		return e.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (e *fakeEnclave) Terminate(ctx context.Context) error {
	if e.stuck {
		return errors.New("the enclave does not end")
	}
	e.end()
	return ctx.Err()
}

func (e *fakeEnclave) print(text string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.console = append(e.console, text...)
	e.changed.Broadcast()
}

func (e *fakeEnclave) CopyConsole(ctx context.Context, w io.Writer, follow bool) error {
	if !e.debug {
		return emulator.ErrNoConsole
	}
	stop := context.AfterFunc(ctx, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.changed.Broadcast()
	})
	defer stop()
	for at := 0; ; {
		e.mu.Lock()
		for len(e.console) == at && follow && ctx.Err() == nil && !isClosed(e.ended) {
			e.changed.Wait()
		}
		piece := e.console[at:]
		e.mu.Unlock()
		if len(piece) == 0 {
			return ctx.Err()
		}
		if _, err := w.Write(piece); err != nil {
			return err
		}
		at += len(piece)
	}
}

func (e *fakeEnclave) Dial(ctx context.Context, port uint32) (net.Conn, error) {
	serve := e.ports[port]
	if serve == nil {
		return nil, &net.OpError{Op: "dial", Net: "vsock", Addr: vsock.Addr{CID: 16, Port: port}, Err: unix.ECONNREFUSED}
	}
	ours, theirs, err := pair()
	if err != nil {
		return nil, err
	}
	e.serving.Go(func() { serve(theirs) })
	return ours, nil
}

func (e *fakeEnclave) DialReady(ctx context.Context, port uint32) (net.Conn, error) {
	return e.Dial(ctx, port)
}

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

// A fakeHost runs one fakeEnclave.
type fakeHost struct {
	enclave *fakeEnclave
	dir     *guard.Dir
	log     *slog.Logger
	scale   float64
	// start is called with the configuration as the supervisor completed it.
	start func(emulator.EnclaveConfig) error
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
	return &fakeHost{enclave: e, dir: dir, log: slog.New(slog.DiscardHandler), scale: 1}, nil
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

func (h *fakeHost) Listen(port uint32) (net.Listener, error) {
	return net.Listen("unix", filepath.Join(h.Dir(), "vsock-"+strconv.FormatUint(uint64(port), 10)))
}

func (h *fakeHost) Dir() string       { return h.dir.Path() }
func (h *fakeHost) RootPEM() []byte   { return []byte("root") }
func (h *fakeHost) Log() *slog.Logger { return h.log }

func (h *fakeHost) Timeout(base time.Duration) time.Duration {
	return time.Duration(float64(base) * h.scale)
}

func (h *fakeHost) Close() error {
	h.enclave.end()
	h.enclave.serving.Wait()
	return h.dir.Close()
}

// startFake is the Starter of a supervisor process.
func startFake(ctx context.Context, _ Order, progress func(string)) (Host, error) {
	plot := os.Getenv(plotEnv)
	progress("plot " + plot)
	e := newFakeEnclave()
	h, err := newFakeHost(e)
	if err != nil {
		return nil, err
	}
	h.log = slog.New(slog.NewTextHandler(writer(func(p []byte) { progress(string(p)) }), nil))
	switch plot {
	case "run":
		e.run()
	case "fail":
		return nil, errors.Join(errors.New("no QEMU here"), h.Close())
	case "die":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case "end":
		e.err = errors.New("the guest panicked")
		e.end()
	case "chatter": // says something all the time, as long as it lives
		e.run()
		go func() {
			for !isClosed(e.ended) {
				h.log.Info("chatter")
			}
		}()
	case "late": // the enclave needs a while to give up
		h.start = func(emulator.EnclaveConfig) error {
			<-ctx.Done()
			return ctx.Err()
		}
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
