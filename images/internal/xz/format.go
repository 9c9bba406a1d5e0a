package xz

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"hash/crc64"
	"io"

	"github.com/ulikunitz/xz/lzma"
)

const magic = "\xfd7zXZ\x00"

// Checks (format section 2.1.1.2).
const (
	checkNone  = 0x00
	checkCRC32 = 0x01
	checkCRC64 = 0x04
)

// Filters (format section 5.3).
const (
	filterX86   = 0x04
	filterLZMA2 = 0x21
)

var crc64Table = crc64.MakeTable(crc64.ECMA)

// readStreamHeader gives the check that the stream has (format section 2.1.1).
func readStreamHeader(in *bytes.Reader) (byte, error) {
	var h [12]byte
	if _, err := io.ReadFull(in, h[:]); err != nil {
		return 0, fault("stream header", err)
	}
	if string(h[:6]) != magic || h[6] != 0 || binary.LittleEndian.Uint32(h[8:]) != crc32.ChecksumIEEE(h[6:8]) {
		return 0, fault("stream header", ErrFormat)
	}
	switch h[7] {
	case checkNone, checkCRC32, checkCRC64:
		return h[7], nil
	}
	return 0, fault("stream header", fmt.Errorf("check of type %#x is not supported", h[7]))
}

// A block is what a block header says.
type block struct {
	x86  bool  // the data went through the x86 filter
	dict int64 // LZMA2 dictionary, in bytes; 0 without LZMA2
}

// readBlockHeader reads a block header (format section 3.1).
func readBlockHeader(in *bytes.Reader) (block, error) {
	bad := func(what string) (block, error) { return block{}, fault("block header", errors.New(what)) }
	size, err := in.ReadByte()
	if err != nil || size == 0 { // 0 begins the index: there is no block
		return bad("missing")
	}
	h := make([]byte, (int(size)+1)*4)
	h[0] = size
	if _, err := io.ReadFull(in, h[1:]); err != nil {
		return bad("cut off")
	}
	body, sum := h[:len(h)-4], binary.LittleEndian.Uint32(h[len(h)-4:])
	if crc32.ChecksumIEEE(body) != sum {
		return bad("checksum")
	}
	flags, rest := body[1], bytes.NewReader(body[2:])
	for _, hasSize := range []byte{0x40, 0x80} { // packed and unpacked size, not needed
		if flags&hasSize == 0 {
			continue
		}
		if _, err := binary.ReadUvarint(rest); err != nil {
			return bad("size")
		}
	}
	var b block
	for range int(flags&3) + 1 {
		if err := b.readFilter(rest); err != nil {
			return bad(err.Error())
		}
	}
	if b.dict == 0 {
		return bad("no LZMA2 filter")
	}
	return b, nil
}

// readFilter reads one of the filters, which are in the order in which data went
// through them (format section 3.1.5). LZMA2 is the last one.
func (b *block) readFilter(rest *bytes.Reader) error {
	id, err := binary.ReadUvarint(rest)
	if err != nil {
		return errors.New("filter")
	}
	n, err := binary.ReadUvarint(rest)
	if err != nil || n > uint64(rest.Len()) {
		return errors.New("filter properties")
	}
	properties := make([]byte, n)
	if _, err := io.ReadFull(rest, properties); err != nil {
		return errors.New("filter properties")
	}
	switch {
	case id == filterX86 && n == 0 && !b.x86 && b.dict == 0:
		b.x86 = true
	case id == filterLZMA2 && n == 1 && b.dict == 0:
		if b.dict, err = lzma.DecodeDictCap(properties[0]); err != nil {
			return errors.New("dictionary")
		}
	default:
		return fmt.Errorf("filter %#x", id)
	}
	return nil
}

// readCheck reads what follows a block's data of used bytes: padding to a
// multiple of four, the check of what came out, and the first byte of the index,
// without which another block follows.
func readCheck(in *bytes.Reader, check byte, used int, out []byte) error {
	padding := -used & 3
	want := make([]byte, padding)
	switch check {
	case checkCRC32:
		want = binary.LittleEndian.AppendUint32(want, crc32.ChecksumIEEE(out))
	case checkCRC64:
		want = binary.LittleEndian.AppendUint64(want, crc64.Checksum(out, crc64Table))
	}
	want = append(want, 0)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(in, got); err != nil {
		return fault("check", err)
	}
	if !bytes.Equal(got, want) {
		return fault("check", errors.New("does not match, or another block follows"))
	}
	return nil
}
