package nitrocli_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nitrolab/nitrolab/devices/vsock/ports"
	"github.com/nitrolab/nitrolab/guest/enclaves/enclavestest"
	"github.com/nitrolab/nitrolab/guest/nitrocli"
	"github.com/nitrolab/nitrolab/guest/nitrocli/enclaveproc"
	"github.com/nitrolab/nitrolab/images/eif"
)

const mib = 1 << 20

const instanceID = "i-0123456789abcdef0"

// A world is a parent instance with a fake driver, in which enclave processes
// are goroutines.
type world struct {
	t    *testing.T
	dir  string // short, as socket paths are
	sys  *enclavestest.System
	env  map[string]string
	root string // of the kernel's files

	// behave is what an enclave does once it is started; nil sends a heartbeat.
	behave func(e *enclavestest.Enclave, dial func() net.Conn)
	// peerUID is the user that enclave processes see; nil is this one.
	peerUID func() uint32
	// consoles are by port.
	consoles map[uint32]func(net.Conn)
	dialed   []string
	spawnErr error

	stop    context.CancelFunc
	ctx     context.Context
	procs   sync.WaitGroup
	enclave sync.WaitGroup
}

func newWorld(t *testing.T) *world { return newWorldWith(t, enclavestest.Config{}) }

func newWorldWith(t *testing.T, c enclavestest.Config) *world {
	t.Helper()
	dir, err := os.MkdirTemp("", "ncli")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, dir: dir, root: filepath.Join(dir, "root"), consoles: make(map[uint32]func(net.Conn))}
	w.env = map[string]string{nitrocli.SocketsPathVariable: filepath.Join(dir, "s"), "HOME": filepath.Join(dir, "home")}
	w.ctx, w.stop = context.WithCancel(context.Background())
	if c.Pool == nil {
		c.Pool = []uint32{2, 3, 4, 5}
	}
	if c.Pages == nil {
		c.Pages = map[uint64]int{2 * mib: 64}
	}
	refuse := c.Launch
	c.Launch = func(e *enclavestest.Enclave) error {
		if refuse != nil {
			if err := refuse(e); err != nil {
				return err
			}
		}
		w.enclave.Go(func() {
			if w.behave != nil {
				w.behave(e, w.dialHeartbeat)
				return
			}
			heartbeat(w.t, w.dialHeartbeat())
		})
		return nil
	}
	w.sys = enclavestest.New(c)
	w.file("sys/module/nitro_enclaves/parameters/ne_cpus", "2-5\n")
	w.file("sys/devices/virtual/dmi/id/board_asset_tag", instanceID+" \n")
	t.Cleanup(w.close)
	return w
}

// close ends all processes and checks that nothing is left of them.
func (w *world) close() {
	w.stop()
	w.procs.Wait()
	w.enclave.Wait()
	if leaks := w.sys.Leaks(); leaks != "" {
		w.t.Errorf("left over: %s", leaks)
	}
	entries, err := os.ReadDir(w.env[nitrocli.SocketsPathVariable])
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		w.t.Error(err)
	}
	for _, e := range entries {
		w.t.Errorf("left over: %s", e.Name())
	}
	if err := os.RemoveAll(w.dir); err != nil {
		w.t.Error(err)
	}
}

// file writes a file of the kernel.
func (w *world) file(name, content string) {
	w.t.Helper()
	path := filepath.Join(w.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// path is a file in the world's directory.
func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

// write writes a file in the world's directory and returns its path.
func (w *world) write(name, content string) string {
	w.t.Helper()
	if err := os.MkdirAll(filepath.Dir(w.path(name)), 0o700); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(w.path(name), []byte(content), 0o700); err != nil {
		w.t.Fatal(err)
	}
	return w.path(name)
}

// image writes an image with a kernel of the given size.
func (w *world) image(name string, kernel int, signer *eif.Signer) (string, eif.Measurements) {
	w.t.Helper()
	m, err := eif.BuildFile(w.path(name), eif.Spec{
		Kernel: section(strings.Repeat("k", kernel)), Cmdline: "console=ttyS0",
		Ramdisks: []*io.SectionReader{section("boot"), section("app!")},
		Metadata: eif.Metadata{ImageName: "app", ImageVersion: "1.2", Build: &eif.BuildMetadata{
			BuildTime: "2026-01-02T03:04:05+00:00", BuildTool: "test", BuildToolVersion: "0", OperatingSystem: "Linux", KernelVersion: "6.12",
		}},
		Signer: signer,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return w.path(name), m
}

func section(s string) *io.SectionReader {
	return io.NewSectionReader(strings.NewReader(s), 0, int64(len(s)))
}

// certificate is a certificate with its key, in PEM, valid for one hour around at.
func certificate(t *testing.T, at time.Time) (certificatePEM, keyPEM []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: at.Add(-time.Hour), NotAfter: at.Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})
}

// testTime is the time of every world.
var testTime = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

// A result is what one run of nitro-cli did.
type result struct {
	code           int
	stdout, stderr string
}

// run runs nitro-cli.
func (w *world) run(arguments ...string) result {
	w.t.Helper()
	var stdout, stderr bytes.Buffer
	e := w.cli(&stdout, &stderr)
	code := e.Main(w.ctx, arguments)
	return result{code, stdout.String(), stderr.String()}
}

func (w *world) cli(stdout, stderr io.Writer) *nitrocli.Env {
	return &nitrocli.Env{
		Stdout: stdout, Stderr: stderr,
		LookupEnv: func(name string) (string, bool) { v, ok := w.env[name]; return v, ok },
		Spawn:     w.spawn, DialVsock: w.dialVsock,
		Now: func() time.Time { return testTime },
	}
}

// spawn starts an enclave process as a goroutine.
func (w *world) spawn() (*net.UnixConn, error) {
	if w.spawnErr != nil {
		return nil, w.spawnErr
	}
	ours, theirs := pair(w.t)
	cfg := enclaveproc.Config{
		SocketsDir: w.env[nitrocli.SocketsPathVariable], System: w.sys, Root: w.root, Listen: w.listen,
		Now: func() time.Time { return testTime },
	}
	if w.peerUID != nil {
		cfg.PeerUID = func(*net.UnixConn) (uint32, error) { return w.peerUID(), nil }
	}
	w.procs.Go(func() { _ = enclaveproc.Serve(w.ctx, theirs, cfg) })
	return ours, nil
}

// pair is a connected pair of unix sockets.
func pair(t *testing.T) (a, b *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var conns [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "pair")
		c, err := net.FileConn(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		conns[i] = c.(*net.UnixConn)
	}
	return conns[0], conns[1]
}

// heartbeatPath is the socket that stands for vsock 3:9000.
func (w *world) heartbeatPath() string { return w.path("heartbeat") }

func (w *world) listen(cid, port uint32) (enclaveproc.Listener, error) {
	if cid != 3 || port != ports.Heartbeat {
		return nil, fmt.Errorf("listen on %d:%d", cid, port)
	}
	return net.ListenUnix("unix", &net.UnixAddr{Name: w.heartbeatPath(), Net: "unix"})
}

// dialHeartbeat is how an enclave reaches its parent; nil if nobody listens.
func (w *world) dialHeartbeat() net.Conn {
	c, err := net.Dial("unix", w.heartbeatPath())
	if err != nil {
		return nil
	}
	return c
}

// heartbeat sends the byte and expects it back.
func heartbeat(t *testing.T, c net.Conn) {
	if c == nil {
		t.Error("nobody listens for the heartbeat")
		return
	}
	defer c.Close()
	b := []byte{ports.HeartbeatByte}
	if _, err := c.Write(b); err != nil {
		t.Error(err)
	}
	b[0] = 0
	if _, err := io.ReadFull(c, b); err != nil || b[0] != ports.HeartbeatByte {
		t.Errorf("answer to the heartbeat is %#x, error %v", b, err)
	}
}

func (w *world) dialVsock(_ context.Context, cid, port uint32) (net.Conn, error) {
	w.dialed = append(w.dialed, fmt.Sprintf("%d:%d", cid, port))
	serve := w.consoles[port]
	if cid != 0 || serve == nil {
		return nil, errors.New("connection refused by the fake")
	}
	ours, theirs := pair(w.t)
	w.enclave.Go(func() {
		defer theirs.Close()
		serve(theirs)
	})
	return ours, nil
}

// want checks a result: the exit code, and what standard error has.
func (w *world) want(r result, code int, stderr ...string) {
	w.t.Helper()
	if r.code != code {
		w.t.Errorf("exit code is %d, want %d\nstdout: %s\nstderr: %s", r.code, code, r.stdout, r.stderr)
	}
	at := 0
	for _, s := range stderr {
		i := strings.Index(r.stderr[at:], s)
		if i < 0 {
			w.t.Errorf("standard error lacks, at its place, %q:\n%s", s, r.stderr)
			continue
		}
		at += i + len(s)
	}
	if code != 0 && len(stderr) == 0 {
		w.t.Error("a failure without an expected message")
	}
}
