package kmod

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/images/kmod/kmodtest"
	"github.com/nitrolab/nitrolab/images/toolchain/kernelimage/kernelimagetest"
)

func pack(t *testing.T, compression string) func([]byte) []byte {
	return func(b []byte) []byte { return kernelimagetest.Pack(t, compression, b) }
}

// folder has the modules of an enclave as Debian names them, each compressed in
// another way.
func folder(t *testing.T) fstest.MapFS {
	return fstest.MapFS{
		"modules.builtin":                                       {Data: []byte("kernel/drivers/virtio/virtio.ko\nkernel/drivers/virtio/virtio_ring.ko\nkernel/fs/my-fs.ko\n")},
		"modules.order":                                         {Data: []byte("kernel/a.ko\n")},
		"kernel/drivers/virtio/virtio_mmio.ko":                  {Data: kmodtest.Module("name=virtio_mmio", "depends=virtio,virtio_ring")},
		"kernel/net/vsock/vsock.ko.xz":                          {Data: pack(t, "xz")(kmodtest.Module("name=vsock", "depends="))},
		"kernel/net/vsock/vmw-vsock-virtio-transport-common.ko": {Data: kmodtest.Module("depends=vsock")},
		"kernel/net/vsock/vmw_vsock_virtio_transport.ko.zst":    {Data: pack(t, "zstd")(kmodtest.Module("depends=vmw_vsock_virtio_transport_common,vsock"))},
		"kernel/drivers/misc/nsm.ko.gz":                         {Data: pack(t, "gzip")(kmodtest.Module("depends="))},
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
		{".ko", pack(t, "none")},
		{".xz", pack(t, "xz")},
		{".zst", pack(t, "zstd")},
		{".gz", pack(t, "gzip")},
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
