package nsm

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// The kernel here has no such device; that the ioctl reaches a kernel at all,
// and that its errno comes back as it is, shows on another one.
func TestIoctlErrnoAsItIs(t *testing.T) {
	d, err := openDevice(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	for _, req := range [][]byte{nil, []byte("\x69GetRandom")} {
		if _, err := d.Raw(req); err != syscall.ENOTTY {
			t.Errorf("ioctl on %s: %v, want ENOTTY", os.DevNull, err)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Raw(nil); !errors.Is(err, os.ErrClosed) {
		t.Errorf("after close: %v, want ErrClosed", err)
	}
}

func TestOpenWithoutDriver(t *testing.T) {
	if _, err := openDevice(filepath.Join(t.TempDir(), "nsm")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want ErrNotExist", err)
	}
}
