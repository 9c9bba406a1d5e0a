package toolchain

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/nitrolab/nitrolab/images/toolchain/debian"
)

// A Toolchain is what guests are started with. Parts that were not asked for
// are nil or empty. All paths are absolute, and stay good for as long as nobody
// empties the cache: an [Update] leaves what was in use before in place until the
// next one.
type Toolchain struct {
	QEMU    *QEMU
	Kernel  *Kernel
	Busybox string // path of a static busybox for x86-64

	busyboxSource Source
	contents      map[Part]*Content
}

// Find gives the tool chain, and makes it if it has to. The first time that
// takes the network, 72 MB and some ten seconds; then milliseconds.
//
// Errors are an [UnavailableError] where something could not be had, a
// [MissingDevicesError] where the QEMU named by the caller will not do, and the
// context's.
func Find(ctx context.Context, opts Options) (*Toolchain, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	s := newStore(opts)
	tc, need, err := s.outside(ctx)
	if err != nil {
		return nil, err
	}
	if need == 0 {
		return tc, nil
	}
	m, err := s.ensure(ctx, need)
	if err != nil {
		return nil, err
	}
	return tc, s.inside(tc, m, need)
}

// outside takes what the caller named and what the machine has, and says what
// is left for the cache.
func (s *store) outside(ctx context.Context) (tc *Toolchain, need Part, err error) {
	tc = &Toolchain{contents: map[Part]*Content{}}
	need = s.opts.Parts
	if need&PartQEMU != 0 {
		if s.opts.QEMU != "" {
			tc.QEMU, err = s.explicitQEMU(ctx)
		} else {
			tc.QEMU, err = s.systemQEMU(ctx)
		}
		if err != nil {
			return nil, 0, err
		}
		if tc.QEMU != nil {
			need &^= PartQEMU
		}
	}
	if need&PartKernel != 0 && s.opts.Kernel != "" {
		if tc.Kernel, err = s.explicitKernel(ctx); err != nil {
			return nil, 0, err
		}
		need &^= PartKernel
	}
	if need&PartBusybox != 0 && s.opts.Busybox != "" {
		if tc.Busybox, err = filepath.Abs(s.opts.Busybox); err == nil {
			err = checkProgram(tc.Busybox)
		}
		if err != nil {
			return nil, 0, fmt.Errorf("use busybox: %w", err)
		}
		tc.busyboxSource = Explicit
		need &^= PartBusybox
	}
	if need&PartQEMU != 0 && runtime.GOARCH != "amd64" {
		return nil, 0, &UnavailableError{
			Parts:  PartQEMU,
			Reason: "Debian packages are used on amd64 only, and this machine is " + runtime.GOARCH,
			Hint:   setHint(PartQEMU),
		}
	}
	return tc, need, nil
}

// inside takes parts from the cache, where they are.
func (s *store) inside(tc *Toolchain, m *manifest, parts Part) (err error) {
	for _, comp := range components {
		if parts&comp.part == 0 {
			continue
		}
		c := m.Parts[comp.part.String()]
		root := s.tree(c).root()
		switch comp.part {
		case PartQEMU:
			if tc.QEMU, err = debianQEMU(root); err == nil {
				tc.QEMU.Version = c.Version
			}
		case PartKernel:
			tc.Kernel, err = debianKernel(root)
		case PartBusybox:
			tc.Busybox, err = debianBusybox(root)
			tc.busyboxSource = Debian
		}
		if err != nil {
			return err
		}
		tc.contents[comp.part] = c
	}
	return nil
}

// Verify is [Find] with every file in the cache read and compared, and repaired
// where it is damaged. It is for when something does not start for no reason
// that one can see. The sentences that it gives say what was damaged and has been
// mended. It needs the network only if packages are damaged too. It takes some
// 0.3 s.
func Verify(ctx context.Context, opts Options) (*Toolchain, []string, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, nil, err
	}
	s := newStore(opts)
	tc, need, err := s.outside(ctx)
	if err != nil || need == 0 {
		return tc, nil, err
	}
	if err := s.lock(ctx); err != nil {
		return nil, nil, err
	}
	defer s.unlock()
	m, c, err := s.look(ctx, need, true)
	if err != nil {
		return nil, nil, err
	}
	mended := c.damage
	for _, comp := range components {
		content, ok := m.Parts[comp.part.String()]
		if !ok || need&comp.part == 0 {
			continue
		}
		for _, p := range content.Packages {
			err := debian.Check(ctx, s.path(debsDir), p)
			if !errors.Is(err, debian.ErrDamaged) {
				continue
			}
			// Not fetched now: there may be no network, and nothing needs it yet.
			mended = append(mended, fmt.Sprintf("%v; removed", err))
			if err := os.Remove(s.path(debsDir, p.Filename)); err != nil {
				return nil, nil, err
			}
		}
	}
	if err := s.mend(ctx, m, c); err != nil {
		return nil, mended, err
	}
	return tc, mended, s.inside(tc, m, need)
}

// A Change is a package that an [Update] replaced. Old is empty for one that
// is new, New for one that is gone.
type Change struct{ Package, Old, New string }

// Update fetches the newest packages of what comes from the cache, and is the
// only thing that changes a version there. If it fails, what was there is still
// there and in use.
func Update(ctx context.Context, opts Options) (*Toolchain, []Change, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, nil, err
	}
	s := newStore(opts)
	tc, need, err := s.outside(ctx)
	if err != nil || need == 0 {
		return tc, nil, err
	}
	if err := s.lock(ctx); err != nil {
		return nil, nil, err
	}
	defer s.unlock()
	m, _ := readManifest(s.dir)
	before := m.clone()
	if err := s.fetch(ctx, m, need); err != nil {
		return nil, nil, err
	}
	return tc, changes(before, m, need), s.inside(tc, m, need)
}

// changes lists the packages that differ, in the order in which they are needed.
func changes(before, after *manifest, parts Part) []Change {
	var out []Change
	for _, comp := range components {
		if parts&comp.part == 0 {
			continue
		}
		old := map[string]string{}
		if c, ok := before.Parts[comp.part.String()]; ok {
			for _, p := range c.Packages {
				old[p.Name] = p.Version
			}
		}
		for _, p := range after.Parts[comp.part.String()].Packages {
			if old[p.Name] != p.Version {
				out = append(out, Change{p.Name, old[p.Name], p.Version})
			}
			delete(old, p.Name)
		}
		if c, ok := before.Parts[comp.part.String()]; ok {
			for _, p := range c.Packages {
				if v, gone := old[p.Name]; gone {
					out = append(out, Change{p.Name, v, ""})
				}
			}
		}
	}
	return out
}
