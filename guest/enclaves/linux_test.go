package enclaves

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The kernel here has no such device; that the ioctls reach a kernel at all, and
// that its errno comes back as it is, shows on another one.
func TestIoctlErrnoAsItIs(t *testing.T) {
	d, err := Linux{Path: os.DevNull}.OpenDevice()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.CreateVM(); !isOp(err, "NE_CREATE_VM", syscall.ENOTTY) {
		t.Errorf("CreateVM on %s: %v, want ENOTTY", os.DevNull, err)
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	v := &vm{file: null}
	tests := []struct {
		op   string
		call func() error
	}{
		{"NE_ADD_VCPU", func() error { _, err := v.AddVCPU(1); return err }},
		{"NE_GET_IMAGE_LOAD_INFO", func() error { _, err := v.ImageLoadInfo(EIFImage); return err }},
		{"NE_SET_USER_MEMORY_REGION", func() error { return v.SetUserMemoryRegion(MemoryRegion{Size: 2 << 20}) }},
		{"NE_START_ENCLAVE", func() error { _, err := v.Start(StartInfo{}); return err }},
	}
	for _, tt := range tests {
		if err := tt.call(); !isOp(err, tt.op, syscall.ENOTTY) {
			t.Errorf("%s on %s: %v, want ENOTTY", tt.op, os.DevNull, err)
		}
	}
	if err := errors.Join(v.Close(), d.Close()); err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		if err := tt.call(); !isOp(err, tt.op, os.ErrClosed) {
			t.Errorf("%s after Close: %v, want ErrClosed", tt.op, err)
		}
	}
	if _, err := d.CreateVM(); !isOp(err, "NE_CREATE_VM", os.ErrClosed) {
		t.Errorf("CreateVM after Close: %v, want ErrClosed", err)
	}
}

func isOp(err error, op string, is error) bool {
	var e *OpError
	return errors.As(err, &e) && e.Op == op && errors.Is(err, is)
}

func TestOpenDeviceWithoutDriver(t *testing.T) {
	if _, err := (Linux{Path: filepath.Join(t.TempDir(), "nitro_enclaves")}).OpenDevice(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want ErrNotExist", err)
	}
}

// Sizes that no page has never reach the kernel's flags.
func TestMapPageSizes(t *testing.T) {
	for _, size := range []uint64{0, 3 << 20, 1<<63 + 1, 1 << 63} {
		if p, err := (Linux{}).MapPage(size); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%d bytes: page %v, error %v, want EINVAL", size, p, err)
		}
	}
}

// hangingVM is a VM whose descriptor is the reading end of a pipe: closing the
// other end is POLLHUP, as the end of an enclave is.
func hangingVM(t *testing.T) (v *vm, hangUp func()) {
	t.Helper()
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	v, err := newVM(fds[0], 7)
	if err != nil {
		t.Fatal(err)
	}
	return v, func() {
		if err := unix.Close(fds[1]); err != nil {
			t.Error(err)
		}
	}
}

func TestWait(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	t.Run("ends while waiting", func(t *testing.T) {
		v, hangUp := hangingVM(t)
		defer v.Close()
		done := make(chan error, 1)
		go func() { done <- v.Wait(ctx) }()
		select {
		case err := <-done:
			t.Fatalf("returned %v before the end", err)
		case <-time.After(20 * time.Millisecond):
		}
		hangUp()
		if err := <-done; err != nil {
			t.Errorf("got %v", err)
		}
	})
	t.Run("ended before, and asked twice", func(t *testing.T) {
		v, hangUp := hangingVM(t)
		defer v.Close()
		hangUp()
		for range 2 {
			if err := v.Wait(ctx); err != nil {
				t.Errorf("got %v", err)
			}
		}
	})
	t.Run("data is no end", func(t *testing.T) {
		var fds [2]int
		if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fds[1])
		if _, err := unix.Write(fds[1], []byte("x")); err != nil {
			t.Fatal(err)
		}
		v, err := newVM(fds[0], 7)
		if err != nil {
			t.Fatal(err)
		}
		defer v.Close()
		short, cancel := context.WithTimeout(ctx, 30*time.Millisecond)
		defer cancel()
		if err := v.Wait(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want DeadlineExceeded", err)
		}
	})
	t.Run("given up and taken up again", func(t *testing.T) {
		v, hangUp := hangingVM(t)
		defer v.Close()
		why := errors.New("why")
		given, cancel := context.WithCancelCause(ctx)
		done := make(chan error, 1)
		go func() { done <- v.Wait(given) }()
		cancel(why)
		if err := <-done; !errors.Is(err, why) {
			t.Errorf("got %v, want the cause", err)
		}
		hangUp()
		if err := v.Wait(ctx); err != nil {
			t.Errorf("got %v", err)
		}
	})
	t.Run("closed while waiting", func(t *testing.T) {
		v, hangUp := hangingVM(t)
		defer hangUp()
		done := make(chan error, 1)
		go func() { done <- v.Wait(ctx) }()
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-done; !errors.Is(err, os.ErrClosed) {
			t.Errorf("got %v, want ErrClosed", err)
		}
	})
}

func TestVMIdentity(t *testing.T) {
	v, hangUp := hangingVM(t)
	defer hangUp()
	defer v.Close()
	if v.SlotUID() != 7 {
		t.Errorf("slot is %d, want 7", v.SlotUID())
	}
}
