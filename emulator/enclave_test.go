package emulator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/nitrolab/nitrolab/devices/vsock"
	"github.com/nitrolab/nitrolab/emulator/qemu"
)

func TestEnclaveLife(t *testing.T) {
	h := newFakeHost(t, "run")
	cfg := small(t)
	cfg.Debug = true
	e := h.start(t, cfg)
	if s := e.Info().State; s != Starting || e.Ended() != "" || e.Err() != nil {
		t.Errorf("at the start: state %s, ended %q, error %v", s, e.Ended(), e.Err())
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := e.WaitRunning(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), e.ID()) {
		t.Errorf("WaitRunning before the heartbeat = %v, want its own limit and the enclave's id", err)
	}
	beat(t, e)
	if err := e.WaitRunning(t.Context()); err != nil {
		t.Error(err)
	}
	if s := e.Info().State; s != Running {
		t.Errorf("after the heartbeat: state %s", s)
	}
	if err := e.Terminate(t.Context()); err != nil {
		t.Error(err)
	}
	if s := e.Info().State; s != Terminated || e.Ended() != EndTerminated || e.Err() != nil {
		t.Errorf("at the end: state %s, ended %q, error %v", s, e.Ended(), e.Err())
	}
	if err := e.WaitRunning(t.Context()); err != nil {
		t.Errorf("WaitRunning of an enclave that ran = %v", err)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(h.Dir()); len(left) > 0 {
		t.Errorf("the enclave left %v", left)
	}
	if _, err := os.Stat(h.artifacts); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("artifacts of an enclave that did not fail: %v", err)
	}
}

// How an enclave ends, and whose fault its end is said to be.
func TestEnclaveEnds(t *testing.T) {
	tests := []struct {
		name string
		plot string
		beat bool
		do   func(t *testing.T, e *Enclave)
		edit func(*EnclaveConfig)
		want EndReason
		err  any    // a pointer for errors.As; nil for no error
		says string // in the report
	}{
		{name: "panics before the heartbeat", plot: "panic", want: EndPanic, err: new(*qemu.BootError),
			says: "the enclave ended before its heartbeat: the guest panicked"},
		{name: "panics and hangs", plot: "panic and hang", edit: func(c *EnclaveConfig) { c.panicWait = 20 * time.Millisecond },
			want: EndPanic, err: new(*qemu.BootError), says: "did not reset within 0.02 s: the guest panicked"},
		{name: "resets before the heartbeat", plot: "echo", do: say("hello"), want: EndReset, err: new(*qemu.BootError),
			says: "the enclave ended before its heartbeat: the guest reset the machine"},
		{name: "resets afterwards", plot: "echo", beat: true, do: say("done"), want: EndReset},
		{name: "panics afterwards", plot: "echo", beat: true, do: say("Kernel panic - not syncing: Attempted to kill init!"),
			want: EndPanic, err: new(*qemu.BootError), says: "the enclave ended: the guest panicked"},
		{name: "no heartbeat", plot: "silent", edit: func(c *EnclaveConfig) { c.BootTimeout = 20 * time.Millisecond },
			want: EndNoBeat, err: new(*qemu.BootError), says: "the enclave did not send its heartbeat within 0.02 s: "},
		{name: "QEMU crashes", plot: "crash", want: EndFailure, err: new(*qemu.InfraError), says: "QEMU ended unexpectedly: signal: killed"},
		{name: "QEMU is killed", plot: "run", beat: true, do: func(t *testing.T, e *Enclave) {
			// Its console is kept, so let it have printed something.
			if err := e.Console().WaitFor(t.Context(), "Linux version"); err != nil {
				t.Fatal(err)
			}
			if err := syscall.Kill(e.machine.process.Pid(), syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}, want: EndFailure, err: new(*qemu.InfraError), says: "the enclave ended: QEMU ended unexpectedly"},
		{name: "device model fails", plot: "run", do: breakDevice, want: EndFailure, err: new(*qemu.InfraError),
			says: "a device model failed: device model nsm: on fire"},
		{name: "device model fails while it runs", plot: "run", beat: true, do: breakDevice, want: EndFailure, err: new(*qemu.InfraError),
			says: "a device model failed"},
		{name: "hangs", plot: "run", beat: true, edit: func(c *EnclaveConfig) { c.HangTimeout = 50 * time.Millisecond },
			want: EndHung, err: new(*qemu.BootError), says: "the kernel of the enclave has not answered on vsock for 0.05 s"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := newFakeHost(t, tt.plot)
			cfg := small(t)
			if tt.edit != nil {
				tt.edit(&cfg)
			}
			e := h.start(t, cfg)
			if tt.beat {
				beat(t, e)
			}
			if tt.do != nil {
				tt.do(t, e)
			}
			ended(t, e)
			if got := e.Ended(); got != tt.want {
				t.Errorf("ended by %q, want %q", got, tt.want)
			}
			err := e.Err()
			if wait := e.WaitRunning(t.Context()); tt.beat != (wait == nil) {
				t.Errorf("WaitRunning = %v; heartbeat: %v", wait, tt.beat)
			}
			if tt.err == nil {
				if err != nil {
					t.Errorf("error %v, want none", err)
				}
				return
			}
			if !errors.As(err, tt.err) {
				t.Fatalf("error %v (%T), want %T", err, err, tt.err)
			}
			report := Report(err)
			if !strings.Contains(report, tt.says) {
				t.Errorf("report has no %q:\n%s", tt.says, report)
			}
			h.checkKept(t, e, report)
		})
	}
}

// say types at the guest, which says it and resets.
func say(text string) func(t *testing.T, e *Enclave) {
	return func(t *testing.T, e *Enclave) {
		if _, err := e.Console().Write([]byte(text + "\n")); err != nil {
			t.Fatal(err)
		}
	}
}

func breakDevice(_ *testing.T, e *Enclave) { e.machine.fail(errors.New("device model nsm: on fire")) }

// checkKept looks for what a failed enclave leaves for its user.
func (f *fakeHost) checkKept(t *testing.T, e *Enclave, report string) {
	t.Helper()
	kept := filepath.Join(f.artifacts, e.ID())
	if !strings.Contains(report, "(kept in "+kept+")") {
		t.Errorf("report does not name %s:\n%s", kept, report)
	}
	if strings.Contains(report, f.state) {
		t.Errorf("report names the state directory, which is gone:\n%s", report)
	}
	if console, err := os.ReadFile(filepath.Join(kept, "console.log")); err != nil || !bytes.Contains(console, []byte("Linux version")) {
		t.Errorf("console kept: %q, %v", console, err)
	}
	script, err := os.ReadFile(filepath.Join(kept, "command.sh"))
	if err != nil || bytes.Contains(script, []byte(f.state)) {
		t.Errorf("command.sh: %v\n%s", err, script)
	}
	// The folder has a space in its name.
	want := strings.ReplaceAll(filepath.Join(kept, "initramfs"), " ", `\ `)
	if !strings.Contains(string(script), want) || !strings.Contains(report, want) {
		t.Errorf("no %s in command.sh or report:\n%s\n%s", want, script, report)
	}
	if b, err := os.ReadFile(filepath.Join(kept, "initramfs")); err != nil || string(b) != "ramdisk 1ramdisk 2" {
		t.Errorf("ramdisk kept: %q, %v", b, err)
	}
}

// An enclave that its owner ends during the boot never ran, and says so.
func TestTerminateBeforeHeartbeat(t *testing.T) {
	h := newFakeHost(t, "silent")
	e := h.start(t, small(t))
	waited := make(chan error, 1)
	go func() { waited <- e.WaitRunning(t.Context()) }()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-waited; !errors.Is(err, ErrTerminated) {
		t.Errorf("WaitRunning = %v, want ErrTerminated", err)
	}
	if e.Ended() != EndTerminated || e.Err() != nil {
		t.Errorf("ended by %q with %v", e.Ended(), e.Err())
	}
}

// RunEnclave leaves nothing when its caller gives up.
func TestRunEnclaveGivesUp(t *testing.T) {
	h := newFakeHost(t, "silent")
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		until(t, "a start", func() bool { return len(h.Enclaves()) > 0 })
		cancel()
	}()
	if _, err := h.RunEnclave(ctx, small(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("RunEnclave = %v, want the context's error", err)
	}
	if e := h.Enclaves(); len(e) > 0 {
		t.Errorf("%d enclaves are left", len(e))
	}
}

// The watchdog asks, and a kernel that refuses lives.
func TestWatchdogAsksTheGuest(t *testing.T) {
	h := newFakeHost(t, "run")
	cfg := small(t)
	cfg.HangTimeout = time.Second
	e := h.start(t, cfg)
	g := beat(t, e)
	ctx, cancel := context.WithTimeout(t.Context(), 2*cfg.HangTimeout)
	defer cancel()
	g.refuse(ctx)
	if isClosed(e.Done()) {
		t.Fatalf("ended by %q although its kernel answers: %v", e.Ended(), e.Err())
	}
}

func TestDialReady(t *testing.T) {
	h := newFakeHost(t, "run")
	e := h.start(t, small(t))
	g := beat(t, e)
	conn := make(chan error, 1)
	go func() {
		c, err := e.DialReady(t.Context(), 5005)
		if err == nil {
			c.Close()
		}
		conn <- err
	}()
	reply := func(op vsock.Op) {
		t.Helper()
		for {
			for _, p := range g.next(t.Context()) {
				if p.Op == vsock.OpRequest && p.DstPort == 5005 {
					g.send(vsock.Header{SrcCID: p.DstCID, SrcPort: p.DstPort, DstCID: p.SrcCID, DstPort: p.SrcPort, Op: op})
					return
				}
			}
		}
	}
	reply(vsock.OpRST) // the application does not listen yet
	reply(vsock.OpRST)
	reply(vsock.OpResponse)
	if err := <-conn; err != nil {
		t.Errorf("DialReady = %v", err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	go func() { reply(vsock.OpRST); cancel() }()
	_, err := e.DialReady(ctx, 5005)
	if !errors.Is(err, context.Canceled) || !errors.Is(err, syscall.ECONNREFUSED) || strings.Contains(err.Error(), "\n") {
		t.Errorf("DialReady = %v, want one line about the context and the refusal", err)
	}
	// Also if the context ends while it waits for an answer.
	ctx, cancel = context.WithCancel(t.Context())
	go func() {
		reply(vsock.OpRST)
		g.next(t.Context()) // the next request, which stays without an answer
		cancel()
	}()
	_, err = e.DialReady(ctx, 5005)
	if !errors.Is(err, context.Canceled) || !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("DialReady = %v, want the context and the refusal", err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := e.DialReady(t.Context(), 5005); !errors.Is(err, unix.EHOSTUNREACH) {
		t.Errorf("DialReady to an enclave that is gone = %v", err)
	}
}

func TestConsoleOfModes(t *testing.T) {
	h := newFakeHost(t, "echo")
	production := h.start(t, small(t))
	var out bytes.Buffer
	if err := production.CopyConsole(t.Context(), &out, false); !errors.Is(err, ErrNoConsole) || out.Len() > 0 {
		t.Errorf("console of a production enclave: %q, %v", out.String(), err)
	}
	cfg := small(t)
	cfg.Debug = true
	debug := h.start(t, cfg)
	if err := debug.Console().WaitFor(t.Context(), "Linux version"); err != nil {
		t.Fatal(err)
	}
	if err := debug.CopyConsole(t.Context(), &out, false); err != nil || out.String() != "Linux version 6.12.0\r\n" {
		t.Errorf("console: %q, %v", out.String(), err)
	}
	// A follower sees the last words, and then the end.
	out.Reset()
	followed := make(chan error, 1)
	go func() { followed <- debug.CopyConsole(t.Context(), &out, true) }()
	say("last words")(t, debug)
	if err := <-followed; err != nil {
		t.Error(err)
	}
	if want := "Linux version 6.12.0\r\nlast words\n"; out.String() != want {
		t.Errorf("console: %q, want %q", out.String(), want)
	}
}

// What is wrong with a request is said before anything runs.
func TestStartRefused(t *testing.T) {
	h := newFakeHost(t, "run")
	taken := small(t)
	taken.CID = 20
	h.start(t, taken)
	tests := []struct {
		name string
		edit func(*EnclaveConfig)
		want string
	}{
		{"no memory", func(c *EnclaveConfig) { c.MemoryMiB = 0 }, "memory is 0 MiB; allowed is 64 to 1048576 MiB"},
		{"CID of another", func(c *EnclaveConfig) { c.CID = 20 }, "enclave CID is 20, which another enclave has; allowed is one that is free"},
		{"no file", func(c *EnclaveConfig) { c.EIFPath = filepath.Join(t.TempDir(), "none.eif") }, "none.eif: no such file or directory"},
		{"a folder", func(c *EnclaveConfig) { c.EIFPath = t.TempDir() }, "not a regular file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := small(t)
			tt.edit(&cfg)
			_, err := h.StartEnclave(t.Context(), cfg)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("StartEnclave = %v, want %q", err, tt.want)
			}
		})
	}
	if n := len(h.Enclaves()); n != 1 {
		t.Errorf("%d enclaves, want the one", n)
	}
}

// A QEMU that does not start is no fault of the image, and what it said is kept.
func TestQEMUDoesNotStart(t *testing.T) {
	h := newFakeHost(t, "refuse")
	cfg := small(t)
	cfg.CID = 20
	_, err := h.StartEnclave(t.Context(), cfg)
	var infra *qemu.InfraError
	if !errors.As(err, &infra) || !strings.Contains(Report(err), "unsupported machine type: microvm") {
		t.Fatalf("StartEnclave = %v", err)
	}
	if _, err := os.Stat(filepath.Join(infra.Kept, "qemu.log")); err != nil || !strings.HasPrefix(infra.Kept, h.artifacts) {
		t.Errorf("kept in %q: %v", infra.Kept, err)
	}
	// The CID is free again.
	if _, err := h.own.reserve(20); err != nil {
		t.Error(err)
	}
	h.own.starting.Done()
	h.own.release(20)
}

// Whoever gives up a start does not find it kept like one that failed.
func TestStartInterrupted(t *testing.T) {
	h := newFakeHost(t, "mute")
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		until(t, "QEMU's start", func() bool {
			found, _ := filepath.Glob(filepath.Join(h.Dir(), "enclave-*", "command.sh"))
			return len(found) > 0
		})
		cancel()
	}()
	_, err := h.StartEnclave(ctx, small(t))
	if !errors.Is(err, context.Canceled) || err.Error() != "start enclave: context canceled" {
		t.Errorf("StartEnclave = %v, want the context's error", err)
	}
	if _, err := os.Stat(h.artifacts); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("artifacts of a start that was given up: %v", err)
	}
	if left, _ := os.ReadDir(h.Dir()); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// Close and starts at the same time: every start either fails or is ended.
func TestCloseDuringStart(t *testing.T) {
	h := newFakeHost(t, "silent")
	cfg := small(t)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			e, err := h.StartEnclave(t.Context(), cfg)
			switch {
			case err == nil:
				ended(t, e)
			case !errors.Is(err, errClosed):
				t.Errorf("StartEnclave = %v, want that the host is closed", err)
			}
		})
	}
	until(t, "the beginning of a start", func() bool {
		h.own.mu.Lock()
		defer h.own.mu.Unlock()
		return len(h.own.enclaves) > 0
	})
	var closers sync.WaitGroup
	for range 2 {
		closers.Go(func() {
			if err := h.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	closers.Wait()
	all.Wait()
	if _, err := h.StartEnclave(t.Context(), cfg); !errors.Is(err, errClosed) {
		t.Errorf("StartEnclave on a closed host = %v", err)
	}
	if _, err := h.Listen(7); err == nil {
		t.Error("a closed host listens")
	}
}

// CIDs begin with the hypervisor's, go up, pass over those that are taken, and
// around the end.
func TestReserve(t *testing.T) {
	h := newFakeHost(t, "run")
	reserve := func(wanted uint32) uint32 {
		t.Helper()
		cid, err := h.own.reserve(wanted)
		if err != nil {
			t.Fatal(err)
		}
		h.own.starting.Done()
		return cid
	}
	got := []uint32{reserve(0), reserve(18), reserve(0), reserve(0), reserve(5)}
	h.own.nextCID = vsock.CIDAny - 1
	got = append(got, reserve(0), reserve(0))
	if diff := cmp.Diff([]uint32{16, 18, 17, 19, 5, vsock.CIDAny - 1, 20}, got); diff != "" {
		t.Errorf("CIDs (-want +got):\n%s", diff)
	}
	if len(h.Enclaves()) > 0 {
		t.Error("what only has a CID is shown as an enclave")
	}
}

func TestEnclavesAreSorted(t *testing.T) {
	h := newFakeHost(t, "run")
	for _, cid := range []uint32{30, 10, 20} {
		cfg := small(t)
		cfg.CID = cid
		h.start(t, cfg)
	}
	var cids []uint32
	for _, e := range h.Enclaves() {
		cids = append(cids, e.CID())
	}
	if diff := cmp.Diff([]uint32{10, 20, 30}, cids); diff != "" {
		t.Errorf("CIDs (-want +got):\n%s", diff)
	}
}

// A QEMU that ends because its device model did is not the one to blame.
func TestVerdictBlamesTheDevice(t *testing.T) {
	h := newFakeHost(t, "run")
	e := h.start(t, small(t))
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	for _, broken := range []bool{false, true} {
		if broken {
			breakDevice(t, e)
		}
		reason, err := e.machine.verdict("it ended", true)
		if got := strings.Contains(fmt.Sprint(err), "device model nsm: on fire"); reason != EndFailure || got != broken {
			t.Errorf("broken: %v; reason %q, %v", broken, reason, err)
		}
	}
}
