package kmod

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"hash/crc64"
	"io"

	"github.com/ulikunitz/xz/lzma"
)

// A module is packed as one stream of one block (scripts/Makefile.modinst: xz
// --check=crc32 --lzma2=dict=1MiB). The container is read here, in that form
// only, and LZMA2 by the library: the library's own container reader allocates
// and clears any dictionary that a file asks for, up to 4 GiB.

const xzMagic = "\xfd7zXZ\x00"

// errXZ says that a file is not xz, not in the form above, or damaged.
var errXZ = errors.New("not an xz file of one block, or damaged")

// unpackXZ unpacks at most limit+1 bytes.
func unpackXZ(r io.Reader, limit int64) ([]byte, error) {
	counter := &countingReader{r: r}
	br := bufio.NewReader(counter)
	var h [12]byte
	if _, err := io.ReadFull(br, h[:]); err != nil {
		return nil, xzError("stream header", err)
	}
	if string(h[:6]) != xzMagic || h[6] != 0 || binary.LittleEndian.Uint32(h[8:]) != crc32.ChecksumIEEE(h[6:8]) {
		return nil, xzError("stream header", errXZ)
	}
	dict, err := xzBlockHeader(br)
	if err != nil {
		return nil, err
	}
	begin := counter.n - int64(br.Buffered())
	// Nothing reaches back further than what there is.
	z, err := lzma.Reader2Config{DictCap: int(max(min(dict, limit+1), lzma.MinDictCap))}.NewReader2(br)
	if err != nil {
		return nil, xzError("data", err)
	}
	out, err := io.ReadAll(io.LimitReader(z, limit+1))
	if err != nil {
		return nil, xzError("data", err)
	}
	if int64(len(out)) > limit {
		return out, nil // the caller's error; the rest was not read
	}
	used := counter.n - int64(br.Buffered()) - begin
	return out, xzCheck(br, h[7], int(-used&3), out)
}

// xzBlockHeader returns the size of the dictionary of the block that follows
// (format section 3.1). LZMA2 is the only filter that modules are packed with.
func xzBlockHeader(br *bufio.Reader) (dict int64, err error) {
	size, err := br.ReadByte()
	if err != nil || size == 0 { // 0 begins the index: there is no block
		return 0, xzError("block header", errXZ)
	}
	h := make([]byte, (int(size)+1)*4)
	h[0] = size
	if _, err := io.ReadFull(br, h[1:]); err != nil {
		return 0, xzError("block header", err)
	}
	body, sum := h[:len(h)-4], h[len(h)-4:]
	if crc32.ChecksumIEEE(body) != binary.LittleEndian.Uint32(sum) {
		return 0, xzError("block header", errXZ)
	}
	flags, rest := body[1], bytes.NewReader(body[2:])
	for _, hasSize := range []byte{0x40, 0x80} { // packed and unpacked size, not needed
		if flags&hasSize != 0 {
			if _, err := binary.ReadUvarint(rest); err != nil {
				return 0, xzError("block header", errXZ)
			}
		}
	}
	var filter [3]byte // id LZMA2, size of properties 1, property
	if _, err := io.ReadFull(rest, filter[:]); err != nil || flags&3 != 0 || filter[0] != 0x21 || filter[1] != 1 {
		return 0, xzError("block header: filters", errXZ)
	}
	dict, err = lzma.DecodeDictCap(filter[2])
	if err != nil {
		return 0, xzError("block header: dictionary", errXZ)
	}
	return dict, nil
}

// xzCheck compares the check that follows the padding after a block's data, and
// that the next thing is the index and not another block.
func xzCheck(br *bufio.Reader, check byte, padding int, out []byte) error {
	var want []byte
	switch check {
	case 0x00:
	case 0x01:
		want = binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(out))
	case 0x04:
		want = binary.LittleEndian.AppendUint64(nil, crc64.Checksum(out, crc64.MakeTable(crc64.ECMA)))
	default:
		return fmt.Errorf("xz: check of type %#x is not supported", check)
	}
	got := make([]byte, padding+len(want)+1)
	if _, err := io.ReadFull(br, got); err != nil {
		return xzError("check", err)
	}
	if !bytes.Equal(got[padding:len(got)-1], want) || got[len(got)-1] != 0 {
		return xzError("check", errXZ)
	}
	return nil
}

func xzError(where string, err error) error {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("xz %s: %w", where, err)
}

type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
