package kmod

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"github.com/nitrolab/nitrolab/images/kmod/kmodtest"
)

func pack(t *testing.T, content []byte, open func(io.Writer) (io.WriteCloser, error)) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := open(&b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func packXZ(t *testing.T, content []byte) []byte {
	return pack(t, content, func(w io.Writer) (io.WriteCloser, error) { return xz.NewWriter(w) })
}

func packZstd(t *testing.T, content []byte) []byte {
	return pack(t, content, func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) })
}

func packGzip(t *testing.T, content []byte) []byte {
	return pack(t, content, func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil })
}

// folder has the modules of an enclave as Debian names them, each compressed in
// another way.
func folder(t *testing.T) fstest.MapFS {
	return fstest.MapFS{
		"modules.builtin":                                       {Data: []byte("kernel/drivers/virtio/virtio.ko\nkernel/drivers/virtio/virtio_ring.ko\nkernel/fs/my-fs.ko\n")},
		"modules.order":                                         {Data: []byte("kernel/a.ko\n")},
		"kernel/drivers/virtio/virtio_mmio.ko":                  {Data: kmodtest.Module("name=virtio_mmio", "depends=virtio,virtio_ring")},
		"kernel/net/vsock/vsock.ko.xz":                          {Data: packXZ(t, kmodtest.Module("name=vsock", "depends="))},
		"kernel/net/vsock/vmw-vsock-virtio-transport-common.ko": {Data: kmodtest.Module("depends=vsock")},
		"kernel/net/vsock/vmw_vsock_virtio_transport.ko.zst":    {Data: packZstd(t, kmodtest.Module("depends=vmw_vsock_virtio_transport_common,vsock"))},
		"kernel/drivers/misc/nsm.ko.gz":                         {Data: packGzip(t, kmodtest.Module("depends="))},
		"kernel/drivers/misc/nsm.ko.gz.tmp":                     {Data: []byte("no module")},
		"kernel/net/loop-a.ko":                                  {Data: kmodtest.Module("depends=loop_b")},
		"kernel/net/loop-b.ko":                                  {Data: kmodtest.Module("depends=loop-a")},
		"kernel/net/orphan.ko":                                  {Data: kmodtest.Module("depends=nowhere")},
		"kernel/net/broken.ko.xz":                               {Data: []byte("no xz")},
		"kernel/net/noelf.ko":                                   {Data: []byte("no ELF")},
		"kernel/drivers/old.ko":                                 {Data: kmodtest.Module("version=1")},
		"updates/dkms/old.ko":                                   {Data: kmodtest.Module("version=2")},
	}
}

func TestResolve(t *testing.T) {
	tests := []struct {
		name  string
		names []string
		want  []string
	}{
		{
			"an enclave's", []string{"virtio_mmio", "nsm", "vmw_vsock_virtio_transport"},
			[]string{"virtio_mmio", "nsm", "vsock", "vmw_vsock_virtio_transport_common", "vmw_vsock_virtio_transport"},
		},
		{"dashes, twice", []string{"vmw-vsock-virtio-transport-common", "vmw_vsock_virtio_transport_common"}, []string{"vsock", "vmw_vsock_virtio_transport_common"}},
		{"built in", []string{"virtio", "my_fs", "my-fs"}, nil},
		{"nothing", nil, nil},
	}
	fsys := folder(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			modules, err := resolve(fsys, tt.names)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, m := range modules {
				got = append(got, m.Name)
				if !bytes.HasPrefix(m.Image, []byte("\x7fELF")) {
					t.Errorf("%s is not uncompressed", m.Name)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("modules (-want +got):\n%s", diff)
			}
		})
	}
}

func TestResolvePrefersUpdates(t *testing.T) {
	modules, err := resolve(folder(t), []string{"old"})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(modules[0].Image, []byte("version=2")) {
		t.Error("the module of kernel/ was chosen, not the one of updates/")
	}
}

func TestResolveErrors(t *testing.T) {
	tests := []struct {
		name string
		fsys fstest.MapFS
		want string
	}{
		{"loop_a", nil, "depends on itself"},
		{"broken", nil, "module broken: read kernel/net/broken.ko.xz"},
		{"noelf", nil, "not an ELF object"},
		{"x", fstest.MapFS{"readme": {}}, "holds no module"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fsys := tt.fsys
			if fsys == nil {
				fsys = folder(t)
			}
			if _, err := resolve(fsys, []string{tt.name}); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}

	var missing *NotFoundError
	if _, err := resolve(folder(t), []string{"orphan"}); !errors.As(err, &missing) || *missing != (NotFoundError{"nowhere", "orphan"}) {
		t.Errorf("missing dependency: %v", err)
	}
	if _, err := resolve(folder(t), []string{"no-such"}); !errors.As(err, &missing) || *missing != (NotFoundError{"no_such", ""}) {
		t.Errorf("missing module: %v", err)
	}
}

// A chain of more modules than any kernel needs is refused, not followed.
func TestResolveBounds(t *testing.T) {
	fsys := fstest.MapFS{}
	for i := range maxResolved + 2 {
		fsys[fmt.Sprintf("kernel/m%d.ko", i)] = &fstest.MapFile{Data: kmodtest.Module(fmt.Sprintf("depends=m%d", i+1))}
	}
	if _, err := resolve(fsys, []string{"m0"}); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("error %v, want a bound", err)
	}
}

// A link that leads out of the folder is not followed.
func TestResolveStaysInside(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "secret.ko")
	dir := t.TempDir()
	for _, err := range []error{
		os.WriteFile(outside, kmodtest.Module("depends="), 0o600),
		os.Mkdir(filepath.Join(dir, "kernel"), 0o700),
		os.WriteFile(filepath.Join(dir, "kernel", "in.ko"), kmodtest.Module("depends=secret"), 0o600),
		os.Symlink(outside, filepath.Join(dir, "kernel", "secret.ko")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	var missing *NotFoundError
	if _, err := Resolve(dir, "in"); !errors.As(err, &missing) || missing.Name != "secret" {
		t.Errorf("error %v, want secret not found", err)
	}
	if _, err := Resolve(dir + "/none"); err == nil {
		t.Error("missing folder: no error")
	}
}

func TestDecompressBounds(t *testing.T) {
	const limit = 1 << 18
	for _, tt := range []struct {
		ext  string
		pack func([]byte) []byte
	}{
		{".ko", func(b []byte) []byte { return b }},
		{".xz", func(b []byte) []byte { return packXZ(t, b) }},
		{".zst", func(b []byte) []byte { return packZstd(t, b) }},
		{".gz", func(b []byte) []byte { return packGzip(t, b) }},
	} {
		t.Run(tt.ext, func(t *testing.T) {
			got, err := decompress(bytes.NewReader(tt.pack(make([]byte, limit))), tt.ext, limit)
			if err != nil || len(got) != limit {
				t.Errorf("largest: %d bytes, %v", len(got), err)
			}
			if _, err := decompress(bytes.NewReader(tt.pack(make([]byte, limit+1))), tt.ext, limit); err == nil {
				t.Error("one byte more: no error")
			}
			cut := tt.pack(make([]byte, limit))
			if _, err := decompress(bytes.NewReader(cut[:len(cut)/2]), tt.ext, limit); err == nil && tt.ext != ".ko" {
				t.Error("cut file: no error")
			}
		})
	}
	if _, err := decompress(strings.NewReader(""), ".bz2", limit); err == nil {
		t.Error("unknown compression: no error")
	}
}

// A file of some bytes that asks for a dictionary of 4 GiB does not get it.
func TestDecompressHostileDictionary(t *testing.T) {
	file := packXZ(t, []byte("content"))
	// Block header at 12: size, flags, filter id 0x21, size 1, dictionary; CRC.
	header := file[12 : 12+(int(file[12])+1)*4]
	i := bytes.Index(header, []byte{0x21, 1})
	header[i+2] = 40
	binary.LittleEndian.PutUint32(header[len(header)-4:], crc32.ChecksumIEEE(header[:len(header)-4]))

	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got, err := decompress(bytes.NewReader(file), ".xz", 1<<20)
	runtime.ReadMemStats(&after)
	if err != nil || string(got) != "content" {
		t.Fatalf("decompress = %q, %v", got, err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 8<<20 {
		t.Errorf("%d MiB allocated", n>>20)
	}
}

func TestUnpackXZErrors(t *testing.T) {
	good := packXZ(t, []byte("content"))
	change := func(i int) []byte { b := bytes.Clone(good); b[i] ^= 0x40; return b }
	for _, tt := range []struct {
		name string
		in   []byte
	}{
		{"empty", nil},
		{"magic", change(0)},
		{"stream flags", change(7)},
		{"block header", change(13)},
		{"block header checksum", change(12 + (int(good[12])+1)*4 - 1)},
		{"data", change(12 + (int(good[12])+1)*4 + 4)},
		{"no block", append(bytes.Clone(good[:12]), make([]byte, 64)...)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := unpackXZ(bytes.NewReader(tt.in), 1<<20); err == nil {
				t.Errorf("no error, %q", got)
			}
		})
	}
	for n := range len(good) - 24 { // footer and index are not read
		if _, err := unpackXZ(bytes.NewReader(good[:n]), 1<<20); err == nil {
			t.Errorf("cut to %d bytes: no error", n)
		}
	}
}

// Two blocks are not what a module has, and must not read as the first alone.
func TestUnpackXZRefusesSecondBlock(t *testing.T) {
	two := pack(t, make([]byte, 3000), func(w io.Writer) (io.WriteCloser, error) {
		return xz.WriterConfig{BlockSize: 2000}.NewWriter(w)
	})
	if _, err := unpackXZ(bytes.NewReader(two), 1<<20); !errors.Is(err, errXZ) {
		t.Errorf("error %v, want %v", err, errXZ)
	}
}

// The tool that the kernel's build calls, where there is one.
func TestUnpackXZOfTool(t *testing.T) {
	tool, err := exec.LookPath("xz")
	if err != nil {
		t.Skip("no xz command")
	}
	content := []byte(strings.Repeat("a module ", 10000))
	for _, args := range [][]string{{"--check=crc32", "--lzma2=dict=1MiB"}, {"--check=crc64"}, {"--check=none"}} {
		cmd := exec.Command(tool, append(args, "-c")...)
		cmd.Stdin = bytes.NewReader(content)
		packed, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		got, err := unpackXZ(bytes.NewReader(packed), 1<<20)
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("xz %v: %d bytes, %v", args, len(got), err)
		}
	}
}

// FuzzUnpackXZ unpacks anything, within the limit.
func FuzzUnpackXZ(f *testing.F) {
	var b bytes.Buffer
	w, err := xz.NewWriter(&b)
	if err != nil {
		f.Fatal(err)
	}
	io.WriteString(w, strings.Repeat("content ", 100))
	w.Close()
	f.Add(b.Bytes())
	f.Add(b.Bytes()[:20])
	f.Fuzz(func(t *testing.T, in []byte) {
		const limit = 1 << 16
		if out, err := decompress(bytes.NewReader(in), ".xz", limit); err == nil && len(out) > limit {
			t.Fatalf("%d bytes", len(out))
		}
	})
}
