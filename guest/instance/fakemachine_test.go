package instance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/nitrolab/nitrolab/guest/instance/control"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait. It is never used up unless the test fails.
const patience = 20 * time.Second

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// A fakeMachine records what is done to it and fails where told to.
type fakeMachine struct {
	mu      sync.Mutex
	calls   []string
	fail    map[string]error // by recorded call, or its first words
	files   map[string]string
	pci     []control.Device
	vsock   bool
	events  chan struct{}
	looked  func() // called by PCI
	resumed bool

	ports map[string]chan net.Conn // what OpenPort opens
	conns chan net.Conn            // what the vsock listener accepts; nil for none
}

func newFakeMachine() *fakeMachine {
	return &fakeMachine{
		files: map[string]string{}, events: make(chan struct{}, 1),
		ports: map[string]chan net.Conn{}, conns: make(chan net.Conn),
	}
}

func (f *fakeMachine) do(format string, args ...any) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	call := fmt.Sprintf(format, args...)
	f.calls = append(f.calls, call)
	for prefix, err := range f.fail {
		if strings.HasPrefix(call, prefix) {
			return err
		}
	}
	return nil
}

func (f *fakeMachine) AddEntropy(seed []byte) error  { return f.do("entropy %x", seed) }
func (f *fakeMachine) SetClock(t time.Time) error    { return f.do("clock %d", t.UnixNano()) }
func (f *fakeMachine) SetHostname(name string) error { return f.do("hostname %s", name) }
func (f *fakeMachine) Set(path, value string) error  { return f.do("set %s %s", path, value) }
func (f *fakeMachine) Sync()                         { f.do("sync") }
func (f *fakeMachine) FreeMemory()                   { f.do("free") }
func (f *fakeMachine) Resumed() bool                 { return f.resumed }

func (f *fakeMachine) WriteFile(path string, content []byte, mode fs.FileMode) error {
	f.mu.Lock()
	f.files[path] = string(content)
	f.mu.Unlock()
	return f.do("write %s %v", path, mode)
}

func (f *fakeMachine) Remove(path string) error { return f.do("remove %s", path) }

func (f *fakeMachine) Facts() (control.Ready, error) {
	return control.Ready{Release: "6.12", UptimeMs: 5, CPUs: 2, MemoryKiB: 100}, f.do("facts")
}

func (f *fakeMachine) OpenPort(ctx context.Context, name string) (io.ReadWriteCloser, error) {
	f.mu.Lock()
	ch := f.ports[name]
	f.mu.Unlock()
	select {
	case c := <-ch:
		return c, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (f *fakeMachine) ListenVsock() (net.Listener, error) {
	if err := f.do("listen"); err != nil {
		return nil, err
	}
	return &fakeListener{conns: f.conns, closed: make(chan struct{})}, nil
}

func (f *fakeMachine) LinkLocal(context.Context) (io.Closer, error) {
	if err := f.do("link-local"); err != nil {
		return nil, err
	}
	return closer(func() error { return f.do("end link-local") }), nil
}

type closer func() error

func (c closer) Close() error { return c() }

func (f *fakeMachine) PCI() ([]control.Device, error) {
	f.mu.Lock()
	list, looked := f.pci, f.looked
	f.mu.Unlock()
	if looked != nil {
		looked()
	}
	return list, f.do("pci")
}

func (f *fakeMachine) HasVsock() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.vsock
}

func (f *fakeMachine) Events() (<-chan struct{}, func(), error) {
	return f.events, func() { f.do("stop events") }, f.do("events")
}

func (f *fakeMachine) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *fakeMachine) done() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	calls := f.calls
	f.calls = nil
	return calls
}

// A fakeListener accepts what a test gives it.
type fakeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *fakeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *fakeListener) Close() error {
	err := errors.New("closed twice")
	l.once.Do(func() {
		close(l.closed)
		err = nil
	})
	return err
}

func (l *fakeListener) Addr() net.Addr { return fakeAddr("vsock") }

type fakeAddr string

func (fakeAddr) Network() string  { return "fake" }
func (a fakeAddr) String() string { return string(a) }
