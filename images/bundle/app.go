package bundle

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/u-root/u-root/pkg/cpio"

	"github.com/nitrolab/nitrolab/images/rootfs"
)

// An App is what an enclave runs: a [Binary], a [Directory], an [Archive] or
// [Records].
type App interface {
	load(ctx context.Context, b *builder) (*application, error)
}

// An application is a loaded App.
type application struct {
	tree     *rootfs.Tree
	cmd, env []string
	// For the metadata; empty for what is not known.
	name, version string
	dockerInfo    json.RawMessage
}

// A Binary is a statically linked program, the only file of its root
// filesystem: /app.
type Binary struct {
	// Path is the program on this machine.
	Path string
	// Args are its arguments, without the program's own name.
	Args []string
	// Env has entries of the form "NAME=value".
	Env []string
}

// binaryPath is where a Binary is inside. It does not depend on the file's name
// here, so that copying a program does not change PCR2.
const binaryPath = "/app"

func (a Binary) load(_ context.Context, b *builder) (*application, error) {
	r, err := b.open(a.Path)
	if err != nil {
		return nil, fmt.Errorf("bundle: program: %w", err)
	}
	if err := checkStatic(r, b.spec.Arch); err != nil {
		return nil, fmt.Errorf("bundle: program %s: %w", a.Path, err)
	}
	tree := rootfs.New(b.spec.Limits)
	err = tree.Add(cpio.Record{ReaderAt: r, Info: cpio.Info{Name: binaryPath, Mode: cpio.S_IFREG | 0o755, FileSize: uint64(r.Size())}})
	if err != nil {
		return nil, fmt.Errorf("bundle: program %s: %w", a.Path, err)
	}
	return &application{tree: tree, cmd: append([]string{binaryPath}, a.Args...), env: a.Env}, nil
}

// A Directory is a root filesystem on this machine. It must not change during
// the build. See [rootfs.Directory.AddTo] for what is kept.
type Directory struct {
	Path string
	// Cmd is the command to run inside. A program without a slash is looked
	// for in /sbin, /usr/sbin, /bin and /usr/bin, as AWS's init does.
	Cmd []string
	Env []string
}

func (a Directory) load(_ context.Context, b *builder) (*application, error) {
	if len(a.Cmd) == 0 {
		return nil, errors.New("bundle: directory: no command given")
	}
	d, err := rootfs.OpenDirectory(a.Path)
	if err != nil {
		return nil, fmt.Errorf("bundle: directory: %w", err)
	}
	b.closers = append(b.closers, d)
	tree := rootfs.New(b.spec.Limits)
	if err := d.AddTo(tree); err != nil {
		return nil, fmt.Errorf("bundle: directory: %w", err)
	}
	return &application{tree: tree, cmd: a.Cmd, env: a.Env}, nil
}

// Records are a root filesystem of single files, such as programs in memory.
type Records struct {
	// Files are named from the root. Owners and times are not kept.
	Files []cpio.Record
	// Cmd is the command to run inside, see [Directory].
	Cmd []string
	Env []string
}

func (a Records) load(_ context.Context, b *builder) (*application, error) {
	if len(a.Cmd) == 0 {
		return nil, errors.New("bundle: records: no command given")
	}
	tree := rootfs.New(b.spec.Limits)
	if err := tree.AddRecords(a.Files); err != nil {
		return nil, fmt.Errorf("bundle: records: %w", err)
	}
	return &application{tree: tree, cmd: a.Cmd, env: a.Env}, nil
}
