package eventfd

import (
	"encoding/binary"
	"errors"
	"math"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func newEvent(t *testing.T) int {
	t.Helper()
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

func count(t *testing.T, fd int) uint64 {
	t.Helper()
	var b [8]byte
	if _, err := unix.Read(fd, b[:]); err == unix.EAGAIN {
		return 0
	} else if err != nil {
		t.Fatal(err)
	}
	return binary.NativeEndian.Uint64(b[:])
}

func TestSignal(t *testing.T) {
	a, b := newEvent(t), newEvent(t)
	for _, fd := range []int{a, b} {
		t.Cleanup(func() { _ = unix.Close(fd) })
	}
	give := func(fd int) int {
		t.Helper()
		dup, err := unix.Dup(fd)
		if err != nil {
			t.Fatal(err)
		}
		return dup
	}
	var s Signal
	raise := func(what string, want bool) {
		t.Helper()
		if sent, err := s.Raise(); sent != want || err != nil {
			t.Errorf("%s: Raise = %t, %v; want %t", what, sent, err, want)
		}
	}
	raise("zero value", false)
	if err := s.Set(give(a)); err != nil {
		t.Fatal(err)
	}
	raise("set", true)
	raise("set", true)
	if err := s.Set(give(b)); err != nil {
		t.Fatal(err)
	}
	raise("replaced", true)
	if count(t, a) != 2 || count(t, b) != 1 {
		t.Error("signals went astray")
	}
	if _, err := unix.Write(b, binary.NativeEndian.AppendUint64(nil, math.MaxUint64-1)); err != nil {
		t.Fatal(err)
	}
	raise("full", true)
	if err := s.Set(-2); err != nil {
		t.Error(err)
	}
	raise("taken away", false)
	closed := give(a)
	_ = unix.Close(closed)
	if err := s.Set(closed); !errors.Is(err, unix.EBADF) {
		t.Errorf("Set of a closed descriptor = %v, want EBADF", err)
	}
	s.Close()
}

func TestListener(t *testing.T) {
	fd := newEvent(t)
	other, err := unix.Dup(fd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(other) })
	l, err := NewListener(fd, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	waited := make(chan error)
	var buf [8]byte
	wait := func() { go func() { waited <- l.Wait(&buf) }() }
	expect := func(want error) {
		t.Helper()
		select {
		case err := <-waited:
			if !errors.Is(err, want) {
				t.Errorf("Wait = %v, want %v", err, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("Wait does not return")
		}
	}
	wait()
	if _, err := unix.Write(other, one); err != nil {
		t.Fatal(err)
	}
	expect(nil)
	wait()
	l.Stop()
	expect(ErrStopped)
	wait()
	expect(ErrStopped)
	l.Resume()
	if _, err := unix.Write(other, one); err != nil {
		t.Fatal(err)
	}
	wait()
	expect(nil)
}

func TestNotEvents(t *testing.T) {
	file, err := os.CreateTemp(t.TempDir(), "file")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	fd := newEvent(t)
	defer unix.Close(fd)
	if err := Check(fd); err != nil {
		t.Errorf("Check of an eventfd = %v", err)
	}
	if err := Check(int(file.Fd())); !errors.Is(err, ErrNotEvent) {
		t.Errorf("Check of a file = %v, want ErrNotEvent", err)
	}
	if err := Check(1 << 20); err == nil {
		t.Error("Check of nothing = nil")
	}
	dup, err := unix.Dup(int(file.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewListener(dup, "file"); !errors.Is(err, ErrNotEvent) {
		t.Errorf("NewListener of a file = %v, want ErrNotEvent", err)
	}
	if _, err := unix.FcntlInt(uintptr(dup), unix.F_GETFD, 0); err != unix.EBADF {
		t.Error("NewListener did not close what it refused")
	}
}
