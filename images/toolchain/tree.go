package toolchain

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// A tree is a folder of the cache with the files of one part. In it lies
// "root" with the files and a record of each.
type tree struct{ dir string }

const (
	rootDir    = "root"
	recordFile = "files.json"
	// maxRecord bounds the record: 200 bytes a file, 1,500 files at present.
	maxRecord = 64 << 20
)

func (t tree) root() string { return filepath.Join(t.dir, rootDir) }

// modeMask are the permission bits that are recorded.
const modeMask = 0o555

// A fileRecord is what is known of one file since it was unpacked.
type fileRecord struct {
	Path   string `json:"path"` // below root, with slashes
	Mode   uint32 `json:"mode"` // who may read and run it; not write, so that a cache can be made read-only
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256,omitempty"` // of a regular file
	Link   string `json:"link,omitempty"`   // of a symbolic link
	stamp
}

// record notes every file below root. It reads all of them.
func (t tree) record(ctx context.Context) error {
	var all []fileRecord
	err := filepath.WalkDir(t.root(), func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		rel, err := filepath.Rel(t.root(), p)
		if err != nil {
			return err
		}
		r, err := recordOf(ctx, p)
		r.Path = filepath.ToSlash(rel)
		all = append(all, r)
		return err
	})
	if err != nil {
		return fmt.Errorf("record files of %s: %w", t.dir, err)
	}
	return t.write(all)
}

// recordOf notes one file, without its path.
func recordOf(ctx context.Context, name string) (fileRecord, error) {
	info, err := os.Lstat(name)
	if err != nil {
		return fileRecord{}, err
	}
	r := fileRecord{Mode: uint32(info.Mode().Perm() & modeMask), Size: info.Size()}
	if r.stamp, err = stampOf(info); err != nil {
		return fileRecord{}, err
	}
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		r.Link, err = os.Readlink(name)
	case info.Mode().IsRegular():
		r.SHA256, err = hashFile(ctx, name)
	default:
		err = fmt.Errorf("file %s is a %v", name, info.Mode().Type())
	}
	return r, err
}

// write writes the record.
func (t tree) write(all []fileRecord) error {
	return writeJSON(filepath.Join(t.dir, recordFile), all)
}

// read reads the record.
func (t tree) read() ([]fileRecord, error) {
	var all []fileRecord
	if err := readJSON(filepath.Join(t.dir, recordFile), &all); err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("read %s: no files recorded", recordFile)
	}
	return all, nil
}

// check looks for damage. It gives one sentence for each file that is missing or
// changed, none if all is well. deep reads every file; otherwise one is read only
// if its stamp has changed, as after a copy of the whole cache.
//
// stale says that stamps have changed while contents have not, so that the record
// wants to be written again ([tree.restamp]).
func (t tree) check(ctx context.Context, deep bool) (damage []string, stale bool, err error) {
	all, err := t.read()
	if err != nil {
		return []string{err.Error()}, false, nil
	}
	for _, r := range all {
		fresh, complaint := r.check(ctx, t.root(), deep)
		if ctx.Err() != nil {
			return nil, false, context.Cause(ctx)
		}
		stale = stale || !fresh
		if complaint != "" {
			damage = append(damage, r.Path+": "+complaint)
		}
	}
	return damage, stale, nil
}

// check compares one file with its record, and says what is wrong. fresh means
// that its stamp is the recorded one.
func (r fileRecord) check(ctx context.Context, root string, deep bool) (fresh bool, complaint string) {
	if !filepath.IsLocal(r.Path) {
		return false, "record names a file outside the cache"
	}
	name := filepath.Join(root, r.Path)
	info, err := os.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, "missing"
	}
	if err != nil {
		return false, err.Error()
	}
	now, err := stampOf(info)
	if err != nil {
		return false, err.Error()
	}
	fresh = now == r.stamp
	if fresh && !deep && info.Size() == r.Size {
		return true, ""
	}
	if r.Link != "" {
		if target, err := os.Readlink(name); err != nil || target != r.Link {
			return fresh, "is another link"
		}
		return fresh, ""
	}
	switch {
	case !info.Mode().IsRegular():
		return fresh, "is no regular file"
	case info.Size() != r.Size:
		return fresh, fmt.Sprintf("%d bytes where %d were", info.Size(), r.Size)
	case uint32(info.Mode().Perm()&modeMask) != r.Mode:
		return fresh, fmt.Sprintf("mode %v where %v was", info.Mode().Perm()&modeMask, fs.FileMode(r.Mode))
	}
	sum, err := hashFile(ctx, name)
	if err != nil {
		return fresh, err.Error()
	}
	if sum != r.SHA256 {
		return fresh, "content has changed"
	}
	return fresh, ""
}

// restamp writes the present stamps into the record. The caller has just seen
// that the contents are right.
func (t tree) restamp() error {
	all, err := t.read()
	if err != nil {
		return err
	}
	for i, r := range all {
		info, err := os.Lstat(filepath.Join(t.root(), r.Path))
		if err != nil {
			return fmt.Errorf("record files of %s: %w", t.dir, err)
		}
		if all[i].stamp, err = stampOf(info); err != nil {
			return err
		}
	}
	return t.write(all)
}

// hashFile gives the SHA-256 of a file in hex.
func hashFile(ctx context.Context, name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	buf := make([]byte, 1<<20)
	for {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		n, err := f.Read(buf)
		sum.Write(buf[:n])
		if errors.Is(err, io.EOF) {
			return hex.EncodeToString(sum.Sum(nil)), nil
		}
		if err != nil {
			return "", err
		}
	}
}
