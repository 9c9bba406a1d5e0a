package bundle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/nitrolab/nitrolab/images/rootfs"
)

// rootfsDirs are the directories that nitro-cli puts into every root
// filesystem and AWS's init mounts on.
var rootfsDirs = []string{"dev", "proc", "run", "sys", "tmp", "var"}

// bootstrap makes the first ramdisk.
func (b *builder) bootstrap(ctx context.Context) (*io.SectionReader, error) {
	given := b.spec.Bootstrap
	switch {
	case given.Ramdisk != nil && given.Records != nil:
		return nil, errors.New("bundle: bootstrap: both records and a ramdisk are given, one is needed")
	case given.Ramdisk != nil:
		return b.alignedRamdisk(given.Ramdisk)
	case len(given.Records) == 0:
		return nil, errors.New("bundle: bootstrap: neither records nor a ramdisk are given")
	}
	tree := rootfs.New(b.spec.Limits)
	if err := rootfs.AddRecords(tree, given.Records); err != nil {
		return nil, fmt.Errorf("bundle: bootstrap: %w", err)
	}
	if err := tree.Mkdir("dev"); err != nil {
		return nil, fmt.Errorf("bundle: bootstrap: %w", err)
	}
	// The kernel runs /init and nothing else from an initramfs.
	init, err := tree.Lookup("init")
	if err != nil || !init.IsRegular() || init.Mode&0o111 == 0 {
		return nil, errors.New("bundle: bootstrap: there is no executable /init, so the kernel would run nothing")
	}
	return b.ramdisk(func(a *rootfs.Archive) error { return a.AddTree(ctx, "", tree) })
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

// customer makes the second ramdisk.
func (b *builder) customer(ctx context.Context, app *application) (*io.SectionReader, error) {
	cmd, err := lines("argument", app.cmd)
	if err != nil {
		return nil, err
	}
	env, err := lines("environment variable", app.env)
	if err != nil {
		return nil, err
	}
	for _, d := range rootfsDirs {
		if err := app.tree.Mkdir(d); err != nil {
			return nil, fmt.Errorf("bundle: %w", err)
		}
	}
	files := rootfs.New(rootfs.Limits{})
	for name, content := range map[string][]byte{"cmd": cmd, "env": env} {
		err := files.Add(rootfs.Entry{Path: name, Mode: unix.S_IFREG | 0o644, Size: int64(len(content)), Content: rootfs.Bytes(content)})
		if err != nil {
			return nil, fmt.Errorf("bundle: %w", err)
		}
	}
	return b.ramdisk(func(a *rootfs.Archive) error {
		return errors.Join(a.AddTree(ctx, "", files), a.AddTree(ctx, "rootfs", app.tree))
	})
}

// lines is the format of /cmd and /env: one item per line, each with a newline
// (nitro-cli enclave_build/src/docker.rs; init.c reads them with getline). An
// item with a newline of its own would become two.
func lines(what string, items []string) ([]byte, error) {
	var out []byte
	for _, s := range items {
		if strings.ContainsAny(s, "\n\x00") {
			return nil, fmt.Errorf("bundle: %s %q has a newline or a NUL, which the image cannot hold", what, s)
		}
		out = append(append(out, s...), '\n')
	}
	return out, nil
}

// ramdisk writes an archive to a temporary file.
func (b *builder) ramdisk(fill func(*rootfs.Archive) error) (*io.SectionReader, error) {
	f, err := os.CreateTemp(b.spec.TempDir, "nitrolab-ramdisk-")
	if err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	b.closers = append(b.closers, f)
	if err := os.Remove(f.Name()); err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	a := rootfs.NewArchive(f)
	if err := fill(a); err != nil {
		return nil, err
	}
	if err := a.Close(); err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	return io.NewSectionReader(f, 0, fi.Size()), nil
}
