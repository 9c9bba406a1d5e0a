package enclaveproc

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/nitrolab/nitrolab/guest/nitrocli/failure"
	"github.com/nitrolab/nitrolab/guest/nitrocli/wire"
	"github.com/nitrolab/nitrolab/images/eif"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const gib = 1 << 30

// The first six are those of nitro-cli's own test (test_timeout_calculation).
func TestBootTimeout(t *testing.T) {
	tests := []struct {
		image, memory uint64
		steps         int // of 90 s
	}{
		{2 * gib, 32 * gib, 2},
		{6 * gib, 32 * gib, 2},
		{10 * gib, 32 * gib, 3},
		{2 * gib, 128 * gib, 3},
		{6 * gib, 128 * gib, 3},
		{10 * gib, 128 * gib, 4},
		{12 << 20, 64 << 20, 2},
		{6*gib + 1, 100*gib + 1, 4},
		{0, 0, 2}, // and no underflow
	}
	for _, tt := range tests {
		if got, want := bootTimeout(tt.image, tt.memory), time.Duration(tt.steps)*90*time.Second; got != want {
			t.Errorf("image of %d, memory of %d: %v, want %v", tt.image, tt.memory, got, want)
		}
	}
}

func TestCheckMemory(t *testing.T) {
	tests := []struct {
		memoryMiB uint64
		image     int64
		info      []string // of the error; nil for none
	}{
		{64, 16 << 20, nil},
		{64, 16<<20 + 1, []string{"memory", "64", "68"}},
		{63, 16 << 20, []string{"memory", "63", "64"}},
		// The rule is in bytes; what is printed is of whole MiB.
		{1, 262144, nil},
		{1, 262145, []string{"memory", "1", "4"}},
		{0, 0, []string{"memory", "0", "0"}},
		{1, 0, nil},
		{math.MaxUint64, math.MaxInt64, nil},
		{1, math.MaxInt64, []string{"memory", "1", "35184372088832"}},
	}
	for _, tt := range tests {
		err := checkMemory(tt.memoryMiB, tt.image)
		if tt.info == nil {
			if err != nil {
				t.Errorf("%d MiB for %d bytes: %v", tt.memoryMiB, tt.image, err)
			}
			continue
		}
		e, _ := err.(*failure.Error)
		if e == nil || e.Code != failure.InsufficientMemoryRequested {
			t.Errorf("%d MiB for %d bytes: error %v", tt.memoryMiB, tt.image, err)
			continue
		}
		if diff := cmp.Diff(tt.info, e.Info); diff != "" {
			t.Errorf("%d MiB for %d bytes (-want +got):\n%s", tt.memoryMiB, tt.image, diff)
		}
	}
}

func TestAllowed(t *testing.T) {
	const owner = 1000
	all := []wire.Command{wire.Run, wire.Terminate, wire.Describe, wire.GetEnclaveCID, wire.GetEnclaveFlags, wire.GetEnclaveName, wire.GetIDbyName}
	for _, c := range all {
		changes := c == wire.Run || c == wire.Terminate
		if !allowed(c, owner, owner) || !allowed(c, 0, owner) {
			t.Errorf("%s is refused to the owner or to root", c)
		}
		if allowed(c, owner+1, owner) == changes {
			t.Errorf("%s of another user: allowed is %v", c, !changes)
		}
	}
	if allowed("Other", owner+1, owner) {
		t.Error("an unknown command of another user is allowed")
	}
}

func TestSocketPath(t *testing.T) {
	tests := []struct{ id, want string }{
		{"i-0000000000000000-enc0123456789012345", "/run/x/0123456789012345.sock"},
		{"i-1-encloud-enc7", "/run/x/7.sock"},
		{"7", "/run/x/7.sock"},
		{"encore", "/run/x/encore.sock"},
		{"i-0-enc", ""},
		{"", ""},
		{".", ""},
		{"..", ""},
		{"i-0-enc..", ""},
		{"i-0-enc../7", ""},
		{"a/b", ""},
		{"/", ""},
	}
	for _, tt := range tests {
		got, err := SocketPath("/run/x", tt.id)
		if got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%q: path %q, error %v, want %q", tt.id, got, err, tt.want)
		}
	}
}

func FuzzSocketPath(f *testing.F) {
	for _, s := range []string{"i-0-enc1", "", "..", "a/b", "i-0-enc../../x", "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, id string) {
		path, err := SocketPath("/run/x", id)
		if err != nil {
			return
		}
		if filepath.Dir(path) != "/run/x" || filepath.Clean(path) != path || !strings.HasSuffix(path, SocketSuffix) {
			t.Fatalf("%q leads to %q", id, path)
		}
	})
}

func TestEnclaveID(t *testing.T) {
	root := t.TempDir()
	c := Config{Root: root}
	if got, err := c.enclaveID(0x1a2b); got != "i-0000000000000000-enc1a2b" || err != nil {
		t.Errorf("without SMBIOS: %q, error %v", got, err)
	}
	path := c.file(assetTagPath)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(" i-0abc\t\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := c.enclaveID(math.MaxUint64); got != "i-0abc-encffffffffffffffff" || err != nil {
		t.Errorf("with SMBIOS: %q, error %v", got, err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := c.enclaveID(1); failure.CodeOf(err) != failure.FileOperationFailure {
		t.Errorf("unreadable: %v", err)
	}
}

// sectionHeader is 12 bytes of a section header.
func sectionHeader(typ uint16, size uint64) []byte {
	b := binary.BigEndian.AppendUint16(nil, typ)
	b = append(b, 0, 0)
	return binary.BigEndian.AppendUint64(b, size)
}

func TestFindSignature(t *testing.T) {
	header := make([]byte, eif.HeaderSize)
	join := func(parts ...[]byte) []byte { return bytes.Join(append([][]byte{header}, parts...), nil) }
	many := bytes.Repeat(sectionHeader(0, 0), 1<<16)
	tests := []struct {
		name   string
		file   []byte
		signed bool
		err    string
	}{
		{name: "nothing", err: "read EIF header"},
		{name: "a byte too short", file: header[1:], err: "read EIF header"},
		{name: "header alone", file: header},
		{name: "kernel", file: join(sectionHeader(1, 3), []byte("abc"))},
		{name: "signature behind a kernel", file: join(sectionHeader(1, 3), []byte("abc"), sectionHeader(4, 1), []byte{0}), signed: true},
		{name: "kernel that ends early", file: join(sectionHeader(1, 100), []byte("abc"))},
		{name: "half a section header", file: join(sectionHeader(1, 0), []byte{0, 4})},
		{name: "unknown type", file: join(sectionHeader(6, 0)), err: "section type 6"},
		{name: "size that overflows", file: join(sectionHeader(1, math.MaxUint64), sectionHeader(4, 0))},
		{name: "size up to the end of numbers", file: join(sectionHeader(1, math.MaxInt64-eif.HeaderSize), sectionHeader(4, 0))},
		{name: "sections without end", file: join(many)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			signed, err := findSignature(bytes.NewReader(tt.file))
			if signed != tt.signed || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("signed %v, error %v", signed, err)
			}
		})
	}
}

// FuzzCheckSignature reads any image file: an answer or E59, and no hang.
func FuzzCheckSignature(f *testing.F) {
	header := make([]byte, eif.HeaderSize)
	f.Add([]byte{})
	f.Add(header)
	f.Add(append(bytes.Clone(header), sectionHeader(4, 0)...))
	f.Add(append(bytes.Clone(header), sectionHeader(1, 1<<63)...))
	var b writeSeeker
	_, err := eif.Build(&b, eif.Spec{
		Kernel: section("kernel"), Cmdline: "x", Ramdisks: sections("ramdisk"),
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b.bytes)
	at := time.Unix(0, 0)
	f.Fuzz(func(t *testing.T, image []byte) {
		err := checkSignature(bytes.NewReader(image), int64(len(image)), at)
		if err != nil && failure.CodeOf(err) != failure.EIFSignatureCheckerError {
			t.Fatalf("error %v", err)
		}
	})
}

func FuzzParsePool(f *testing.F) {
	for _, s := range []string{"", "\n", "2-3\n", "1,3\n5", "0-3-7", "x", "0-65535\n0-65535\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		_, err := parsePool(text)
		if err == nil {
			return
		}
		if c := failure.CodeOf(err); c != failure.CPUError && c != failure.MalformedCPUID {
			t.Fatalf("%q: %v", text, err)
		}
	})
}

func TestDebugList(t *testing.T) {
	for want, list := range map[string][]uint32{"[]": {}, "[1]": {1}, "[1, 3]": {1, 3}} {
		if got := debugList(list); got != want {
			t.Errorf("%v: got %s", list, got)
		}
	}
}
