package scm

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// openFDs counts the descriptors of this process.
func openFDs(t *testing.T) int {
	t.Helper()
	l, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(l)
}

// TestReceive passes descriptors through a socket and counts where they end up.
func TestReceive(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = unix.Close(pair[0]), unix.Close(pair[1]) })
	const room, limit = 8, 6
	tests := []struct {
		name      string
		had, sent int
		want      int // in the list
		tooMany   bool
	}{
		{"none", 0, 0, 0, false},
		{"one", 0, 1, 1, false},
		{"more", 2, 3, 5, false},
		{"as many as may", 0, limit, limit, false},
		{"one too many", 0, limit + 1, limit, true},
		{"too many with those before", 4, 3, limit, true},
		{"more than there is room for", 0, room + 1, limit, true},
		{"as many as Linux passes", 3, 253, limit, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := openFDs(t)
			var l List
			for range tt.had {
				fd, err := unix.Dup(pair[0])
				if err != nil {
					t.Fatal(err)
				}
				l = append(l, fd)
			}
			var oob []byte
			if tt.sent > 0 {
				fds := make([]int, tt.sent)
				for i := range fds {
					fds[i] = pair[0]
				}
				oob = unix.UnixRights(fds...)
			}
			if err := unix.Sendmsg(pair[0], []byte("hello"), oob, nil, 0); err != nil {
				t.Fatal(err)
			}
			r, b := NewReceiver(room), make([]byte, 3)
			n, oob, flags, err := r.TryReceive(pair[1], b)
			if n != 3 || err != nil || string(b) != "hel" {
				t.Fatalf("received %q, %v", b[:n], err)
			}
			if err := l.Receive(oob, flags, limit); errors.Is(err, ErrTooMany) != tt.tooMany || (err != nil) != tt.tooMany {
				t.Errorf("error %v, want ErrTooMany %t", err, tt.tooMany)
			}
			if len(l) != tt.want || openFDs(t) != before+tt.want {
				t.Errorf("%d descriptors in the list, %d more are open; want %d", len(l), openFDs(t)-before, tt.want)
			}
			for i, fd := range l[min(tt.had, len(l)):] {
				if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
					t.Errorf("descriptor %d is not close-on-exec: %v", i, err)
				}
			}
			if len(l) > 1 {
				first, second := l[0], l[1]
				if fd := l.Take(); fd != first || l[0] != second {
					t.Errorf("took %d, left %v; want %d and %d", fd, l, first, second)
				} else if err := unix.Close(fd); err != nil {
					t.Error(err)
				}
			}
			l.Close()
			if got := openFDs(t); got != before {
				t.Errorf("%d descriptors, had %d", got, before)
			}
			if n, oob, _, err := r.Receive(pair[1], b); n != 2 || len(oob) != 0 || err != nil {
				t.Errorf("rest: %d bytes, %d of control, %v", n, len(oob), err)
			}
			if _, _, _, err := r.TryReceive(pair[1], b); err != unix.EAGAIN {
				t.Errorf("nothing: %v, want EAGAIN", err)
			}
		})
	}
}

func FuzzReceive(f *testing.F) {
	f.Add([]byte{}, 0)
	f.Add(unix.UnixRights(), unix.MSG_CTRUNC)
	f.Add([]byte{20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 9, 9, 9, 9}, 0) // SCM_CREDENTIALS
	f.Add([]byte{17, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 176}, 0)        // a quarter of a descriptor
	f.Add([]byte{255, 255, 255, 255, 255, 255, 255, 255, 1, 0, 0, 0, 1, 0, 0, 0}, 0)
	f.Fuzz(func(t *testing.T, oob []byte, flags int) {
		// Numbers that are no descriptors of ours: closing them must not matter.
		for i := 16; i < len(oob); i++ {
			oob[i] |= 0x80
		}
		var l List
		_ = l.Receive(oob, flags, 4)
		if len(l) > 4 {
			t.Errorf("%d descriptors", len(l))
		}
		l.Close()
	})
}
