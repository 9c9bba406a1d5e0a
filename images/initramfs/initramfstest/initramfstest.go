// Package initramfstest reads ramdisks for tests: a parser of the newc format by
// the rules of the kernel (init/initramfs.c), which shares nothing with the code
// that writes them.
package initramfstest

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"testing"
)

// maxArchive bounds what is read; the archives of tests are small.
const maxArchive = 1 << 30

// An Entry is one record of an archive.
type Entry struct {
	Ino, Mode, UID, GID, NLink uint32
	Major, Minor               uint32 // of a device node
	Name, Content              string
}

// String is the entry in a line: mode in octal, owner, number of names, inode and
// name, then what there is of device number and content.
func (e Entry) String() string {
	s := fmt.Sprintf("%o %d:%d n%d i%d %s", e.Mode, e.UID, e.GID, e.NLink, e.Ino, e.Name)
	if e.Major != 0 || e.Minor != 0 {
		s += fmt.Sprintf(" dev %d,%d", e.Major, e.Minor)
	}
	if e.Content != "" {
		s += " = " + e.Content
	}
	return s
}

// Read returns the entries of an archive in their order, without the trailer. The
// test fails if a record has a time, a device number of its own or a checksum, or
// if the archive ends otherwise than on a multiple of 4 with its trailer.
func Read(t testing.TB, archive io.ReaderAt) []Entry {
	t.Helper()
	b, err := io.ReadAll(io.NewSectionReader(archive, 0, maxArchive))
	if err != nil {
		t.Fatal(err)
	}
	var entries []Entry
	for off := 0; ; {
		if off%4 != 0 || len(b)-off < 110 || string(b[off:off+6]) != "070701" {
			t.Fatalf("no record at %d", off)
		}
		var f [13]uint32
		for i := range f {
			v, err := strconv.ParseUint(string(b[off+6+8*i:off+14+8*i]), 16, 32)
			if err != nil {
				t.Fatal(err)
			}
			f[i] = uint32(v)
		}
		mtime, size, devMajor, devMinor, nameLen, checksum := f[5], int(f[6]), f[7], f[8], int(f[11]), f[12]
		if mtime != 0 || devMajor != 0 || devMinor != 0 || checksum != 0 {
			t.Errorf("record at %d: time, device or checksum is not 0", off)
		}
		body := (off + 110 + nameLen + 3) &^ 3
		if nameLen < 1 || body+size > len(b) || b[off+110+nameLen-1] != 0 {
			t.Fatalf("record at %d: name of %d and content of %d bytes", off, nameLen, size)
		}
		e := Entry{
			Ino: f[0], Mode: f[1], UID: f[2], GID: f[3], NLink: f[4], Major: f[9], Minor: f[10],
			Name: string(b[off+110 : off+110+nameLen-1]), Content: string(b[body : body+size]),
		}
		off = (body + size + 3) &^ 3
		if e.Name == "TRAILER!!!" {
			if rest := b[off:]; len(b)%4 != 0 || len(bytes.Trim(rest, "\x00")) != 0 {
				t.Errorf("archive of %d bytes, %d behind the trailer", len(b), len(rest))
			}
			return entries
		}
		entries = append(entries, e)
	}
}

// Lines are the entries of an archive as text, see [Entry.String].
func Lines(t testing.TB, archive io.ReaderAt) []string {
	t.Helper()
	var lines []string
	for _, e := range Read(t, archive) {
		lines = append(lines, e.String())
	}
	return lines
}

// Names are the names in an archive, in its order.
func Names(t testing.TB, archive io.ReaderAt) []string {
	t.Helper()
	var names []string
	for _, e := range Read(t, archive) {
		names = append(names, e.Name)
	}
	return names
}

// Contents are the contents in an archive by name: of a symbolic link its target,
// of a directory "".
func Contents(t testing.TB, archive io.ReaderAt) map[string]string {
	t.Helper()
	contents := make(map[string]string)
	for _, e := range Read(t, archive) {
		contents[e.Name] = e.Content
	}
	return contents
}
