package initramfs

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// tree makes a folder with a file, a link that leads out, and a named pipe.
func tree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, err := range []error{
		os.Mkdir(filepath.Join(dir, "bin"), 0o700),
		os.WriteFile(filepath.Join(dir, "bin", "app"), []byte("program"), 0o600),
		os.Chmod(filepath.Join(dir, "bin", "app"), 0o751),
		os.Chmod(filepath.Join(dir, "bin"), 0o750),
		os.Symlink("/etc", filepath.Join(dir, "etc")),
		unix.Mkfifo(filepath.Join(dir, "pipe"), 0o600),
		os.Chmod(filepath.Join(dir, "pipe"), 0o640),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestTree(t *testing.T) {
	dir := tree(t)
	files, err := Tree("rootfs", dir)
	if err != nil {
		t.Fatal(err)
	}
	want := []entry{
		{Name: "rootfs", Mode: "40755"},
		{Name: "rootfs/bin", Mode: "40750"},
		{Name: "rootfs/bin/app", Mode: "100751", Content: "program"},
		{Name: "rootfs/etc", Mode: "120777", Content: "/etc"},
		{Name: "rootfs/pipe", Mode: "10640"},
	}
	if diff := cmp.Diff(want, read(t, bytesOf(t, files))); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
}

func TestTreeErrors(t *testing.T) {
	dir := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, "socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, dir, want string }{
		{"socket", dir, "cannot hold this type"},
		{"file", file, "is no directory"},
		{"missing", file + "x", "no such file"},
	} {
		if _, err := Tree("", tt.dir); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestFromFile(t *testing.T) {
	p := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(p, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := FromFile("/bin/f", p, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	a, err := New(append(sample()[:0], r))
	if err != nil {
		t.Fatal(err)
	}
	want := []entry{{Name: "bin", Mode: "40755"}, {Name: "bin/f", Mode: "100755", Content: "old"}}
	if diff := cmp.Diff(want, read(t, bytesOf(t, a.Records()))); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}

	// A file that became another one must not end up half in the image.
	if err := os.WriteFile(p, []byte("longer"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := a.ReadAt(make([]byte, a.Size()), 0); err == nil || !strings.Contains(err.Error(), "changed") {
		t.Errorf("changed file: error %v", err)
	}
	if _, err := FromFile("d", t.TempDir(), 0o755); err == nil {
		t.Error("directory: no error")
	}
}

// GNU cpio, where there is one, unpacks what was put in.
func TestGNUCpio(t *testing.T) {
	tool, err := exec.LookPath("cpio")
	if err != nil {
		t.Skip("no cpio command")
	}
	files, err := Tree("", tree(t))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cmd := exec.Command(tool, "-i", "-m", "--no-absolute-filenames", "--quiet")
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(string(bytesOf(t, files)))
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("cpio: %v\n%s", err, out)
	}
	got, err := os.ReadFile(filepath.Join(dir, "bin", "app"))
	if err != nil || string(got) != "program" {
		t.Errorf("bin/app = %q, %v", got, err)
	}
	if target, err := os.Readlink(filepath.Join(dir, "etc")); err != nil || target != "/etc" {
		t.Errorf("etc -> %q, %v", target, err)
	}
}
