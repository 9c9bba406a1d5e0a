package enclaveproc

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/vsock"
	"golang.org/x/sys/unix"

	"github.com/nitrolab/nitrolab/devices/vsock/ports"
	"github.com/nitrolab/nitrolab/guest/enclaves/enclavestest"
	"github.com/nitrolab/nitrolab/guest/nitrocli/failure"
	"github.com/nitrolab/nitrolab/guest/nitrocli/wire"
	"github.com/nitrolab/nitrolab/images/eif"
)

const mib = 1 << 20

// writeSeeker is a file in memory.
type writeSeeker struct {
	bytes []byte
	at    int64
}

func (w *writeSeeker) Write(p []byte) (int, error) {
	if need := w.at + int64(len(p)); need > int64(len(w.bytes)) {
		w.bytes = append(w.bytes, make([]byte, need-int64(len(w.bytes)))...)
	}
	n := copy(w.bytes[w.at:], p)
	w.at += int64(n)
	return n, nil
}

func (w *writeSeeker) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += w.at
	case io.SeekEnd:
		offset += int64(len(w.bytes))
	}
	w.at = offset
	return offset, nil
}

func section(s string) *io.SectionReader {
	return io.NewSectionReader(strings.NewReader(s), 0, int64(len(s)))
}

func sections(s ...string) (list []*io.SectionReader) {
	for _, s := range s {
		list = append(list, section(s))
	}
	return list
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

// A fixture is one process, ready to be served.
type fixture struct {
	sys   *enclavestest.System
	cfg   Config
	image string
	path  string // of the socket that stands for the vsock port

	listening chan struct{} // has an item for each listener of it
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	dir, err := os.MkdirTemp("", "ep")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	f := &fixture{image: filepath.Join(dir, "app.eif"), path: filepath.Join(dir, "hb"), listening: make(chan struct{}, 1)}
	f.sys = enclavestest.New(enclavestest.Config{Pool: []uint32{2, 3}, Pages: map[uint64]int{2 * mib: 32}})
	pool := filepath.Join(dir, "root", poolPath)
	if err := os.MkdirAll(filepath.Dir(pool), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(pool, []byte("2-3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "s"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err = eif.BuildFile(f.image, eif.Spec{Kernel: section("kernel"), Cmdline: "x", Ramdisks: sections("a", "b")})
	if err != nil {
		t.Fatal(err)
	}
	f.cfg = Config{
		SocketsDir: filepath.Join(dir, "s"), System: f.sys, Root: filepath.Join(dir, "root"),
		Listen: func(cid, port uint32) (Listener, error) {
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: f.path, Net: "unix"})
			if err == nil {
				f.listening <- struct{}{}
			}
			return l, err
		},
	}
	return f
}

func (f *fixture) args() wire.RunArgs {
	name, count := "app", uint32(2)
	return wire.RunArgs{EIFPath: f.image, MemoryMiB: 64, CPUCount: &count, EnclaveName: &name}
}

// serve runs Serve and sends it a command; nil args send none.
func (f *fixture) serve(t *testing.T, ctx context.Context, c wire.Command, args any) (cli *net.UnixConn, done chan error) {
	t.Helper()
	cli, theirs := pair(t)
	done = make(chan error, 1)
	go func() { done <- Serve(ctx, theirs, f.cfg) }()
	if c != "" {
		if err := wire.Send(cli, c, args); err != nil {
			t.Fatal(err)
		}
	}
	return cli, done
}

// heartbeat is what an enclave does, once somebody listens.
func (f *fixture) heartbeat(t *testing.T) {
	t.Helper()
	<-f.listening
	c, err := net.Dial("unix", f.path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b := []byte{ports.HeartbeatByte}
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, b); err != nil {
		t.Fatal(err)
	}
}

// replies reads all replies.
func replies(t *testing.T, cli net.Conn) (stdout, stderr string, status int32) {
	t.Helper()
	if err := cli.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	status = -1
	for {
		r, err := wire.ReadReply(cli)
		if errors.Is(err, io.EOF) {
			return stdout, stderr, status
		}
		if err != nil {
			t.Fatal(err)
		}
		stdout += r.Stdout
		stderr += r.Stderr
		if r.Status != nil {
			status = *r.Status
		}
	}
}

// A signal ends the process, and the enclave with it.
func TestServeUntilContextEnds(t *testing.T) {
	f := newFixture(t)
	ctx, cancel := context.WithCancel(context.Background())
	cli, done := f.serve(t, ctx, wire.Run, f.args())
	defer cli.Close()
	f.heartbeat(t)
	if _, stderr, status := replies(t, cli); status != 0 {
		t.Fatalf("status %d, %s", status, stderr)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if leaks := f.sys.Leaks(); leaks != "" {
		t.Errorf("left over: %s", leaks)
	}
}

// And while the enclave boots.
func TestServeInterruptedBoot(t *testing.T) {
	f := newFixture(t)
	why := errors.New("terminated")
	ctx, cancel := context.WithCancelCause(context.Background())
	cli, done := f.serve(t, ctx, wire.Run, f.args())
	defer cli.Close()
	<-f.listening
	cancel(why)
	if err := <-done; failure.CodeOf(err) != failure.EnclaveBootFailure || !errors.Is(err, why) {
		t.Errorf("Serve: %v", err)
	}
	if leaks := f.sys.Leaks(); leaks != "" {
		t.Errorf("left over: %s", leaks)
	}
}

func TestServeWithoutRun(t *testing.T) {
	t.Run("another command", func(t *testing.T) {
		f := newFixture(t)
		cli, done := f.serve(t, context.Background(), wire.Terminate, nil)
		defer cli.Close()
		if _, stderr, status := replies(t, cli); status != int32(unix.EINVAL) || !strings.Contains(stderr, "[ E14 ] Invalid command") {
			t.Errorf("status %d, %s", status, stderr)
		}
		if err := <-done; failure.CodeOf(err) != failure.InvalidCommand {
			t.Errorf("Serve: %v", err)
		}
	})
	t.Run("no command", func(t *testing.T) {
		f := newFixture(t)
		cli, done := f.serve(t, context.Background(), "", nil)
		if err := cli.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-done; failure.CodeOf(err) != failure.InvalidCommand {
			t.Errorf("Serve: %v", err)
		}
	})
	t.Run("interrupted", func(t *testing.T) {
		f := newFixture(t)
		ctx, cancel := context.WithCancel(context.Background())
		cli, done := f.serve(t, ctx, "", nil)
		defer cli.Close()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Serve: %v", err)
		}
	})
	t.Run("no name", func(t *testing.T) {
		f := newFixture(t)
		args := f.args()
		args.EnclaveName = nil
		cli, done := f.serve(t, context.Background(), wire.Run, args)
		defer cli.Close()
		if err := <-done; !strings.Contains(err.Error(), "no name") {
			t.Errorf("Serve: %v", err)
		}
	})
	t.Run("no CPUs", func(t *testing.T) {
		f := newFixture(t)
		args := f.args()
		args.CPUCount = nil
		cli, done := f.serve(t, context.Background(), wire.Run, args)
		defer cli.Close()
		if err := <-done; failure.CodeOf(err) != failure.InvalidArgument {
			t.Errorf("Serve: %v", err)
		}
	})
}

// The socket of a process that lives is not taken, that of one that died is.
func TestListen(t *testing.T) {
	f := newFixture(t)
	first, err := listen(f.cfg.SocketsDir, "i-0-enc1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := listen(f.cfg.SocketsDir, "i-0-enc1"); failure.CodeOf(err) != failure.SocketError || !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("taken: %v", err)
	}
	first.listener.SetUnlinkOnClose(false)
	if err := first.close(); err != nil {
		t.Fatal(err)
	}
	second, err := listen(f.cfg.SocketsDir, "i-0-enc1")
	if err != nil {
		t.Fatalf("stale: %v", err)
	}
	fi, err := os.Stat(filepath.Join(f.cfg.SocketsDir, "1.sock"))
	if err != nil || fi.Mode().Perm() != 0o766 {
		t.Errorf("mode %v, error %v, want 0766", fi.Mode(), err)
	}
	for range 2 {
		if err := second.close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := listen(filepath.Join(f.cfg.SocketsDir, "none"), "i-0-enc1"); failure.CodeOf(err) != failure.SocketError {
		t.Errorf("no directory: %v", err)
	}
	if _, err := listen(f.cfg.SocketsDir, "i-0-enc/"); failure.CodeOf(err) != failure.SocketPathNotFound {
		t.Errorf("no ID: %v", err)
	}
}

// An enclave whose process has no socket is ended: nobody could reach it.
func TestServeWithoutSocketsDir(t *testing.T) {
	f := newFixture(t)
	f.cfg.SocketsDir += "/none"
	cli, done := f.serve(t, context.Background(), wire.Run, f.args())
	defer cli.Close()
	f.heartbeat(t)
	if _, stderr, status := replies(t, cli); status == 0 || !strings.Contains(stderr, "[ E11 ]") {
		t.Errorf("status %d, %s", status, stderr)
	}
	if err := <-done; failure.CodeOf(err) != failure.SocketError {
		t.Errorf("Serve: %v", err)
	}
	if leaks := f.sys.Leaks(); leaks != "" {
		t.Errorf("left over: %s", leaks)
	}
}

// An image that the driver takes and this tool cannot measure runs, and is
// described without measurements.
func TestDescribeUnmeasurable(t *testing.T) {
	f := newFixture(t)
	content, err := os.ReadFile(f.image)
	if err != nil {
		t.Fatal(err)
	}
	content[0] ^= 1
	if err := os.WriteFile(f.image, content, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	cli, done := f.serve(t, ctx, wire.Run, f.args())
	defer cli.Close()
	f.heartbeat(t)
	if _, stderr, status := replies(t, cli); status != 0 {
		t.Fatalf("status %d, %s", status, stderr)
	}
	path, err := SocketPath(f.cfg.SocketsDir, "-enc"+slotText(f))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := wire.Send(conn, wire.Describe, wire.DescribeArgs{}); err != nil {
		t.Fatal(err)
	}
	if v, err := wire.ReadUint64(conn); v != wire.Confirm || err != nil {
		t.Fatalf("confirmation %#x, error %v", v, err)
	}
	stdout, stderr, status := replies(t, conn)
	if status != 0 || !strings.Contains(stderr, "[ E35 ] EIF file parsing error") {
		t.Errorf("status %d, %s", status, stderr)
	}
	if !strings.Contains(stdout, `"State": "RUNNING"`) || strings.Contains(stdout, "Measurements") {
		t.Errorf("described as %s", stdout)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

func slotText(f *fixture) string {
	id, _ := f.cfg.enclaveID(f.sys.Enclaves()[0].SlotUID())
	return id[strings.LastIndex(id, "-enc")+4:]
}

// addrConn is a connection from a vsock address.
type addrConn struct {
	net.Conn
	addr vsock.Addr
}

func (a addrConn) RemoteAddr() net.Addr { return &a.addr }

// addrListener says of each connection that it comes from the next CID.
type addrListener struct {
	*net.UnixListener
	cids []uint32
}

func (l *addrListener) Accept() (net.Conn, error) {
	c, err := l.UnixListener.Accept()
	if err != nil {
		return nil, err
	}
	cid := l.cids[0]
	l.cids = l.cids[1:]
	return addrConn{c, vsock.Addr{ContextID: cid, Port: 1024}}, nil
}

// Another enclave cannot answer for the one that starts.
func TestHeartbeatOfAnother(t *testing.T) {
	f := newFixture(t)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: f.path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan error, 1)
	go func() {
		done <- awaitHeartbeat(context.Background(), &addrListener{l, []uint32{17, 16}}, 16)
	}()
	other, err := net.Dial("unix", f.path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	_, _ = other.Write([]byte{ports.HeartbeatByte})
	if n, err := other.Read(make([]byte, 1)); err == nil {
		t.Errorf("the other enclave got an answer of %d bytes", n)
	}
	select {
	case err := <-done:
		t.Fatalf("the other's heartbeat ended the wait: %v", err)
	default:
	}
	f.listening <- struct{}{}
	f.heartbeat(t)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestHeartbeatTimeout(t *testing.T) {
	f := newFixture(t)
	for _, connect := range []bool{false, true} {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: f.path, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeoutCause(context.Background(), 50*time.Millisecond, errNoHeartbeat)
		if connect { // and says nothing
			c, err := net.Dial("unix", f.path)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
		}
		err = awaitHeartbeat(ctx, l, 16)
		cancel()
		if failure.CodeOf(err) != failure.EnclaveBootFailure || !errors.Is(err, errNoHeartbeat) {
			t.Errorf("connected %v: %v", connect, err)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestPeerUID(t *testing.T) {
	a, b := pair(t)
	defer b.Close()
	if uid, err := peerUID(a); err != nil || uid != uint32(os.Getuid()) {
		t.Errorf("user %d, error %v", uid, err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := peerUID(a); err == nil {
		t.Error("a closed connection has a user")
	}
}
