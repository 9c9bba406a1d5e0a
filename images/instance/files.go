package instance

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/u-root/u-root/pkg/cpio"

	"github.com/nitrolab/nitrolab/images/initramfs"
)

// A fileSet is the files of an image by name.
type fileSet map[string]cpio.Record

func (s fileSet) add(files ...cpio.Record) {
	for _, f := range files {
		s[f.Name] = f
	}
}

// replace adds files in the place of those that have their names. A folder that is
// there keeps its mode; a folder and a file cannot replace each other.
func (s fileSet) replace(files []cpio.Record) error {
	for _, f := range files {
		old, there := s[f.Name]
		wasDir, isDir := old.Mode&cpio.S_IFMT == cpio.S_IFDIR, f.Mode&cpio.S_IFMT == cpio.S_IFDIR
		switch {
		case there && wasDir && isDir:
			continue
		case there && wasDir != isDir:
			return fmt.Errorf("file %.200q: the image has a folder there, or the other way round", f.Name)
		}
		s[f.Name] = f
	}
	return nil
}

func (s fileSet) records() []cpio.Record {
	var all []cpio.Record
	for _, name := range slices.Sorted(maps.Keys(s)) {
		all = append(all, s[name])
	}
	return all
}

// ownFiles are the caller's files.
func (b *builder) ownFiles() ([]cpio.Record, error) {
	var files []cpio.Record
	seen := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(b.spec.Files)) {
		f := b.spec.Files[name]
		parts, err := initramfs.SplitName(name)
		if err != nil {
			return nil, fmt.Errorf("file %.200q: %w", name, err)
		}
		clean := merged(strings.Join(parts, "/"))
		if clean == "" || seen[clean] {
			return nil, fmt.Errorf("file %.200q: it is the root, or named twice", name)
		}
		seen[clean] = true
		r, err := b.record(clean, f)
		if err != nil {
			return nil, fmt.Errorf("file %.200q: %w", name, err)
		}
		files = append(files, r)
	}
	return files, nil
}

// merged is a name with the links of the skeleton followed: the kernel unpacks an
// archive in the order of names, and what is below a link must not come before it.
func merged(name string) string {
	for _, l := range usrLinks {
		if rest, ok := strings.CutPrefix(name, l.name+"/"); ok {
			return l.target + "/" + rest
		}
	}
	return name
}

// record makes one file of the caller's.
func (b *builder) record(name string, f File) (cpio.Record, error) {
	given := 0
	for _, is := range []bool{f.Data != nil, f.Path != "", f.Link != "", f.Mode.IsDir()} {
		if is {
			given++
		}
	}
	switch {
	case given > 1:
		return cpio.Record{}, fmt.Errorf("more than one of data, path, link and folder is given")
	case f.Mode&^(fs.ModePerm|fs.ModeDir|fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky) != 0:
		return cpio.Record{}, fmt.Errorf("mode is %v, which is neither a file nor a folder", f.Mode)
	}
	switch {
	case f.Link != "":
		return cpio.Symlink(name, f.Link), nil
	case f.Mode.IsDir():
		return cpio.Directory(name, permissions(f.Mode)), nil
	case f.Path == "":
		return cpio.StaticRecord(f.Data, cpio.Info{Name: name, Mode: cpio.S_IFREG | permissions(f.Mode)}), nil
	}
	file, err := os.Open(f.Path)
	if err != nil {
		return cpio.Record{}, err
	}
	b.closers = append(b.closers, file)
	info, err := file.Stat()
	if err != nil {
		return cpio.Record{}, err
	}
	if !info.Mode().IsRegular() {
		return cpio.Record{}, fmt.Errorf("%s is not a regular file", f.Path)
	}
	return cpio.Record{ReaderAt: file, Info: cpio.Info{Name: name, Mode: cpio.S_IFREG | permissions(f.Mode), FileSize: uint64(info.Size())}}, nil
}

// permissions are the mode bits of Linux.
func permissions(m fs.FileMode) uint64 {
	p := uint64(m.Perm())
	for _, bit := range []struct {
		is  fs.FileMode
		bit uint64
	}{{fs.ModeSetuid, 0o4000}, {fs.ModeSetgid, 0o2000}, {fs.ModeSticky, 0o1000}} {
		if m&bit.is != 0 {
			p |= bit.bit
		}
	}
	return p
}

func text(name, content string) cpio.Record { return cpio.StaticFile(name, content, 0o644) }
