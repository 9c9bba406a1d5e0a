// Package instance makes what a parent instance boots from: an initramfs that is
// its whole root file system, with PID 1 and the agent (guest/instance), busybox,
// the guest programs, the drivers of a distribution's kernel, and the files that
// software on an EC2 instance expects.
//
// The archive is the same to the byte whenever its files are, and is kept in a
// cache by its SHA-256.
package instance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/u-root/u-root/pkg/cpio"

	"github.com/nitrolab/nitrolab/images/guestprog"
	"github.com/nitrolab/nitrolab/images/initramfs"
)

// KernelArgs is the kernel command line that instances start with: what Q35 needs
// and what saves time under TCG (a quarter of the boot). The caller adds to it.
//
// mitigations=off and nokaslr are no weakness here: whoever owns the instance owns
// its kernel, and what must be kept from it is on the other side of a virtual
// machine. random.trust_cpu does no harm because Resume brings a seed from the
// Host before anything secret is made.
const KernelArgs = "console=ttyS0 intel_iommu=on iommu.passthrough=0 panic=-1 reboot=k " +
	"mitigations=off nokaslr tsc=reliable no_timer_check i8042.nokbd i8042.noaux i8042.nomux 8250.nr_uarts=1 " +
	"random.trust_cpu=on cryptomgr.notests audit=0 selinux=0 apparmor=0 init_on_alloc=0 nowatchdog"

// A Kernel is what an instance boots.
type Kernel struct {
	Image   string // file of a bzImage or an ELF with a PVH entry point
	Modules string // folder lib/modules/RELEASE; "" for a kernel with all of [Modules] built in
	Release string // as uname -r gives it; "" if it is not known
}

// A File is one file that a caller adds. Of Data, Path and Link at most one is
// given; none is an empty file.
type File struct {
	Mode fs.FileMode // permissions; fs.ModeDir makes a folder
	Data []byte
	Path string // a regular file of this machine, which is read while the image is made
	Link string // target of a symbolic link; Mode does not count
}

// A Spec says what to put together.
type Spec struct {
	Kernel  Kernel
	Busybox string // static busybox for x86-64
	// CacheDir is the folder that images are kept in, which is made if it is not
	// there. Nothing else may be in it.
	CacheDir string
	// Files are further files by their path in the guest, such as
	// "usr/share/nitro_enclaves/examples/hello.eif". A leading slash is optional.
	// They replace what the image has at the path, but for folders.
	Files map[string]File
}

// An Image is ready to boot. The files belong to the cache and are not changed;
// they stay for as long as the image is one of the last [Kept] that were used.
type Image struct {
	Kernel     string   // Spec.Kernel.Image
	KernelArgs string   // [KernelArgs]
	Initramfs  string   // path, uncompressed cpio archive
	Size       int64    // of the archive, in bytes
	SHA256     string   // of the archive, 64 hexadecimal digits; the kernel is not in it
	Modules    []string // names of the modules in the archive, in the order of loading
}

// Programs are the guest programs of an instance beside PID 1, which are in
// /usr/bin there.
func Programs() []string {
	return []string{guestprog.NSM, guestprog.Vsock, guestprog.NitroCLI, guestprog.Allocator, guestprog.VsockProxy}
}

// Build makes the image, or finds it in the cache.
func Build(ctx context.Context, spec Spec) (*Image, error) {
	b := builder{spec: spec, programs: guestprog.Get}
	return b.build(ctx)
}

type builder struct {
	spec     Spec
	programs func(ctx context.Context, names ...string) (map[string][]byte, error)
	closers  []io.Closer // files of the caller's
	modules  []string    // names of the modules, once there is an archive
}

func (b *builder) build(ctx context.Context) (_ *Image, err error) {
	defer func() { err = errors.Join(err, b.close()) }()
	if b.spec.CacheDir == "" {
		return nil, errors.New("instance image: no folder for the cache given")
	}
	if info, err := os.Stat(b.spec.Kernel.Image); err != nil {
		return nil, fmt.Errorf("instance image: kernel: %w", err)
	} else if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("instance image: kernel: %s is not a regular file", b.spec.Kernel.Image)
	}
	archive, err := b.archive(ctx)
	if err != nil {
		return nil, fmt.Errorf("instance image: %w", err)
	}
	path, sum, err := cache{b.spec.CacheDir}.keep(ctx, archive.Section(), time.Now())
	if err != nil {
		return nil, fmt.Errorf("instance image: cache: %w", err)
	}
	return &Image{
		Kernel: b.spec.Kernel.Image, KernelArgs: KernelArgs,
		Initramfs: path, Size: archive.Size(), SHA256: sum, Modules: b.modules,
	}, nil
}

// close closes the caller's files.
func (b *builder) close() error {
	var errs []error
	for _, c := range b.closers {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// archive puts all files of the image together.
func (b *builder) archive(ctx context.Context) (*initramfs.Archive, error) {
	programs, err := b.programs(ctx, append([]string{guestprog.Instance}, Programs()...)...)
	if err != nil {
		return nil, err
	}
	busybox, err := os.ReadFile(b.spec.Busybox)
	if err != nil {
		return nil, fmt.Errorf("busybox: %w", err)
	}
	modules, err := b.spec.Kernel.resolve()
	if err != nil {
		return nil, err
	}
	own, err := b.ownFiles()
	if err != nil {
		return nil, err
	}
	set := fileSet{}
	set.add(skeleton()...)
	set.add(program("init", programs[guestprog.Instance]), program("usr/bin/busybox", busybox))
	for _, name := range Programs() {
		set.add(program("usr/bin/"+name, programs[name]))
	}
	records, err := moduleFiles(modules)
	if err != nil {
		return nil, err
	}
	set.add(records...)
	for _, m := range modules {
		b.modules = append(b.modules, m.Name)
	}
	if err := set.replace(own); err != nil {
		return nil, err
	}
	return initramfs.New(set.records())
}

func program(name string, content []byte) cpio.Record {
	return cpio.StaticRecord(content, cpio.Info{Name: name, Mode: cpio.S_IFREG | 0o755})
}
