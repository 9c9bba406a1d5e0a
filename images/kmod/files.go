package kmod

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/nitrolab/nitrolab/images/internal/xz"
)

// readModule returns the module at p, uncompressed.
func readModule(fsys fs.FS, p string) ([]byte, error) {
	f, err := fsys.Open(p)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	image, err := decompress(f, path.Ext(p), maxModule)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", p, err)
	}
	return image, nil
}

// decompress reads all of r, which is compressed as the file extension ext
// says, and refuses a result of more than limit bytes.
func decompress(r io.Reader, ext string, limit int64) ([]byte, error) {
	switch ext {
	case ".ko":
	case ".xz":
		packed, err := readBounded(r, limit)
		if err != nil {
			return nil, err
		}
		return xz.Unpack(packed, limit)
	case ".zst":
		// The window is bounded by itself: it may be larger than a small file.
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxModule))
		if err != nil {
			return nil, err
		}
		defer z.Close()
		r = z
	case ".gz":
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, err
		}
		r = z
	default:
		return nil, fmt.Errorf("unknown compression %q", ext)
	}
	return readBounded(r, limit)
}

// readBounded reads r to its end, which must come within limit bytes.
func readBounded(r io.Reader, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("more than %d bytes", limit)
	}
	return b, nil
}

// readBuiltin adds the names in modules.builtin, which the kernel's build
// writes: one path a line, as kernel/drivers/virtio/virtio.ko. The file may be
// missing; then nothing is known to be built in.
func readBuiltin(fsys fs.FS, builtin map[string]bool) error {
	f, err := fsys.Open("modules.builtin")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read list of built-in modules: %w", err)
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	for n := 0; s.Scan(); n++ {
		if n > maxIndexed {
			return fmt.Errorf("read list of built-in modules: more than %d lines", maxIndexed)
		}
		if name, ok := moduleName(strings.TrimSpace(s.Text())); ok {
			builtin[name] = true
		}
	}
	if err := s.Err(); err != nil {
		return fmt.Errorf("read list of built-in modules: %w", err)
	}
	return nil
}
