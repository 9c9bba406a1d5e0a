package boot

import (
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestLookPath(t *testing.T) {
	programs := map[string]bool{"/usr/bin/app": true, "/bin/app": true, "/usr/sbin/only": true}
	tests := []struct {
		name, in, want string
	}{
		{"absolute is not looked for", "/opt/app", "/opt/app"},
		{"relative is not looked for", "./app", "./app"},
		{"first folder that has it", "app", "/bin/app"},
		{"other folder", "only", "/usr/sbin/only"},
		{"nowhere", "none", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := lookPath(tt.in, func(p string) bool { return programs[p] })
			if got != tt.want || (err != nil) != (tt.want == "") {
				t.Errorf("lookPath(%q) = %q, %v, want %q", tt.in, got, err, tt.want)
			}
		})
	}
}

func TestReadFile(t *testing.T) {
	p := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(p, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := (linux{}).ReadFile(p, 7); err != nil || string(got) != "content" {
		t.Errorf("ReadFile = %q, %v", got, err)
	}
	if _, err := (linux{}).ReadFile(p, 6); err != unix.EFBIG {
		t.Errorf("longer than the limit: %v, want EFBIG", err)
	}
	if _, err := (linux{}).ReadFile(p+"x", 6); err != unix.ENOENT {
		t.Errorf("missing: %v, want ENOENT", err)
	}
}

func TestListDir(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b", "a"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := linux{}.ListDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a", "b"}, got); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	// The caller compares with ==, so that it must be the bare number.
	if _, err := (linux{}).ListDir(dir + "/x"); err != unix.ENOENT {
		t.Errorf("missing: %v, want ENOENT", err)
	}
}

func TestStartAndWait(t *testing.T) {
	tests := []struct {
		name, script, want string
	}{
		{"status", `test "$A" = 1 && exit 9`, "status 9"},
		{"signal", "kill -TERM $$", "signal terminated"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			pid, err := linux{}.Start([]string{"sh", "-c", tt.script}, []string{"A=1"})
			if err != nil {
				t.Fatal(err)
			}
			child, status, err := linux{}.Wait()
			for err == unix.EINTR {
				child, status, err = linux{}.Wait()
			}
			if err != nil || child != pid || status.String() != tt.want {
				t.Errorf("Wait = %d, %v, %v, want %d, %s", child, status, err, pid, tt.want)
			}
		})
	}
	if _, err := (linux{}).Start([]string{"/no/such"}, nil); err == nil {
		t.Error("missing program: no error")
	}
}

func TestExchangeHeartbeat(t *testing.T) {
	tests := []struct {
		name  string
		reply []byte // nil: the parent closes
		want  string // "": no error
	}{
		{"echo", []byte{0xb7}, ""},
		{"other byte", []byte{0xb8}, "received 0xb8 instead of 0xb7"},
		{"closed", nil, "connection closed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fds[0])
			f := os.NewFile(uintptr(fds[1]), "parent")
			parent, err := net.FileConn(f)
			f.Close()
			if err != nil {
				t.Fatal(err)
			}
			got := make(chan byte, 1)
			go func() {
				defer parent.Close()
				b := make([]byte, 1)
				parent.Read(b)
				got <- b[0]
				parent.Write(tt.reply)
			}()
			err = exchangeHeartbeat(fds[0])
			if b := <-got; b != 0xb7 {
				t.Errorf("sent %#x, want 0xb7", b)
			}
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

// Signals must neither end PID 1 nor be ignored by what it starts.
func TestCatchSignals(t *testing.T) {
	linux{}.CatchSignals()
	defer signal.Reset()
	for _, sig := range []unix.Signal{unix.SIGTERM, unix.SIGUSR2, unix.SIGINT, unix.SIGHUP} {
		if err := unix.Kill(os.Getpid(), sig); err != nil {
			t.Fatal(err)
		}
	}
	_, err := linux{}.Start([]string{"sh", "-c", "kill -TERM $$; exit 0"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, status, err := linux{}.Wait()
	for err == unix.EINTR {
		_, status, err = linux{}.Wait()
	}
	if err != nil || status.Signal != unix.SIGTERM {
		t.Errorf("child: %v, %v, want it to be terminated", status, err)
	}
}
