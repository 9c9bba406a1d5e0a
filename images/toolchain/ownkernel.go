package toolchain

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/nitrolab/nitrolab/images/toolchain/kernelimage"
)

// kernelsDir holds what was made from kernels that callers named.
const kernelsDir = "kernels"

// keptKernels is how many of those stay; the least recently made go.
const keptKernels = 4

// A kernelNote is what was found out about such a kernel.
type kernelNote struct {
	Release string `json:"release"`
	Format  string `json:"format"`
}

// Names in the folder of such a kernel.
const (
	noteFile    = "note.json"
	vmlinuxFile = "vmlinux"
	configFile  = "config"
)

// explicitKernel gives the kernel that the caller named. Unpacking it takes a
// second, so that is kept in the cache for as long as the image is unchanged.
func (s *store) explicitKernel(ctx context.Context) (*Kernel, error) {
	fail := func(err error) (*Kernel, error) { return nil, fmt.Errorf("use kernel %s: %w", s.opts.Kernel, err) }
	image, err := filepath.Abs(s.opts.Kernel)
	if err != nil {
		return fail(err)
	}
	info, err := os.Stat(image)
	if err != nil {
		return fail(err)
	}
	if !info.Mode().IsRegular() {
		return fail(errors.New("not a regular file"))
	}
	st, err := stampOf(info)
	if err != nil {
		return fail(err)
	}
	k := &Kernel{Source: Explicit, Image: image}
	if s.opts.KernelModules != "" {
		if k.ModulesDir, err = filepath.Abs(s.opts.KernelModules); err != nil {
			return fail(err)
		}
		if info, err := os.Stat(k.ModulesDir); err != nil || !info.IsDir() {
			return fail(fmt.Errorf("modules folder %s is not there", k.ModulesDir))
		}
	}
	key := sha256.Sum256([]byte(fmt.Sprintf("%s\n%d\n%+v", image, info.Size(), st)))
	t := tree{s.path(kernelsDir, fmt.Sprintf("%x", key[:6]))}
	if !s.useKernelTree(ctx, t, k) {
		if err := s.prepareKernel(ctx, t, k); err != nil {
			return fail(err)
		}
	}
	// A configuration beside the image, as in /boot, is the surest.
	k.useConfig(filepath.Join(filepath.Dir(image), "config-"+k.Release))
	return k, nil
}

// useKernelTree fills k from what is in the cache, if that is whole.
func (s *store) useKernelTree(ctx context.Context, t tree, k *Kernel) bool {
	if damage, _, err := t.check(ctx, false); err != nil || len(damage) > 0 {
		return false
	}
	var n kernelNote
	if err := readJSON(filepath.Join(t.root(), noteFile), &n); err != nil {
		return false
	}
	k.Release = n.Release
	switch v := filepath.Join(t.root(), vmlinuxFile); {
	case exists(v):
		k.Vmlinux = v
	case n.Format == string(kernelimage.ELF):
		k.Vmlinux = k.Image
	}
	k.useConfig(filepath.Join(t.root(), configFile))
	return true
}

// prepareKernel makes the folder of a kernel and fills k from it.
func (s *store) prepareKernel(ctx context.Context, t tree, k *Kernel) (err error) {
	f, err := os.Open(k.Image)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := kernelimage.Probe(f)
	if err != nil && !errors.Is(err, kernelimage.ErrCompression) {
		return err
	}
	switch {
	case info.Format == kernelimage.ARM64:
		return errors.New("it is for arm64")
	case info.Format == kernelimage.ELF && !info.PVH:
		return errors.New("an uncompressed kernel without a PVH entry point cannot be started; give its bzImage")
	}
	if err := s.lock(ctx); err != nil {
		if !isReadOnly(err) {
			return err
		}
		s.opts.Progress.Note(fmt.Sprintf("kernel %s boots unpacking itself, which is slower: %v", k.Image, err))
		k.Release = info.Version
		if info.Format == kernelimage.ELF {
			k.Vmlinux = k.Image
		}
		return nil
	}
	defer s.unlock()
	tmp, err := os.MkdirTemp(s.dir, "tmp-kernel-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(tmp))
		}
	}()
	made := tree{tmp}
	if err := os.Mkdir(made.root(), 0o755); err != nil {
		return err
	}
	if err := writeJSON(filepath.Join(made.root(), noteFile), kernelNote{info.Version, string(info.Format)}); err != nil {
		return err
	}
	if info.Config != nil {
		if err := writeFile(filepath.Join(made.root(), configFile), formatConfig(info.Config)); err != nil {
			return err
		}
	}
	if info.Format == kernelimage.BzImage && info.PVH {
		if err := k.extract(ctx, filepath.Join(made.root(), vmlinuxFile)); err != nil {
			return err
		}
	}
	if err := made.record(ctx); err != nil {
		return err
	}
	if err := os.MkdirAll(s.path(kernelsDir), 0o755); err != nil {
		return err
	}
	if err := replaceDir(tmp, t.dir); err != nil {
		return err
	}
	if err := s.dropKernels(t.dir); err != nil {
		return err
	}
	if !s.useKernelTree(ctx, t, k) {
		return fmt.Errorf("what was just written to %s is not there", t.dir)
	}
	return nil
}

// dropKernels removes all but the last few folders, and never keep.
func (s *store) dropKernels(keep string) error {
	entries, err := os.ReadDir(s.path(kernelsDir))
	if err != nil {
		return err
	}
	type aged struct {
		dir string
		at  int64
	}
	var all []aged
	for _, e := range entries {
		dir := s.path(kernelsDir, e.Name())
		info, err := e.Info()
		if err == nil && dir != keep {
			all = append(all, aged{dir, info.ModTime().UnixNano()})
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i].at > all[j].at })
	var errs []error
	for i, a := range all {
		if i >= keptKernels-1 {
			errs = append(errs, os.RemoveAll(a.dir))
		}
	}
	return errors.Join(errs...)
}

// formatConfig writes a configuration as a file, sorted.
func formatConfig(c kernelimage.Config) []byte {
	lines := make([]string, 0, len(c))
	for name, value := range c {
		lines = append(lines, name+"="+value+"\n")
	}
	sort.Strings(lines)
	return []byte(strings.Join(lines, ""))
}
