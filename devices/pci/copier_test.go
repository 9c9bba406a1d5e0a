package pci_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/nitrolab/nitrolab/devices/pci"
	"github.com/nitrolab/nitrolab/devices/pci/pcitest"
)

// TestReadme checks that devices/README.md shows the example as it is compiled.
func TestReadme(t *testing.T) {
	code, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, shown, _ := strings.Cut(string(readme), "```go\n")
	shown, _, _ = strings.Cut(shown, "```")
	if diff := cmp.Diff(strings.Split(string(code), "\n"), strings.Split(shown, "\n")); diff != "" {
		t.Errorf("devices/README.md does not show devices/pci/example_test.go (-file +README):\n%s", diff)
	}
	if n := strings.Count(string(code), "\n"); n >= 100 {
		t.Errorf("the example has %d lines, want less than 100", n)
	}
}

// startCopier is what a driver of the example does until its first job.
func startCopier(t *testing.T) (*copier, *pcitest.Bus) {
	t.Helper()
	c, err := newCopier()
	if err != nil {
		t.Fatal(err)
	}
	b := pcitest.New(t, c.f)
	b.Enable()
	b.EnableMSIX()
	return c, b
}

// drain runs what is queued.
func (c *copier) drain() {
	for len(c.jobs) > 0 {
		c.run(<-c.jobs)
	}
}

func TestCopier(t *testing.T) {
	c, b := startCopier(t)
	source := make([]byte, 200<<10)
	for i := range source {
		source[i] = byte(i * 31 / 7)
	}
	target := make([]byte, len(source))
	desc := make([]byte, 48)
	put := func(at int, from, to uint64, size uint32) {
		binary.LittleEndian.PutUint64(desc[at:], from)
		binary.LittleEndian.PutUint64(desc[at+8:], to)
		binary.LittleEndian.PutUint32(desc[at+16:], size)
	}
	put(0, 0x100000, 0x200001, uint32(len(source)))
	put(24, 0x100000, 0x900000, 16) // nothing is mapped there
	b.Mem().MapAs(0x1000, desc, true, true)
	b.Mem().MapAs(0x100000, source[:70000], true, false)
	b.Mem().MapAs(0x100000+70000, source[70000:], true, false)
	b.Mem().MapAs(0x200001, target, false, true)

	b.Write64(0, 0, 0x1000)
	b.Write32(0, 8, 0)
	b.Write32(0, 0, 0x1018) // the lower half alone
	b.Write32(0, 8, 0)
	b.Write64(0, 0, 0xdead0000) // no descriptor
	b.Write32(0, 8, 0)
	c.drain()
	if !bytes.Equal(source, target) {
		t.Error("the copy differs")
	}
	if desc[20] != 1 || desc[44] != 2 {
		t.Errorf("status %d and %d, want 1 and 2", desc[20], desc[44])
	}
	if n := b.Read32(0, 8); n != 2 || b.Count(pci.MSIX, 0) != 2 {
		t.Errorf("%d jobs counted, %d interrupts, want 2", n, b.Count(pci.MSIX, 0))
	}

	for range 100 {
		b.Write32(0, 8, 0)
	}
	if n := len(c.jobs); n != 64 {
		t.Errorf("%d jobs queued, want 64", n)
	}
	desc[20] = 0
	b.FLR()
	b.Enable()
	c.drain()
	if desc[20] != 0 || b.Read32(0, 8) != 0 {
		t.Error("a job outlived the reset")
	}
}

// TestCopierServe checks that the example ends, and leaves nothing, when QEMU goes
// away and when its context ends.
func TestCopierServe(t *testing.T) {
	for name, end := range map[string]func(peer *net.UnixConn, cancel func()) error{
		"peer closes": func(peer *net.UnixConn, _ func()) error { return peer.Close() },
		"cancelled":   func(_ *net.UnixConn, cancel func()) error { cancel(); return context.Canceled },
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(deadline(t))
			defer cancel()
			c, err := newCopier()
			if err != nil {
				t.Fatal(err)
			}
			here, there := socketpair(t)
			done := make(chan error, 1)
			go func() { done <- c.serve(ctx, here) }()
			want := end(there, cancel)
			if got := <-done; !errors.Is(got, want) {
				t.Errorf("serve: %v, want %v", got, want)
			}
			if _, open := <-c.jobs; open {
				t.Error("jobs are left")
			}
		})
	}
}

func socketpair(t *testing.T) (a, b *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	conns := [2]*net.UnixConn{}
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "socketpair")
		c, err := net.FileConn(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		conns[i] = c.(*net.UnixConn)
		t.Cleanup(func() { _ = c.Close() })
	}
	return conns[0], conns[1]
}
