package initramfs

import (
	"fmt"
	"io"
	"sort"
)

// The newc format: for each file a header, the name with a zero byte, padding to
// 4 bytes, the content, padding to 4 bytes. u-root's writer makes the same bytes
// but can only write them in one go; an image is read in pieces.

const (
	magic = "070701"

	// headerSize is the length of a header: the magic and 13 fields of 8
	// hexadecimal digits.
	headerSize = len(magic) + 13*8
)

// headSize is the space of header and name, padded.
func headSize(name string) int64 { return round4(int64(headerSize + len(name) + 1)) }

func round4(n int64) int64 { return (n + 3) &^ 3 }

// appendHead appends header and name of r, padded.
func appendHead(b []byte, r *File) []byte {
	start := len(b)
	b = append(b, magic...)
	for _, field := range [13]uint64{
		r.Ino, r.Mode, r.UID, r.GID, r.NLink, r.MTime, r.FileSize,
		r.Major, r.Minor, r.Rmajor, r.Rminor, uint64(len(r.Name) + 1),
		0, // checksum, of another format
	} {
		b = appendHex8(b, uint32(field))
	}
	b = append(b, r.Name...)
	b = append(b, 0)
	for (len(b)-start)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func appendHex8(b []byte, v uint32) []byte {
	const digits = "0123456789ABCDEF"
	for shift := 28; shift >= 0; shift -= 4 {
		b = append(b, digits[v>>shift&0xf])
	}
	return b
}

// ReadAt implements io.ReaderAt over the bytes of the archive. It fails if the
// content of a file ends before its announced size.
func (a *Archive) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read archive: offset is %d", off)
	}
	var head []byte
	n := 0
	// The last record that begins at or before off.
	i := sort.Search(len(a.offsets), func(i int) bool { return a.offsets[i] > off }) - 1
	for ; n < len(p) && i >= 0 && i < len(a.records) && off < a.size; i++ {
		r := &a.records[i]
		at, content := off-a.offsets[i], headSize(r.Name)
		if at < content {
			head = appendHead(head[:0], r)
			m := copy(p[n:], head[at:])
			n, off, at = n+m, off+int64(m), at+int64(m)
		}
		m, err := readContent(r, p[n:], at-content)
		n, off = n+m, off+int64(m)
		if err != nil {
			return n, fmt.Errorf("read archive %.200q: %w", r.Name, err)
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// readContent fills p with the padded content of r from offset at, as far as it
// goes. at is negative only if p is empty: then the head filled what there was.
func readContent(r *File, p []byte, at int64) (int, error) {
	size := int64(r.FileSize)
	n := 0
	if len(p) > 0 && at < size {
		want := int(min(int64(len(p)), size-at))
		m, err := r.ReaderAt.ReadAt(p[:want], at)
		if m < want {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return m, err
		}
		n, at = want, at+int64(want)
	}
	for n < len(p) && at < round4(size) {
		p[n] = 0
		n, at = n+1, at+1
	}
	return n, nil
}
