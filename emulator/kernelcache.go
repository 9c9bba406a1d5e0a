package emulator

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/nitrolab/nitrolab/images/toolchain/kernelimage"
)

// A kernelCache remembers what was found out about kernels, by their content:
// looking into a bzImage means unpacking it, half a second for Debian's, and
// enclaves boot the same one again and again. The zero value remembers nothing.
//
// A kernel has a folder named by its SHA-256 with what Probe said and, if QEMU
// can start it directly, the uncompressed kernel. Folders appear whole or not at
// all, and the ones that were not used for longest go when there are many.
type kernelCache struct{ dir string }

// maxKernels is how many kernels are kept, of 50 MB each.
const maxKernels = 16

// An unpackedKernel is one entry.
type unpackedKernel struct {
	Info kernelimage.Info
	// Opaque says that the kernel is compressed in a way that cannot be looked
	// into; Info has what its header says.
	Opaque bool
	// Size and SHA256 of the uncompressed kernel, zero if it is not kept. Both
	// are checked at each use: a kernel that rotted would be a guest that does
	// not boot, and nobody would look here.
	Size   int64
	SHA256 string

	path string
}

const (
	kernelInfoName = "info.json"
	kernelFileName = "vmlinux"
)

// inspect probes the kernel, or remembers what came of it.
func (c kernelCache) inspect(kernel io.ReaderAt, size int64) (unpackedKernel, error) {
	hash := sha256.New()
	if _, err := io.Copy(hash, io.NewSectionReader(kernel, 0, size)); err != nil {
		return unpackedKernel{}, fmt.Errorf("read kernel: %w", err)
	}
	dir := filepath.Join(c.dir, hex.EncodeToString(hash.Sum(nil)))
	if c.dir != "" {
		if k, err := readKernel(dir); err == nil {
			now := time.Now()
			_ = os.Chtimes(dir, now, now) // for prune; a cache that cannot be written is still one
			return k, nil
		}
	}
	info, err := kernelimage.Probe(kernel)
	k := unpackedKernel{Info: info, Opaque: errors.Is(err, kernelimage.ErrCompression)}
	if err != nil && !k.Opaque {
		return unpackedKernel{}, err
	}
	if c.dir == "" {
		return k, nil
	}
	if err := c.keep(dir, &k, kernel); err != nil {
		return unpackedKernel{}, fmt.Errorf("keep kernel in cache: %w", err)
	}
	return k, nil
}

// readKernel reads an entry and makes sure that it is what was written.
func readKernel(dir string) (unpackedKernel, error) {
	var k unpackedKernel
	text, err := os.ReadFile(filepath.Join(dir, kernelInfoName))
	if err != nil {
		return k, err
	}
	if err := json.Unmarshal(text, &k); err != nil {
		return k, err
	}
	if k.Size == 0 {
		return k, nil
	}
	k.path = filepath.Join(dir, kernelFileName)
	f, err := os.Open(k.path)
	if err != nil {
		return k, err
	}
	defer f.Close()
	hash := sha256.New()
	n, err := io.Copy(hash, f)
	if err != nil {
		return k, err
	}
	if n != k.Size || hex.EncodeToString(hash.Sum(nil)) != k.SHA256 {
		return k, errors.New("uncompressed kernel has changed")
	}
	return k, nil
}

// keep writes the entry dir and completes k.
func (c kernelCache) keep(dir string, k *unpackedKernel, kernel io.ReaderAt) error {
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(c.dir, ".kernel-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if k.Info.PVH && k.Info.Format == kernelimage.BzImage {
		f, err := os.Create(filepath.Join(tmp, kernelFileName))
		if err != nil {
			return err
		}
		hash := sha256.New()
		k.Size, err = kernelimage.ExtractVmlinux(io.MultiWriter(f, hash), kernel)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
		k.SHA256 = hex.EncodeToString(hash.Sum(nil))
		k.path = filepath.Join(dir, kernelFileName)
	}
	text, err := json.Marshal(k)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(tmp, kernelInfoName), text, 0o600); err != nil {
		return err
	}
	if err := place(tmp, dir); err != nil {
		return err
	}
	prune(c.dir)
	return nil
}

// place makes tmp the entry dir. An entry that is there and good stays: another
// process was faster with the same, and its QEMU may be about to open it.
func place(tmp, dir string) error {
	err := os.Rename(tmp, dir)
	if err == nil || !errors.Is(err, fs.ErrExist) && !errors.Is(err, syscall.ENOTEMPTY) {
		return err
	}
	if _, err := readKernel(dir); err == nil {
		return nil
	}
	broken := tmp + ".broken"
	if err := os.Rename(dir, broken); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	defer os.RemoveAll(broken)
	err = os.Rename(tmp, dir)
	if errors.Is(err, fs.ErrExist) || errors.Is(err, syscall.ENOTEMPTY) {
		_, err = readKernel(dir) // somebody else repaired it
	}
	return err
}

// prune removes the entries that were not used for longest. What cannot be
// removed is left for the next time.
func prune(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	used := map[string]time.Time{}
	var kernels []string
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !e.IsDir() || len(e.Name()) != hex.EncodedLen(sha256.Size) {
			continue
		}
		kernels = append(kernels, e.Name())
		used[e.Name()] = info.ModTime()
	}
	slices.SortFunc(kernels, func(a, b string) int { return used[b].Compare(used[a]) })
	for _, name := range kernels[min(maxKernels, len(kernels)):] {
		_ = os.RemoveAll(filepath.Join(dir, name))
	}
}
