package guard

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestUnixListener connects through a descriptor of the process, as QEMU does.
func TestUnixListener(t *testing.T) {
	// A path longer than the address of a unix socket.
	dir := filepath.Join(t.TempDir(), strings.Repeat("long-", 40))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	l, file, err := UnixListener(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left in the folder: %v, %v", left, err)
	}
	out, err := net.Dial("unix", fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), file.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(out, "hello")
	_ = out.Close()
	_ = file.Close()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got, err := io.ReadAll(c); err != nil || string(got) != "hello" {
		t.Errorf("got %q, %v", got, err)
	}
	if _, _, err := UnixListener(filepath.Join(dir, "none")); err == nil {
		t.Error("a folder that does not exist is taken")
	}
}
