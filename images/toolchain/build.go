package toolchain

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/nitrolab/nitrolab/images/toolchain/debian"
)

// build makes the tree of a part from its packages, which are there and
// whole, and puts it in the place of what is there under its name. It fills in
// the version.
func (s *store) build(ctx context.Context, comp component, c *Content) (err error) {
	tmp, err := os.MkdirTemp(s.dir, "tmp-"+comp.part.String()+"-*")
	if err != nil {
		return err
	}
	t := tree{tmp}
	stage := s.opts.Progress.Stage("unpack "+comp.part.String(), int64(len(c.Packages))+1, Count) // and one for the rest
	defer func() {
		stage.End(c.Version, err)
		if err != nil {
			err = errors.Join(err, os.RemoveAll(tmp))
		}
	}()
	if err := os.Chmod(tmp, 0o755); err != nil {
		return err
	}
	if err := s.unpackAll(ctx, comp, c, t.root(), stage); err != nil {
		return err
	}
	if c.Version, err = comp.finish(ctx, t.root()); err != nil {
		return err
	}
	if c.Version == "" { // it does not say
		c.Version = c.Packages[0].Version
	}
	if err := t.record(ctx); err != nil {
		return err
	}
	if err := syncDir(tmp); err != nil {
		return err
	}
	return replaceDir(tmp, s.path(c.Folder))
}

// unpackAll unpacks the packages of a part, some at a time. No two packages of
// a Debian system have a file in common, so their order does not matter.
func (s *store) unpackAll(ctx context.Context, comp component, c *Content, dir string, stage Stage) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work := make(chan debian.Package)
	var done sync.WaitGroup
	var mu sync.Mutex
	var count int64
	for range min(runtime.NumCPU(), 4) {
		done.Go(func() {
			for p := range work {
				if err := debian.Unpack(ctx, s.path(debsDir, p.Filename), root, comp.keep); err != nil {
					cancel(err)
				}
				mu.Lock()
				count++
				stage.Set(count)
				mu.Unlock()
			}
		})
	}
	for _, p := range c.Packages {
		work <- p // workers drain it even after an error, which then ends each at once
	}
	close(work)
	done.Wait()
	return context.Cause(ctx)
}

// finishQEMU asks the unpacked QEMU what it is and has.
func finishQEMU(ctx context.Context, root string) (string, error) {
	q, err := debianQEMU(root)
	if err != nil {
		return "", err
	}
	if err := q.ask(ctx); err != nil {
		return "", err
	}
	if len(q.missing) > 0 {
		return "", &MissingDevicesError{Path: q.Path, Version: q.Version, Missing: q.missing}
	}
	return q.Version, nil
}

// finishKernel unpacks the kernel beside itself.
func finishKernel(ctx context.Context, root string) (string, error) {
	k, err := debianKernel(root)
	if err != nil {
		return "", err
	}
	if err := k.extract(ctx, filepath.Join(root, "boot", "vmlinux-"+k.Release)); err != nil {
		return "", err
	}
	return k.Release, nil
}

// finishBusybox makes sure that there is a program.
func finishBusybox(_ context.Context, root string) (string, error) {
	name, err := debianBusybox(root)
	if err != nil {
		return "", err
	}
	if err := checkProgram(name); err != nil {
		return "", err
	}
	return "", nil
}

// debianBusybox gives the path of busybox in an unpacked tree.
func debianBusybox(root string) (string, error) {
	return oneOf("busybox", root, "bin/busybox", "usr/bin/busybox")
}

// oneOf gives the first of some paths below root that is there. Releases differ
// in what lies in /usr.
func oneOf(what, root string, paths ...string) (string, error) {
	for _, p := range paths {
		name := filepath.Join(root, p)
		if _, err := os.Stat(name); err == nil {
			return name, nil
		}
	}
	return "", fmt.Errorf("find %s in %s: not in its packages", what, root)
}
