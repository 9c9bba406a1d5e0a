package instance

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Kept is how many images stay in the cache; the ones that were not used for
// longest go. A running instance does not need its file any more.
const Kept = 8

const suffix = ".cpio"

// abandoned is how old an unfinished file is when whoever made it is surely gone.
const abandoned = time.Hour

var errChanged = errors.New("files changed while the image was made")

// A cache is a folder of archives, each with its SHA-256 as its name. They appear
// whole or not at all.
type cache struct{ dir string }

// keep returns the file with the content of archive and its SHA-256. The file is
// read to its end each time: one that rotted would be a guest that does not boot,
// and nobody would look here.
func (c cache) keep(ctx context.Context, archive *io.SectionReader, now time.Time) (path, sum string, err error) {
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		return "", "", err
	}
	sum, err = hashOf(ctx, archive)
	if err != nil {
		return "", "", err
	}
	path = filepath.Join(c.dir, sum+suffix)
	if !c.good(ctx, path, sum, archive.Size()) {
		if ctx.Err() != nil {
			return "", "", ctx.Err()
		}
		if err := c.write(ctx, path, sum, archive); err != nil {
			return "", "", err
		}
	}
	_ = os.Chtimes(path, now, now) // for prune; a cache that cannot be written is still one
	c.prune(now, path)
	return path, sum, nil
}

// good reports whether path is what it is named after.
func (c cache) good(ctx context.Context, path, sum string, size int64) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() != size {
		return false
	}
	got, err := hashOf(ctx, f)
	return err == nil && got == sum
}

// write writes the archive, whose files may have changed since it was hashed.
func (c cache) write(ctx context.Context, path, sum string, archive *io.SectionReader) (err error) {
	f, err := os.CreateTemp(c.dir, ".new-*"+suffix)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	if _, err := archive.Seek(0, io.SeekStart); err != nil {
		return errors.Join(err, f.Close())
	}
	hash := sha256.New()
	_, err = io.Copy(io.MultiWriter(f, hash), contextReader{ctx, archive})
	if err == nil {
		err = f.Chmod(0o444)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if got := hex.EncodeToString(hash.Sum(nil)); got != sum {
		return errChanged
	}
	return os.Rename(f.Name(), path)
}

// prune removes the images that were not used for longest, and what was left by
// processes that were killed. What cannot be removed is left for the next time.
func (c cache) prune(now time.Time, keep string) {
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return
	}
	type aged struct {
		path string
		used time.Time
	}
	var images []aged
	for _, e := range entries {
		info, err := e.Info()
		path := filepath.Join(c.dir, e.Name())
		if err != nil || !info.Mode().IsRegular() || path == keep {
			continue
		}
		name, ours := strings.CutSuffix(e.Name(), suffix)
		switch {
		case ours && len(name) == hex.EncodedLen(sha256.Size):
			images = append(images, aged{path, info.ModTime()})
		case ours && strings.HasPrefix(name, ".new-") && now.Sub(info.ModTime()) > abandoned:
			_ = os.Remove(path)
		}
	}
	slices.SortFunc(images, func(a, b aged) int { return b.used.Compare(a.used) })
	for _, i := range images[min(Kept-1, len(images)):] {
		_ = os.Remove(i.path)
	}
}

// hashOf is the SHA-256 of all that r reads.
func hashOf(ctx context.Context, r io.Reader) (string, error) {
	hash := sha256.New()
	if _, err := io.CopyBuffer(struct{ io.Writer }{hash}, contextReader{ctx, r}, make([]byte, 1<<20)); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// A contextReader cannot be read any more once ctx has ended.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
