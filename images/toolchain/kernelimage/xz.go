package kernelimage

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/ulikunitz/xz/lzma"
)

// The kernel's build packs with "xz --check=crc32 --x86 --lzma2=dict=..."
// (scripts/xz_wrap.sh): one stream of one block whose data went through the x86
// branch filter first. The xz library in use knows LZMA2 but no filter, so the
// container is read here and LZMA2 by the library.
const (
	xzMagic     = "\xfd7zXZ\x00"
	xzCheckNone = 0x00
	xzCheckCRC  = 0x01 // CRC32, the only one that the kernel's own decoder knows

	xzFilterX86   = 0x04
	xzFilterLZMA2 = 0x21
)

// unpackXZ unpacks the single block of an xz stream to at most limit+1 bytes.
func unpackXZ(in *bytes.Reader, limit int64) ([]byte, error) {
	packed := int64(in.Len())
	br := bufio.NewReader(in)
	check, err := readXZStreamHeader(br)
	if err != nil {
		return nil, err
	}
	block, err := readXZBlockHeader(br)
	if err != nil {
		return nil, err
	}
	// A match never reaches back further than what is unpacked already, so a
	// dictionary need not be larger than the output.
	dict := max(min(block.dict, limit+1), lzma.MinDictCap)
	before := packed - int64(in.Len()) - int64(br.Buffered())
	z, err := lzma.Reader2Config{DictCap: int(dict)}.NewReader2(br)
	if err != nil {
		return nil, damaged(err)
	}
	out, err := readBounded(z, limit, packed)
	if err != nil || int64(len(out)) > limit {
		return out, err
	}
	used := packed - int64(in.Len()) - int64(br.Buffered()) - before
	if block.x86 {
		unfilterX86(out)
	}
	return out, checkXZ(br, check, used, out)
}

// readXZStreamHeader gives the check that the stream has.
func readXZStreamHeader(br *bufio.Reader) (byte, error) {
	var h [12]byte
	if _, err := io.ReadFull(br, h[:]); err != nil {
		return 0, fmt.Errorf("xz stream header: %w", damaged(err))
	}
	if string(h[:6]) != xzMagic || h[6] != 0 || binary.LittleEndian.Uint32(h[8:]) != crc32.ChecksumIEEE(h[6:8]) {
		return 0, fmt.Errorf("xz stream header: %w", ErrFormat)
	}
	if h[7] != xzCheckNone && h[7] != xzCheckCRC {
		return 0, fmt.Errorf("xz check %#x, which the kernel's own decoder refuses: %w", h[7], ErrFormat)
	}
	return h[7], nil
}

// An xzBlock is what a block header says.
type xzBlock struct {
	x86  bool  // data went through the x86 filter
	dict int64 // LZMA2 dictionary
}

// readXZBlockHeader reads a block header (format section 3.1).
func readXZBlockHeader(br *bufio.Reader) (xzBlock, error) {
	bad := func(what string) (xzBlock, error) {
		return xzBlock{}, fmt.Errorf("xz block header: %s: %w", what, ErrFormat)
	}
	size, err := br.ReadByte()
	if err != nil || size == 0 {
		return bad("missing")
	}
	h := make([]byte, (int(size)+1)*4)
	h[0] = size
	if _, err := io.ReadFull(br, h[1:]); err != nil {
		return bad("cut off")
	}
	body, sum := h[:len(h)-4], binary.LittleEndian.Uint32(h[len(h)-4:])
	if crc32.ChecksumIEEE(body) != sum {
		return bad("checksum")
	}
	flags, rest := body[1], bytes.NewReader(body[2:])
	for _, sized := range []byte{0x40, 0x80} { // compressed and uncompressed size, not needed
		if flags&sized == 0 {
			continue
		}
		if _, err := binary.ReadUvarint(rest); err != nil {
			return bad("size")
		}
	}
	var out xzBlock
	for i, n := 0, int(flags&3)+1; i < n; i++ {
		id, err := binary.ReadUvarint(rest)
		if err != nil {
			return bad("filter")
		}
		n, err := binary.ReadUvarint(rest)
		if err != nil || n > uint64(rest.Len()) {
			return bad("filter properties")
		}
		props := make([]byte, n)
		if _, err := io.ReadFull(rest, props); err != nil {
			return bad("filter properties")
		}
		switch {
		case id == xzFilterX86 && n == 0 && !out.x86 && out.dict == 0:
			out.x86 = true
		case id == xzFilterLZMA2 && n == 1 && out.dict == 0:
			if out.dict, err = lzma.DecodeDictCap(props[0]); err != nil {
				return bad("dictionary")
			}
		default:
			return bad(fmt.Sprintf("filter %#x", id))
		}
	}
	if out.dict == 0 {
		return bad("no LZMA2 filter")
	}
	return out, nil
}

// checkXZ reads what follows a block's data of used bytes: padding to a
// multiple of four, then the check.
func checkXZ(br *bufio.Reader, check byte, used int64, out []byte) error {
	if check == xzCheckNone {
		return nil
	}
	for range -used & 3 {
		if b, err := br.ReadByte(); err != nil || b != 0 {
			return fmt.Errorf("xz block padding: %w", ErrFormat)
		}
	}
	var sum [4]byte
	if _, err := io.ReadFull(br, sum[:]); err != nil {
		return fmt.Errorf("xz block check: %w", damaged(err))
	}
	if binary.LittleEndian.Uint32(sum[:]) != crc32.ChecksumIEEE(out) {
		return fmt.Errorf("xz block check does not match: %w", ErrFormat)
	}
	return nil
}
