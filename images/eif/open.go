package eif

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// An Image is an opened enclave image. It reads from the file it was opened on
// and keeps no section in memory, so the file must stay open and unchanged. An
// Image is safe for concurrent use if its io.ReaderAt is.
type Image struct {
	r        io.ReaderAt
	raw      [HeaderSize]byte
	header   Header
	sections []Section
}

// Open checks headers and structure of the image that fills the first size
// bytes of r, and reads nothing else: the contents are covered by
// [Image.Verify]. An error is a [*FormatError] if the file breaks the format,
// else one of r.
func Open(r io.ReaderAt, size int64) (*Image, error) {
	im, err := OpenPrefix(r, size)
	if err != nil {
		return nil, err
	}
	if end := im.Size(); end != size {
		return nil, &FormatError{
			Field:   "file size",
			Found:   fmt.Sprintf("%d", size),
			Allowed: fmt.Sprintf("the last section ends at %d: the bytes behind it belong to nothing", end),
			Offset:  end,
		}
	}
	return im, nil
}

// OpenPrefix is [Open] for an image at the start of something longer, at most
// limit bytes: the memory a parent gives to an enclave holds an image whose
// size nobody tells. [Image.Size] has the size.
func OpenPrefix(r io.ReaderAt, limit int64) (*Image, error) {
	if limit < HeaderSize {
		return nil, &FormatError{
			Field:   "file size",
			Found:   fmt.Sprintf("%d", limit),
			Allowed: fmt.Sprintf("the header alone has %d bytes", HeaderSize),
			Offset:  -1,
		}
	}
	limit = min(limit, maxOffset)
	im := &Image{r: r}
	if err := readFull(r, im.raw[:], 0); err != nil {
		return nil, fmt.Errorf("eif: read header: %w", err)
	}
	if err := im.checkHeader(); err != nil {
		return nil, err
	}
	if err := im.readSections(limit); err != nil {
		return nil, err
	}
	if err := im.checkContents(); err != nil {
		return nil, err
	}
	return im, nil
}

// A File is an Image with the file that it owns.
type File struct {
	*Image
	f *os.File
}

// OpenFile opens the image in the named file. The caller must close it.
func OpenFile(name string) (*File, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("eif: %w", err)
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = fmt.Errorf("eif: open %s: not a regular file", name)
	}
	var im *Image
	if err == nil {
		im, err = Open(f, fi.Size())
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &File{Image: im, f: f}, nil
}

// Close closes the file. The Image must not be used afterwards.
func (f *File) Close() error { return f.f.Close() }

// readFull fills p from offset off. The end of the file inside p is
// io.ErrUnexpectedEOF; with sizes checked before, it means that the file shrank.
func readFull(r io.ReaderAt, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// checkHeader checks the header's own fields and decodes them.
func (im *Image) checkHeader() error {
	if got := im.raw[:len(magic)]; string(got) != magic {
		return &FormatError{
			Field:   "magic",
			Found:   fmt.Sprintf("% x", got),
			Allowed: fmt.Sprintf("allowed is % x (%q)", magic, magic),
			Offset:  0,
		}
	}
	im.header = decodeHeader(&im.raw)
	if v := im.header.Version; v < MinVersion || v > MaxVersion {
		return &FormatError{
			Field:   "version",
			Found:   fmt.Sprintf("%d", v),
			Allowed: "allowed are 2, 3 and 4",
			Offset:  offVersion,
		}
	}
	if n := im.header.NumSections; n < MinSections || n > MaxSections {
		return &FormatError{
			Field:   "num_sections",
			Found:   fmt.Sprintf("%d", n),
			Allowed: fmt.Sprintf("allowed are %d to %d", MinSections, MaxSections),
			Offset:  offSections,
		}
	}
	return nil
}

// readSections walks the tables of the header and the section headers.
func (im *Image) readSections(limit int64) error {
	n := int(im.header.NumSections)
	im.sections = make([]Section, 0, n)
	end := int64(HeaderSize) // where the next section must start
	var b [SectionHeaderSize]byte
	for i := range n {
		offset := binary.BigEndian.Uint64(im.raw[offOffsets+8*i:])
		size := binary.BigEndian.Uint64(im.raw[offSizes+8*i:])
		if err := im.checkOffset(i, offset, end, limit); err != nil {
			return err
		}
		if err := readFull(im.r, b[:], int64(offset)); err != nil {
			return fmt.Errorf("eif: read header of section %d: %w", i, err)
		}
		s := Section{
			Type:   SectionType(binary.BigEndian.Uint16(b[0:])),
			Flags:  binary.BigEndian.Uint16(b[2:]),
			Offset: int64(offset),
		}
		if err := checkSize(i, s, binary.BigEndian.Uint64(b[4:]), size, limit); err != nil {
			return err
		}
		s.Size = int64(size)
		im.sections = append(im.sections, s)
		end = s.end()
	}
	return nil
}

// checkOffset checks entry i of the offset table: sections lie in the file, in
// the order of the table, without overlap and without a gap. end is where the
// previous section, or the header, ends.
func (im *Image) checkOffset(i int, offset uint64, end, limit int64) error {
	fault := func(allowed string, args ...any) error {
		return &FormatError{
			Field:   fmt.Sprintf("section %d: offset", i),
			Found:   fmt.Sprintf("%d", offset),
			Allowed: fmt.Sprintf(allowed, args...),
			Offset:  int64(offOffsets + 8*i),
		}
	}
	before := func() string {
		if i == 0 {
			return "the header"
		}
		return im.name(i - 1)
	}
	switch {
	case offset > uint64(limit-SectionHeaderSize):
		return fault("its header must lie within the file of %d bytes", limit)
	case i > 0 && offset <= uint64(im.sections[i-1].Offset):
		return fault("the table must be in file order: %s starts at %d", before(), im.sections[i-1].Offset)
	case offset < uint64(end):
		return fault("%s ends at %d: sections must not overlap", before(), end)
	case offset > uint64(end):
		return fault("%s ends at %d: the bytes between belong to nothing", before(), end)
	}
	return nil
}

// checkSize checks the type and the two sizes of section i: size in its own
// header, table in the file header.
func checkSize(i int, s Section, size, table uint64, limit int64) error {
	if s.Type == SectionInvalid || s.Type > SectionMetadata {
		return &FormatError{
			Field:   fmt.Sprintf("section %d: type", i),
			Found:   fmt.Sprintf("%d", uint16(s.Type)),
			Allowed: "allowed are 1 (kernel) to 5 (metadata)",
			Offset:  s.Offset,
		}
	}
	if size != table {
		return &FormatError{
			Field:   fmt.Sprintf("section %d (%s): size in section header", i, s.Type),
			Found:   fmt.Sprintf("%d", size),
			Allowed: fmt.Sprintf("header table says %d", table),
			Offset:  s.Offset + 4,
		}
	}
	if room := limit - s.Offset - SectionHeaderSize; size > uint64(room) {
		return &FormatError{
			Field:   fmt.Sprintf("section %d (%s): size", i, s.Type),
			Found:   fmt.Sprintf("%d", size),
			Allowed: fmt.Sprintf("the file has %d bytes left", room),
			Offset:  int64(offSizes + 8*i),
		}
	}
	if s.Type == SectionSignature && size > MaxSignature {
		return &FormatError{
			Field:   fmt.Sprintf("section %d (%s): size", i, s.Type),
			Found:   fmt.Sprintf("%d", size),
			Allowed: fmt.Sprintf("allowed are at most %d", MaxSignature),
			Offset:  int64(offSizes + 8*i),
		}
	}
	return nil
}

// checkContents checks which sections there are, how often and in what order.
func (im *Image) checkContents() error {
	var count [SectionMetadata + 1]int
	for i, s := range im.sections {
		count[s.Type]++
		if s.Type == SectionRamdisk && count[SectionKernel] == 0 {
			return &FormatError{
				Field:   im.name(i) + ": place",
				Found:   "before the kernel",
				Allowed: "every ramdisk must come after the kernel",
				Offset:  s.Offset,
			}
		}
	}
	if err := checkCount(count[SectionKernel], "kernel", 1, 1, "allowed is exactly 1"); err != nil {
		return err
	}
	if err := checkCount(count[SectionCmdline], "cmdline", 1, 1, "allowed is exactly 1"); err != nil {
		return err
	}
	if im.header.Version >= 4 && count[SectionMetadata] == 0 {
		return &FormatError{
			Field:   "number of metadata sections",
			Found:   "0",
			Allowed: "version 4 requires 1",
			Offset:  -1,
		}
	}
	if err := checkCount(count[SectionMetadata], "metadata", 0, 1, "allowed is at most 1"); err != nil {
		return err
	}
	return checkCount(count[SectionSignature], "signature", 0, 1, "allowed is at most 1")
}

func checkCount(n int, what string, low, high int, allowed string) error {
	if n >= low && n <= high {
		return nil
	}
	return &FormatError{
		Field:   fmt.Sprintf("number of %s sections", what),
		Found:   fmt.Sprintf("%d", n),
		Allowed: allowed,
		Offset:  -1,
	}
}

// name is how errors call section i.
func (im *Image) name(i int) string {
	return fmt.Sprintf("section %d (%s)", i, im.sections[i].Type)
}
