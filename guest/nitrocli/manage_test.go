package nitrocli_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nitrolab/nitrolab/guest/enclaves/enclavestest"
	"github.com/nitrolab/nitrolab/guest/nitrocli"
	"github.com/nitrolab/nitrolab/guest/nitrocli/enclaveproc"
	"github.com/nitrolab/nitrolab/guest/nitrocli/wire"
)

// start runs an enclave and returns what run-enclave said.
func (w *world) start(args ...string) enclaveproc.RunInfo {
	w.t.Helper()
	image, _ := w.image("app.eif", 10, nil)
	r := w.run(append([]string{"run-enclave", "--eif-path", image, "--memory", "64", "--cpu-count", "2"}, args...)...)
	w.want(r, 0)
	if r.code != 0 {
		w.t.FailNow()
	}
	return decode[enclaveproc.RunInfo](w.t, r.stdout)
}

// Other users may look and not touch, root may do everything
// (CommandRequesterPolicy).
func TestOtherUsers(t *testing.T) {
	w := newWorld(t)
	user := uint32(os.Getuid())
	w.peerUID = func() uint32 { return user }
	info := w.start("--debug-mode")
	w.consoles[10016] = func(c net.Conn) { fmt.Fprint(c, "hello") }

	user = uint32(os.Getuid()) + 4711
	r := w.run("describe-enclaves")
	w.want(r, 0)
	if !strings.Contains(r.stdout, info.EnclaveID) {
		t.Errorf("another user does not see %s:\n%s", info.EnclaveID, r.stdout)
	}
	w.want(w.run("console", "--enclave-name", "app"), 0)
	for _, args := range [][]string{{"--enclave-id", info.EnclaveID}, {"--enclave-name", "app"}, {"--all"}} {
		r := w.run(append([]string{"terminate-enclave"}, args...)...)
		w.want(r, 39, "may not terminate it", "Failed connections: 1", "[ E39 ]")
		if w.sys.Enclaves()[0].State() != enclavestest.Running {
			t.Fatalf("%q of another user ended the enclave", args)
		}
	}
	user = 0
	w.want(w.run("terminate-enclave", "--enclave-id", info.EnclaveID), 0)
}

func TestTerminateUnknown(t *testing.T) {
	w := newWorld(t)
	w.start()
	w.want(w.run("terminate-enclave", "--enclave-id", "i-1-enc99"), 11, "[ E11 ] Socket error", "enclave i-1-enc99")
	w.want(w.run("terminate-enclave", "--enclave-name", "nobody"), 58, `[ E58 ] Naming error`, `no enclave has the name "nobody"`)
	w.want(w.run("console", "--enclave-name", "nobody"), 58, "[ E58 ]")
	// An ID does not lead out of the directory.
	for _, id := range []string{"i-1-enc../../etc/passwd", "i-1-enc", "..", "/etc/passwd", ""} {
		w.want(w.run("terminate-enclave", "--enclave-id", id), 11, "[ E11 ]", "which is none")
	}
}

// A process that died leaves a socket behind, which the next one who looks
// removes; other files stay.
func TestStaleSocket(t *testing.T) {
	w := newWorld(t)
	info := w.start()
	dir := w.env[nitrocli.SocketsPathVariable]
	stale := filepath.Join(dir, "dead.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(dir, "notes.txt")
	if err := os.WriteFile(other, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(other)
	r := w.run("describe-enclaves")
	w.want(r, 0)
	if got := decode[[]enclaveproc.DescribeInfo](t, r.stdout); len(got) != 1 || got[0].EnclaveID != info.EnclaveID {
		t.Errorf("described %+v", got)
	}
	if _, err := os.Lstat(stale); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("stale socket: %v", err)
	}
	w.want(w.run("terminate-enclave", "--all"), 0)
	if _, err := os.Lstat(other); err != nil {
		t.Errorf("another file: %v", err)
	}
}

// Who removes the socket of a process ends its enclave: nobody could reach it
// any more.
func TestSocketRemoved(t *testing.T) {
	w := newWorld(t)
	w.start()
	sockets, err := filepath.Glob(filepath.Join(w.env[nitrocli.SocketsPathVariable], "*.sock"))
	if err != nil || len(sockets) != 1 {
		t.Fatalf("sockets %q, error %v", sockets, err)
	}
	if err := os.Remove(sockets[0]); err != nil {
		t.Fatal(err)
	}
	w.procs.Wait()
	if leaks := w.sys.Leaks(); leaks != "" {
		t.Errorf("left over: %s", leaks)
	}
}

// A user who gives up while the enclave boots leaves no enclave behind.
func TestUserGoesAway(t *testing.T) {
	w := newWorld(t)
	started := make(chan struct{})
	w.behave = func(*enclavestest.Enclave, func() net.Conn) { close(started) }
	image, _ := w.image("app.eif", 10, nil)
	if err := os.Mkdir(w.env[nitrocli.SocketsPathVariable], 0o700); err != nil {
		t.Fatal(err)
	}
	conn, err := w.spawn()
	if err != nil {
		t.Fatal(err)
	}
	name, count := "app", uint32(2)
	if err := wire.Send(conn, wire.Run, wire.RunArgs{EIFPath: image, MemoryMiB: 64, CPUCount: &count, EnclaveName: &name}); err != nil {
		t.Fatal(err)
	}
	<-started
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	w.procs.Wait()
	if leaks := w.sys.Leaks(); leaks != "" {
		t.Errorf("left over: %s", leaks)
	}
}

// What sits in the sockets directory and is no enclave process costs time, a
// line and an error code, and nothing else.
func TestHostileProcesses(t *testing.T) {
	tests := []struct {
		name  string
		serve func(net.Conn)
		want  []string
	}{
		{"hangs up", func(net.Conn) {}, nil},
		{"says another number", func(c net.Conn) {
			_ = wire.WriteUint64(c, 7)
			_ = wire.WriteStdout(c, "{}")
			_ = wire.WriteStatus(c, 0)
		}, nil},
		{"confirms and hangs up", func(c net.Conn) { _ = wire.WriteUint64(c, wire.Confirm) }, nil},
		{"says nothing", func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }, nil},
		{"no JSON", func(c net.Conn) {
			_ = wire.WriteUint64(c, wire.Confirm)
			_ = wire.WriteStdout(c, "hello")
			_ = wire.WriteStatus(c, 0)
		}, nil},
		{"half a JSON value", func(c net.Conn) {
			_ = wire.WriteUint64(c, wire.Confirm)
			_ = wire.WriteStdout(c, `{"EnclaveID": `)
			_ = wire.WriteStatus(c, 0)
		}, nil},
		{"no status", func(c net.Conn) {
			_ = wire.WriteUint64(c, wire.Confirm)
			_ = wire.WriteStdout(c, "{}")
		}, nil},
		{"garbage", func(c net.Conn) {
			_ = wire.WriteUint64(c, wire.Confirm)
			_, _ = c.Write(bytes.Repeat([]byte{0xff}, 64))
		}, []string{"not nitro-cli's protocol"}},
		{"breaks off", func(c net.Conn) {
			_ = wire.WriteUint64(c, wire.Confirm)
			_, _ = c.Write([]byte{9, 0, 0, 0, 0, 0, 0, 0, 0xa1})
		}, []string{"ends after 1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			info := w.start()
			l, err := net.Listen("unix", filepath.Join(w.env[nitrocli.SocketsPathVariable], "bad.sock"))
			if err != nil {
				t.Fatal(err)
			}
			w.enclave.Go(func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					w.enclave.Go(func() {
						defer c.Close()
						if _, err := wire.ReadCommand(c); err == nil {
							tt.serve(c)
						}
						// What is not read when it closes would be a reset to the
						// other side, which may still be sending.
						_ = c.(*net.UnixConn).CloseWrite()
						_, _ = io.Copy(io.Discard, c)
					})
				}
			})
			began := time.Now()
			r := w.run("describe-enclaves")
			w.want(r, 39, append(tt.want, "Failed connections: 1", "[ E39 ] Enclave process connection failure")...)
			if got := decode[[]enclaveproc.DescribeInfo](t, r.stdout); len(got) != 1 || got[0].EnclaveID != info.EnclaveID {
				t.Errorf("described %+v", got)
			}
			if d := time.Since(began); d > 30*time.Second {
				t.Errorf("took %v", d)
			}
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A status that is no success is E38, whatever else was said.
func TestStatusOfProcess(t *testing.T) {
	w := newWorld(t)
	w.want(w.run("describe-enclaves"), 0) // makes the directory
	l, err := net.Listen("unix", filepath.Join(w.env[nitrocli.SocketsPathVariable], "22.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	w.enclave.Go(func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		if _, err := wire.ReadCommand(c); err != nil {
			t.Error(err)
		}
		_ = wire.WriteStderr(c, "the reason\n")
		_ = wire.WriteStdout(c, `{"Terminated": false}`)
		_ = wire.WriteStatus(c, 22)
	})
	r := w.run("terminate-enclave", "--enclave-id", "i-1-enc22")
	w.want(r, 38, "the reason\n", "[ E38 ] Enclave process command not executed error")
	if r.stdout != "{\n  \"Terminated\": false\n}\n" {
		t.Errorf("standard output is %q", r.stdout)
	}
}

// Clients of an enclave process that do not play by the rules do not disturb it.
func TestHostileClients(t *testing.T) {
	w := newWorld(t)
	info := w.start()
	path, err := enclaveproc.SocketPath(w.env[nitrocli.SocketsPathVariable], info.EnclaveID)
	if err != nil {
		t.Fatal(err)
	}
	var idle []net.Conn
	for range 40 { // more than are served at once
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		idle = append(idle, c)
	}
	for _, in := range [][]byte{nil, {1}, bytes.Repeat([]byte{0xff}, 100)} {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write(in)
		_ = c.Close()
	}
	for _, c := range idle {
		_ = c.Close()
	}
	// Commands without their arguments, and a second Run.
	for _, c := range []wire.Command{wire.Describe, wire.GetIDbyName, wire.Run} {
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		if err := wire.Send(conn, c, nil); err != nil {
			t.Fatal(err)
		}
		_ = conn.(*net.UnixConn).CloseWrite()
		_, _ = io.Copy(io.Discard, conn)
		_ = conn.Close()
	}
	r := w.run("describe-enclaves")
	w.want(r, 0)
	if !strings.Contains(r.stdout, info.EnclaveID) {
		t.Errorf("described:\n%s", r.stdout)
	}
}

// Two users terminate the same enclave at once: both hear that it is gone.
func TestTerminateTwice(t *testing.T) {
	w := newWorld(t)
	info := w.start()
	path, err := enclaveproc.SocketPath(w.env[nitrocli.SocketsPathVariable], info.EnclaveID)
	if err != nil {
		t.Fatal(err)
	}
	var conns []net.Conn
	for range 2 {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := wire.Send(c, wire.Terminate, nil); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	for i, c := range conns {
		var stdout string
		status := int32(-1)
		for {
			r, err := wire.ReadReply(c)
			if err != nil {
				break
			}
			stdout += r.Stdout
			if r.Status != nil {
				status = *r.Status
			}
		}
		if status != 0 || !strings.Contains(stdout, `"Terminated": true`) {
			t.Errorf("client %d: status %d, %s", i, status, stdout)
		}
	}
}
