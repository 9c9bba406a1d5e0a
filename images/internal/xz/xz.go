// Package xz unpacks the xz files that the Linux build makes, kernels and
// modules: one stream of one block (file format 1.2.1). It takes the memory that
// the result needs, whatever a file asks for.
//
// The container is read here and LZMA2 by ulikunitz/xz. That library's own
// container reader allocates and clears any dictionary that a file names, up to
// 4 GiB, and knows no filter beside LZMA2.
package xz

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/ulikunitz/xz/lzma"
)

// Faults of a file, for errors.Is.
var (
	// ErrFormat says that a file is not xz, not of the form above, or damaged.
	ErrFormat = errors.New("not an xz file of one block, or damaged")

	// ErrTooLong says that a file unpacks to more than the limit.
	ErrTooLong = errors.New("unpacks to more than allowed")
)

// Unpack returns what packed unpacks to, at most limit bytes. The block must have
// gone through LZMA2, possibly after the x86 branch filter; checks are CRC32,
// CRC64 or none, and are made. The index and the footer behind the block are not
// read. Errors are [ErrFormat] and [ErrTooLong].
func Unpack(packed []byte, limit int64) ([]byte, error) {
	in := bytes.NewReader(packed)
	check, err := readStreamHeader(in)
	if err != nil {
		return nil, err
	}
	b, err := readBlockHeader(in)
	if err != nil {
		return nil, err
	}
	before := in.Len()
	// A match never reaches back further than what is unpacked already, so a
	// dictionary need not be larger than the result.
	dict := max(min(b.dict, limit+1), lzma.MinDictCap)
	z, err := lzma.Reader2Config{DictCap: int(dict)}.NewReader2(in)
	if err != nil {
		return nil, fault("data", err)
	}
	// The first allocation follows what there is, not what is allowed.
	out := bytes.NewBuffer(make([]byte, 0, min(limit, 8*int64(len(packed)))+bytes.MinRead))
	if _, err := out.ReadFrom(io.LimitReader(z, limit+1)); err != nil {
		return nil, fault("data", err)
	}
	if int64(out.Len()) > limit {
		return nil, fmt.Errorf("xz: %w: %d bytes", ErrTooLong, limit)
	}
	used := before - in.Len()
	if b.x86 {
		unfilterX86(out.Bytes())
	}
	if err := readCheck(in, check, used, out.Bytes()); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// fault marks what is wrong with a part of a file.
func fault(part string, err error) error {
	if errors.Is(err, ErrFormat) {
		return fmt.Errorf("xz %s: %w", part, err)
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("xz %s: %w (%w)", part, ErrFormat, err)
}
