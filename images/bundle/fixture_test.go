package bundle_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/u-root/u-root/pkg/cpio"

	"github.com/nitrolab/nitrolab/images/bundle"
	"github.com/nitrolab/nitrolab/images/eif"
)

// elfFile makes the head of a 64-bit little-endian ELF file, which is all that
// a check can see: machine 62 is x86_64, type 2 a program.
func elfFile(machine, typ uint16, entry uint64, interpreter string) string {
	var b bytes.Buffer
	put := func(v any) { binary.Write(&b, binary.LittleEndian, v) }
	b.WriteString("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	put(typ)
	put(machine)
	put(uint32(1))
	put(entry)
	put(uint64(64)) // program headers
	put(uint64(0))
	put(uint32(0))
	phnum := uint16(0)
	if interpreter != "" {
		phnum = 1
	}
	for _, v := range []uint16{64, 56, phnum, 64, 0, 0} {
		put(v)
	}
	if interpreter != "" {
		put(uint32(3)) // PT_INTERP
		put(uint32(4))
		for _, v := range []uint64{120, 0, 0, uint64(len(interpreter) + 1), uint64(len(interpreter) + 1), 1} {
			put(v)
		}
		b.WriteString(interpreter + "\x00")
	}
	return b.String()
}

const (
	x86, arm = 62, 183
	exec     = 2
)

var (
	static  = elfFile(x86, exec, 0x400000, "")
	dynamic = elfFile(x86, exec, 0x400000, "/lib64/ld-linux-x86-64.so.2")
)

// bzImage makes the head of a bzImage with a version string.
func bzImage(version string) string {
	b := make([]byte, 0x600)
	b[0x1fe], b[0x1ff] = 0x55, 0xaa
	copy(b[0x202:], "HdrS")
	b[0x211], b[0x236] = 1, 1
	binary.LittleEndian.PutUint16(b[0x20e:], 0x300)
	copy(b[0x500:], version)
	return string(b)
}

func write(t testing.TB, dir, name, content string, mode os.FileMode) string {
	t.Helper()
	at := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(at, mode); err != nil {
		t.Fatal(err)
	}
	return at
}

func bootstrap() bundle.Bootstrap {
	return bundle.Bootstrap{Records: []cpio.Record{
		cpio.StaticFile("init", "the init", 0o755),
		cpio.StaticFile("modules/nsm.ko", "module", 0o644),
	}}
}

// newSpec is a spec with everything but the application.
func newSpec(t testing.TB, dir string, app bundle.App) bundle.Spec {
	t.Helper()
	return bundle.Spec{
		Kernel:    write(t, dir, "bzImage", bzImage("6.12.1-test (me@here) #1 SMP"), 0o644),
		Cmdline:   "console=ttyS0",
		Bootstrap: bootstrap(),
		App:       app,
		Tool:      "nitrolab", ToolVersion: "0.1",
		TempDir: dir,
	}
}

// build builds and opens an image.
func build(t testing.TB, spec bundle.Spec) (*bundle.Result, *eif.File) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "app.eif")
	r, err := bundle.Build(context.Background(), name, spec)
	if err != nil {
		t.Fatal(err)
	}
	im, err := eif.OpenFile(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { im.Close() })
	m, err := im.Verify()
	if err != nil {
		t.Fatal(err)
	}
	if m != r.Measurements {
		t.Errorf("measurements of the build and of the file differ")
	}
	return r, im
}

// files reads a ramdisk with u-root: name to content, and the order.
func files(t testing.TB, r io.ReaderAt) (map[string]string, string) {
	t.Helper()
	recs, err := cpio.ReadAllRecords(cpio.Newc.Reader(r))
	if err != nil {
		t.Fatal(err)
	}
	content := make(map[string]string)
	var names []string
	for _, rec := range recs {
		b := make([]byte, rec.FileSize)
		if _, err := rec.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		content[rec.Name] = string(b)
		names = append(names, rec.Name)
	}
	return content, strings.Join(names, " ")
}

func fileMode(m int) os.FileMode { return os.FileMode(m) }
