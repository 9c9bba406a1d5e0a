package files

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

// serve runs a guest's end for one copy, and expects it to end.
func serve(t testing.TB) net.Conn {
	t.Helper()
	a, b := net.Pipe()
	a.SetDeadline(time.Now().Add(patience))
	b.SetDeadline(time.Now().Add(patience))
	served := make(chan struct{})
	go func() {
		defer close(served)
		defer b.Close()
		_ = Serve(b)
	}()
	t.Cleanup(func() {
		a.Close()
		<-served
	})
	return a
}

var contents = map[string][]byte{
	"empty":        {},
	"short":        []byte("content\n"),
	"one frame":    bytes.Repeat([]byte("x"), maxFrame),
	"many frames":  bytes.Repeat([]byte("0123456789"), maxFrame),
	"frame and 1":  bytes.Repeat([]byte("y"), maxFrame+1),
	"looks binary": {0, 0, 0, 0, 255},
}

func TestRoundTrip(t *testing.T) {
	for name, want := range contents {
		for _, mode := range []fs.FileMode{0o600, 0o755, 0o4711&^0o4000 | fs.ModeSetuid, 0} {
			t.Run(name+" "+mode.String(), func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "f")
				if err := Put(serve(t), path, mode, bytes.NewReader(want)); err != nil {
					t.Fatal(err)
				}
				if mode == 0 && os.Geteuid() != 0 {
					return
				}
				var got bytes.Buffer
				gotMode, err := Get(serve(t), path, &got)
				if err != nil || gotMode != mode {
					t.Fatalf("mode %v, %v, want %v", gotMode, err, mode)
				}
				if !bytes.Equal(got.Bytes(), want) {
					t.Errorf("%d bytes, want %d", got.Len(), len(want))
				}
				onlyFile(t, path)
			})
		}
	}
}

// onlyFile checks that nothing is beside path.
func onlyFile(t *testing.T, path string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if diff := cmp.Diff([]string{filepath.Base(path)}, names); diff != "" {
		t.Errorf("folder (-want +got):\n%s", diff)
	}
}

// A file that is being replaced is the old one until it is the new one.
func TestPutReplaces(t *testing.T) {
	dir := t.TempDir()
	path, other := filepath.Join(dir, "f"), filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(other, []byte("other"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(other, path); err != nil {
		t.Fatal(err)
	}
	failing := io.MultiReader(strings.NewReader("half"), iotest.ErrReader(errors.New("source failed")))
	start := time.Now()
	if err := Put(serve(t), path, 0o600, failing); err == nil || err.Error() != "source failed" {
		t.Errorf("error %v, want the source's", err)
	}
	if d := time.Since(start); d > patience/2 {
		t.Errorf("it took %v: only the deadline ended it", d)
	}
	onlyFileEventually(t, path)
	if b, err := os.ReadFile(path); err != nil || string(b) != "other" {
		t.Errorf("after a failed put: %q, %v", b, err)
	}
	if err := Put(serve(t), path, 0o600, strings.NewReader("new")); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "new" {
		t.Errorf("%q, %v", b, err)
	}
	if b, err := os.ReadFile(other); err != nil || string(b) != "other" {
		t.Errorf("the target of a replaced link is %q, %v", b, err)
	}
}

// onlyFileEventually waits for the guest's end to clean up after a client that went
// away, which it hears about later than the client returns.
func onlyFileEventually(t *testing.T, path string) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if entries, err := os.ReadDir(filepath.Dir(path)); err == nil && len(entries) == 1 {
			return
		}
		time.Sleep(time.Millisecond)
	}
	onlyFile(t, path)
}

func TestErrors(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, op, path string
		want           error
		text           string
	}{
		{"get missing", opGet, filepath.Join(dir, "no"), fs.ErrNotExist, "open: no such file or directory"},
		{"get folder", opGet, dir, syscall.EISDIR, "open: is a directory"},
		{"get fifo", opGet, fifo, syscall.EINVAL, "open: invalid argument"},
		{"get device without end", opGet, "/dev/zero", syscall.EINVAL, "open: invalid argument"},
		{"get relative", opGet, "etc/passwd", syscall.EINVAL, "path: invalid argument"},
		{"get with zero", opGet, "/etc/passwd\x00", syscall.EINVAL, "path: invalid argument"},
		{"get too long", opGet, "/" + strings.Repeat("x", maxPath), syscall.EINVAL, "path: invalid argument"},
		{"put without folder", opPut, filepath.Join(dir, "no", "f"), fs.ErrNotExist, "open: no such file or directory"},
		{"put on folder", opPut, dir, syscall.EISDIR, "rename: is a directory"},
		{"put relative", opPut, "f", syscall.EINVAL, "path: invalid argument"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var err error
			if tt.op == opPut {
				err = Put(serve(t), tt.path, 0o600, strings.NewReader(strings.Repeat("z", 10*maxFrame)))
			} else {
				_, err = Get(serve(t), tt.path, io.Discard)
			}
			var known *Error
			if !errors.As(err, &known) || !errors.Is(err, tt.want) || known.Error() != tt.text {
				t.Errorf("error %v, want %q which is %v", err, tt.text, tt.want)
			}
		})
	}
}

// A put that fails early ends although its source does not.
func TestPutFailsWhileSourceWaits(t *testing.T) {
	r, w := io.Pipe()
	defer w.Close()
	if err := Put(serve(t), "/no/such/folder/f", 0o600, r); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

// A writer that fails ends a get.
func TestGetWriterFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, contents["many frames"], 0o600); err != nil {
		t.Fatal(err)
	}
	full := errors.New("full")
	if _, err := Get(serve(t), path, failWriter{full}); !errors.Is(err, full) {
		t.Errorf("error %v, want the writer's", err)
	}
}

type failWriter struct{ error }

func (f failWriter) Write([]byte) (int, error) { return 0, f.error }

// Files of /proc say that they are empty.
func TestGetProc(t *testing.T) {
	want, err := os.ReadFile("/proc/version")
	if err != nil {
		t.Skip("no /proc")
	}
	var got bytes.Buffer
	if _, err := Get(serve(t), "/proc/version", &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Error(diff)
	}
}

// stub is a peer that says what it was given and hears nothing.
type stub struct{ io.Reader }

func (stub) Write(p []byte) (int, error) { return len(p), nil }
func (stub) Close() error                { return nil }

func frame(b string) string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(b)))) + b
}

// A guest that lies is an error, and what it says is printable.
func TestHostileGuest(t *testing.T) {
	tests := []struct {
		name, in string
		want     error
		text     string
	}{
		{"nothing", "", ErrEnded, ""},
		{"half a head", "\x00\x00", ErrEnded, ""},
		{"too large", "\xff\xff\xff\xff", nil, "frame of 4294967295 bytes"},
		{"no JSON", frame("x"), nil, "invalid character"},
		{"half the data", frame("{}") + frame("data"), ErrEnded, ""},
		{"no last result", frame("{}") + frame(""), ErrEnded, ""},
		{"late failure", frame("{}") + frame("data") + frame("") + frame(`{"op":"read","errno":5,"text":"i/o error"}`), syscall.EIO, "read: i/o error"},
		{"terminal control", frame(`{"op":"\u001b[2J","errno":99999,"text":"\u0007` + strings.Repeat("a", 5000) + `"}`), nil, "?[2J: ?aaa"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Get(stub{strings.NewReader(tt.in)}, "/x", io.Discard)
			switch {
			case err == nil:
				t.Error("no error")
			case tt.want != nil && !errors.Is(err, tt.want), !strings.Contains(err.Error(), tt.text):
				t.Errorf("error %q, want %v with %q", err, tt.want, tt.text)
			case len(err.Error()) > 2*maxText:
				t.Errorf("error of %d bytes", len(err.Error()))
			}
		})
	}
}

// A client that lies does no harm and leaves nothing. What it may name is fixed,
// since the fuzzer must not write elsewhere.
func FuzzServe(f *testing.F) {
	f.Add(opPut, "f", uint32(0o644), []byte(frame("data")+frame("")))
	f.Add(opPut, "f", uint32(0xffffffff), []byte(frame("data")))
	f.Add(opGet, "there", uint32(0), []byte{})
	f.Add(opGet, "", uint32(0), []byte{})
	f.Add(opPut, "folder", uint32(0), []byte(frame("")))
	f.Add("x", "f", uint32(0), []byte("\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, op, name string, mode uint32, data []byte) {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "folder"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "there"), []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
		head, err := json.Marshal(request{op, filepath.Join(dir, filepath.Base("/"+name)), mode})
		if err != nil {
			t.Fatal(err)
		}
		if len(head) > maxFrame {
			return
		}
		err = Serve(stub{io.MultiReader(strings.NewReader(frame(string(head))), bytes.NewReader(data))})
		entries, readErr := os.ReadDir(dir)
		if readErr != nil {
			t.Fatal(readErr)
		}
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), ".nitrolab-") {
				t.Fatalf("%s was left", e.Name())
			}
		}
		if old, _ := os.ReadFile(filepath.Join(dir, "there")); err != nil && string(old) != "old" {
			t.Fatalf("a put that failed (%v) left %q", err, old)
		}
	})
}

// FuzzClient lets a guest say anything.
func FuzzClient(f *testing.F) {
	f.Add([]byte(frame("{}") + frame("data") + frame("") + frame("{}")))
	f.Add([]byte(frame(`{"op":"open","errno":2,"text":"x"}`)))
	f.Add([]byte("\x00\x00\x80\x01"))
	f.Fuzz(func(t *testing.T, in []byte) {
		var got bytes.Buffer
		if _, err := Get(stub{bytes.NewReader(in)}, "/x", &got); err == nil && got.Len() > len(in) {
			t.Fatalf("%d bytes out of %d", got.Len(), len(in))
		}
		_ = Put(stub{bytes.NewReader(in)}, "/x", 0o600, strings.NewReader("abc"))
	})
}

func BenchmarkGet(b *testing.B) {
	path := filepath.Join(b.TempDir(), "f")
	const size = 64 << 20
	if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Get(serve(b), path, io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}
