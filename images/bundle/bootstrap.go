package bundle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/u-root/u-root/pkg/cpio"

	"github.com/nitrolab/nitrolab/images/eif"
	"github.com/nitrolab/nitrolab/images/guestprog"
	"github.com/nitrolab/nitrolab/images/initramfs"
	"github.com/nitrolab/nitrolab/images/kmod"
	"github.com/nitrolab/nitrolab/images/rootfs"
)

// A Bootstrap is the first ramdisk. The zero value is nitrolab's init
// (guest/cmd/init, for x86_64) with the modules of the kernel; at most one field
// says otherwise.
type Bootstrap struct {
	// Init is another program as PID 1 in the place of nitrolab's. It finds the
	// same two ramdisks.
	Init []byte
	// Records are all files; they must have an executable "init". A directory
	// "dev" and missing parents are added; times and owners become 0.
	Records []cpio.Record
	// Ramdisk is a whole archive, plain or compressed, used as it is. Zeros are
	// added to it up to a multiple of 4 bytes, without which no kernel finds
	// the application behind it.
	Ramdisk *io.SectionReader
}

// Names in the bootstrap ramdisk, nitro-cli's (init.c of
// aws-nitro-enclaves-sdk-bootstrap) but for the last one.
const (
	initName    = "init"
	devName     = "dev"
	consoleName = "dev/console"
	modulesName = "modules" // modules which nitrolab's init loads, in order of their names
)

// bootstrap makes the first ramdisk, for a kernel of the given release.
func (b *builder) bootstrap(ctx context.Context, release string) (*io.SectionReader, error) {
	given := b.spec.Bootstrap
	forms := 0
	for _, is := range []bool{given.Init != nil, given.Records != nil, given.Ramdisk != nil} {
		if is {
			forms++
		}
	}
	if forms > 1 {
		return nil, fmt.Errorf("bundle: bootstrap: given are %d of init, records and ramdisk, allowed is one", forms)
	}
	whole := given.Records != nil || given.Ramdisk != nil
	if whole && b.spec.Kernel.Modules != "" {
		return nil, errors.New("bundle: bootstrap: it is given whole, so that the modules of the kernel have no place in it")
	}
	if given.Ramdisk != nil {
		return b.alignedRamdisk(given.Ramdisk)
	}
	records := given.Records
	if !whole {
		var err error
		if records, err = b.initAndModules(ctx, release); err != nil {
			return nil, err
		}
	}
	tree := rootfs.New(b.spec.Limits)
	if err := errors.Join(tree.AddRecords(records), tree.Mkdir(devName)); err != nil {
		return nil, fmt.Errorf("bundle: bootstrap: %w", err)
	}
	// The kernel runs /init and nothing else from an initramfs.
	if init, err := tree.Lookup(initName); err != nil || !isProgram(init) || init.FileSize == 0 {
		return nil, errors.New("bundle: bootstrap: there is no executable /init, so the kernel would run nothing")
	}
	a, err := initramfs.New(tree.Records(""))
	if err != nil {
		return nil, fmt.Errorf("bundle: bootstrap: %w", err)
	}
	return a.Section(), nil
}

// initAndModules are the files of nitrolab's own bootstrap.
func (b *builder) initAndModules(ctx context.Context, release string) ([]cpio.Record, error) {
	modules, err := b.spec.Kernel.modules(release)
	if err != nil {
		return nil, err
	}
	init := b.spec.Bootstrap.Init
	if init == nil {
		if b.spec.Arch != eif.X86_64 {
			return nil, fmt.Errorf("bundle: bootstrap: nitrolab's init is for x86_64, the enclave is %v; give an init or a bootstrap", b.spec.Arch)
		}
		programs, err := guestprog.Get(ctx, guestprog.Init)
		if err != nil {
			return nil, fmt.Errorf("bundle: bootstrap: %w", err)
		}
		init = programs[guestprog.Init]
	}
	return bootstrapFiles(init, modules), nil
}

// bootstrapFiles lays out init as PID 1 and the modules it loads before anything
// else, in the given order. /dev/console is there because the kernel opens it for
// PID 1 before devtmpfs is mounted; Go's runtime does not start with the three
// standard descriptors closed and nothing to open instead.
func bootstrapFiles(init []byte, modules []kmod.Module) []cpio.Record {
	files := []cpio.Record{
		cpio.StaticRecord(init, cpio.Info{Name: initName, Mode: cpio.S_IFREG | 0o755}),
		cpio.Directory(devName, 0o755),
		cpio.CharDev(consoleName, 0o600, 5, 1),
		cpio.Directory(modulesName, 0o755),
	}
	digits := max(2, len(strconv.Itoa(len(modules)-1)))
	for i, m := range modules {
		name := fmt.Sprintf("%s/%0*d-%s.ko", modulesName, digits, i, m.Name)
		files = append(files, cpio.StaticRecord(m.Image, cpio.Info{Name: name, Mode: cpio.S_IFREG | 0o644}))
	}
	return files
}

// magics are what a ramdisk may begin with: a newc cpio archive, or what a
// kernel can decompress (lib/decompress.c).
var magics = []string{
	"070701", "\x1f\x8b", "BZh", "\xfd7zXZ\x00", "\x5d\x00\x00", "\x89LZO", "\x02\x21\x4c\x18", "\x28\xb5\x2f\xfd",
}

// alignedRamdisk checks a given ramdisk and fills it up.
func (b *builder) alignedRamdisk(r *io.SectionReader) (*io.SectionReader, error) {
	head := make([]byte, 6)
	n, err := r.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("bundle: bootstrap: %w", err)
	}
	known := false
	for _, m := range magics {
		known = known || strings.HasPrefix(string(head[:n]), m)
	}
	if !known {
		return nil, fmt.Errorf("bundle: bootstrap: the ramdisk begins with % x, which is no cpio archive, plain or compressed", head[:n])
	}
	over := r.Size() % 4
	if over == 0 {
		return r, nil
	}
	b.warn("the bootstrap ramdisk has %d bytes; %d zeros were added, as the kernel finds the application at a multiple of 4 only", r.Size(), 4-over)
	padded := &paddedReader{r}
	return io.NewSectionReader(padded, 0, r.Size()+4-over), nil
}

// A paddedReader has zeros without end behind its content.
type paddedReader struct{ r *io.SectionReader }

// ReadAt implements io.ReaderAt.
func (p *paddedReader) ReadAt(b []byte, off int64) (int, error) {
	n := 0
	if off < p.r.Size() {
		var err error
		n, err = p.r.ReadAt(b[:min(int64(len(b)), p.r.Size()-off)], off)
		if err != nil && !errors.Is(err, io.EOF) || off+int64(n) < min(p.r.Size(), off+int64(len(b))) {
			return n, errors.Join(err, io.ErrUnexpectedEOF)
		}
	}
	clear(b[n:])
	return len(b), nil
}
