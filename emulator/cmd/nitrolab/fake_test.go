package main

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
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nitrolab/nitrolab/devices/vsock/ports"
	"github.com/nitrolab/nitrolab/emulator"
	"github.com/nitrolab/nitrolab/emulator/guard"
	"github.com/nitrolab/nitrolab/emulator/supervisor"
	"github.com/nitrolab/nitrolab/guest/agent"
)

// The commands around supervisors are tested as processes, but without virtual
// machines: the test binary is the command, and its supervisors have a fake Host. The
// guest's agent is the real one; it runs commands on this machine, as the user.

// fakeEnv makes the test binary the command, and says what its guests do.
const fakeEnv = "NITROLAB_TEST_FAKE"

// beCommand is main with fake guests.
func beCommand() int {
	ctx := untilSignal()
	if len(os.Args) == 2 && os.Args[1] == supervisor.Command {
		signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
		if err := supervisor.Supervise(ctx, os.Stdin, os.Stdout, startFake); err != nil {
			return codeFailed
		}
		return 0
	}
	return run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
}

// newFakeWorld is a world of fake guests. Their home is in it, with a folder of
// programs that stand for those of a guest.
func newFakeWorld(t *testing.T, plot string) *world {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	w := makeWorld(t, exe)
	w.env = append(w.env, fakeEnv+"="+plot, "NO_COLOR=1")
	if err := os.MkdirAll(w.guest("bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	w.allocator("exit 0")
	return w
}

// guest is a path in the home of the guests of a world.
func (w *world) guest(name string) string { return filepath.Join(w.home, "state", name) }

// allocator makes the guests' allocator a script.
func (w *world) allocator(script string) {
	w.t.Helper()
	text := "#!/bin/sh\necho ran >>$HOME/allocator.log\n" + script + "\n"
	if err := os.WriteFile(w.guest("bin/nitro-enclaves-allocator"), []byte(text), 0o700); err != nil {
		w.t.Fatal(err)
	}
}

// startFake makes the Host of a supervisor. The plot is what fakeEnv says:
//
//	run    guests run
//	slow   they never come to that
//	fail   they fail at that
//
// One that runs fails when there is a file "die" in its home, and ends when there is
// one "leave".
func startFake(ctx context.Context, o supervisor.Order, progress func(string)) (supervisor.Host, error) {
	progress("nitrolab fake")
	base, err := supervisor.BaseDir()
	if err != nil {
		return nil, err
	}
	dir, err := guard.TempDir(base, "host")
	if err != nil {
		return nil, err
	}
	home := os.Getenv("XDG_STATE_HOME")
	server, err := agent.New(&agent.Config{Env: []string{
		"PATH=" + filepath.Join(home, "bin") + ":/usr/bin:/bin", "HOME=" + home,
	}})
	if err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	h := &fakeHost{dir: dir, plot: os.Getenv(fakeEnv)}
	h.guest = &fakeGuest{home: home, agent: server, done: make(chan struct{})}
	h.guest.ctx, h.guest.cancel = context.WithCancel(context.Background())
	h.guest.agents = &queue{make(chan net.Conn), h.guest.ctx.Done()}
	return h, nil
}

// A fakeHost has one guest.
type fakeHost struct {
	dir   *guard.Dir
	plot  string
	guest *fakeGuest
}

func (h *fakeHost) StartEnclave(ctx context.Context, cfg emulator.EnclaveConfig) (supervisor.Enclave, error) {
	e := fakeEnclave{h.guest, emulator.EnclaveInfo{
		EnclaveName: cfg.Name, EnclaveID: fmt.Sprintf("i-0123456789abcdef0-enc%015x", cfg.CID), ProcessID: os.Getpid(), EnclaveCID: cfg.CID,
		NumberOfCPUs: cfg.CPUs, CPUIDs: []int{0}, MemoryMiB: cfg.MemoryMiB, State: emulator.Running, Flags: "NONE",
	}}
	if cfg.Debug {
		e.info.Flags = debugFlag
	}
	return e, h.begin(ctx)
}

func (h *fakeHost) Launch(ctx context.Context, cfg emulator.InstanceConfig) (supervisor.Instance, error) {
	id := fmt.Sprintf("i-%017x", os.Getpid())
	i := fakeInstance{h.guest, emulator.InstanceInfo{
		InstanceID: id, Name: cmp.Or(cfg.Name, id), InstanceType: cmp.Or(cfg.Type, "m5.xlarge"), State: emulator.Running,
		ProcessID: os.Getpid(), QEMU: 1, CPUs: cmp.Or(cfg.CPUs, 4), MemoryMiB: cmp.Or(cfg.MemoryMiB, 1024), Kernel: "6.12",
		Warm: !cfg.Cold, Started: time.Now(), Answered: 520 * time.Millisecond, Enclaves: 1,
	}}
	return i, h.begin(ctx)
}

func (h *fakeHost) begin(ctx context.Context) error {
	switch h.plot {
	case "slow":
		<-ctx.Done()
		return ctx.Err()
	case "fail":
		return errors.New("the guest panicked")
	}
	h.guest.serving.Go(h.guest.watch)
	h.guest.serving.Go(func() { _ = h.guest.agent.Serve(h.guest.ctx, h.guest.agents) })
	return nil
}

func (h *fakeHost) Listen(uint32) (net.Listener, error)      { return nil, errors.New("no parent here") }
func (h *fakeHost) Dir() string                              { return h.dir.Path() }
func (h *fakeHost) RootPEM() []byte                          { return []byte("root") }
func (h *fakeHost) KMSEnv() string                           { return "" }
func (h *fakeHost) ProxyKMS() (io.Closer, error)             { return io.NopCloser(nil), nil }
func (h *fakeHost) Timeout(base time.Duration) time.Duration { return base }
func (h *fakeHost) Log() *slog.Logger                        { return slog.New(slog.DiscardHandler) }
func (h *fakeHost) Close() error                             { h.guest.end(nil); h.guest.serving.Wait(); return h.dir.Close() }

// A fakeGuest is an agent.
type fakeGuest struct {
	home    string
	agent   *agent.Server
	agents  *queue          // connections to it
	ctx     context.Context // of the agent
	cancel  context.CancelFunc
	serving sync.WaitGroup
	done    chan struct{}
	once    sync.Once
	err     error // set before done is closed
}

func (g *fakeGuest) end(err error) {
	g.once.Do(func() {
		g.err = err
		close(g.done)
		g.cancel()
	})
}

// watch looks for the files that end it.
func (g *fakeGuest) watch() {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		for name, err := range map[string]error{"die": errors.New("the guest panicked"), "leave": nil} {
			if _, missing := os.Stat(filepath.Join(g.home, name)); missing == nil {
				g.end(err)
			}
		}
		select {
		case <-tick.C:
		case <-g.done:
			return
		}
	}
}

func (g *fakeGuest) Done() <-chan struct{} { return g.done }

func (g *fakeGuest) Err() error {
	select {
	case <-g.done:
		return g.err
	default:
		return nil
	}
}

func (g *fakeGuest) Terminate(context.Context) error { g.end(nil); return nil }

func (g *fakeGuest) CopyConsole(ctx context.Context, w io.Writer, follow bool) error {
	_, err := io.WriteString(w, "Linux version fake\n")
	if follow {
		select {
		case <-g.done:
		case <-ctx.Done():
		}
	}
	return err
}

func (g *fakeGuest) Dial(_ context.Context, port uint32) (net.Conn, error) {
	if _, err := os.Stat(filepath.Join(g.home, "no agent")); err == nil || port != ports.Agent {
		return nil, &net.OpError{Op: "dial", Net: "vsock", Err: unix.ECONNREFUSED}
	}
	ours, file, err := guard.SocketPair()
	if err != nil {
		return nil, err
	}
	defer file.Close()
	theirs, err := net.FileConn(file)
	if err != nil {
		ours.Close()
		return nil, err
	}
	select {
	case g.agents.conns <- theirs:
		return ours, nil
	case <-g.ctx.Done():
		ours.Close()
		theirs.Close()
		return nil, g.ctx.Err()
	}
}

// A queue is a listener for connections that are made elsewhere.
type queue struct {
	conns chan net.Conn
	done  <-chan struct{}
}

func (q *queue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.done:
		return nil, net.ErrClosed
	}
}

func (q *queue) Close() error   { return nil }
func (q *queue) Addr() net.Addr { return &net.UnixAddr{} }

type fakeEnclave struct {
	*fakeGuest
	info emulator.EnclaveInfo
}

func (e fakeEnclave) Info() emulator.EnclaveInfo        { return e.info }
func (e fakeEnclave) WaitRunning(context.Context) error { return nil }

func (e fakeEnclave) DialReady(ctx context.Context, port uint32) (net.Conn, error) {
	return e.Dial(ctx, port)
}

func (e fakeEnclave) CopyConsole(ctx context.Context, w io.Writer, follow bool) error {
	if e.info.Flags != debugFlag {
		return emulator.ErrNoConsole
	}
	return e.fakeGuest.CopyConsole(ctx, w, follow)
}

type fakeInstance struct {
	*fakeGuest
	info emulator.InstanceInfo
}

func (i fakeInstance) Info() emulator.InstanceInfo { return i.info }

func (i fakeInstance) Enclaves() []emulator.EnclaveInfo {
	return []emulator.EnclaveInfo{{
		EnclaveName: "enclave-1", EnclaveID: i.info.InstanceID + "-enc000000000000001", EnclaveCID: 16,
		NumberOfCPUs: 2, CPUIDs: []int{2, 3}, MemoryMiB: 256, State: emulator.Running, Flags: debugFlag,
	}}
}
