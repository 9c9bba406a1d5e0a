package kernelimage

import (
	"bytes"
	"compress/bzip2"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz/lzma"
)

// maxWindow bounds the memory of a decompressor beside its output. It is the
// window of zstd level 22, which the kernel's build uses, and more than the
// dictionary of its xz.
const maxWindow = 128 << 20

// A Compression names how the payload of a bzImage is packed.
type Compression string

// The compressions that the kernel's build offers (init/Kconfig,
// "Kernel compression mode").
const (
	None  Compression = "none"
	Gzip  Compression = "gzip"
	Bzip2 Compression = "bzip2"
	LZMA  Compression = "lzma"
	XZ    Compression = "xz"
	LZO   Compression = "lzo" // recognised, not unpacked
	LZ4   Compression = "lz4"
	Zstd  Compression = "zstd"
)

// magics are the first bytes of each compression.
var magics = []struct {
	magic string
	c     Compression
}{
	{"\x7fELF", None},
	{"\x1f\x8b", Gzip},
	{"BZh", Bzip2},
	{"\x5d\x00\x00", LZMA}, // properties lc=3 lp=0 pb=2 and a dictionary of 64 KiB or more
	{"\xfd7zXZ\x00", XZ},
	{"\x89LZO", LZO},
	{"\x02\x21\x4c\x18", LZ4}, // legacy frame
	{"\x28\xb5\x2f\xfd", Zstd},
}

// compressionOf names the compression of a payload by its first bytes, empty if
// it is none that is known.
func compressionOf(b []byte) Compression {
	for _, m := range magics {
		if bytes.HasPrefix(b, []byte(m.magic)) {
			return m.c
		}
	}
	return ""
}

// unpackPayload gives the uncompressed kernel of a bzImage, at most MaxVmlinux
// bytes.
//
// The build appends the uncompressed size as a little-endian u32 to whatever
// compression does not end in it already (scripts/Makefile.lib, size_append;
// gzip ends in it by itself): it bounds the output, and an output of another
// size is a damaged image.
func unpackPayload(r io.ReaderAt, h setupHeader) ([]byte, Compression, error) {
	if h.length < 16 {
		return nil, "", fmt.Errorf("unpack kernel: payload of %d bytes: %w", h.length, ErrFormat)
	}
	packed := make([]byte, h.length)
	if _, err := readFullAt(r, packed, h.offset); err != nil {
		return nil, "", fmt.Errorf("unpack kernel: read payload: %w", err)
	}
	c := compressionOf(packed)
	switch c {
	case "":
		return nil, "", fmt.Errorf("unpack kernel: payload starts with % x: %w", packed[:8], ErrFormat)
	case LZO:
		return nil, c, fmt.Errorf("unpack kernel: payload is %s: %w", c, ErrCompression)
	case None:
		return packed, c, nil
	}
	body, stated := packed, int64(binary.LittleEndian.Uint32(packed[len(packed)-4:]))
	if c != Gzip {
		body = packed[:len(packed)-4]
	}
	if stated > MaxVmlinux {
		return nil, c, fmt.Errorf("unpack kernel: says that it unpacks to %d bytes: %w", stated, ErrTooBig)
	}
	out, err := unpack(c, body, stated)
	if err != nil {
		return nil, c, fmt.Errorf("unpack kernel (%s): %w", c, err)
	}
	if int64(len(out)) != stated {
		return nil, c, fmt.Errorf("unpack kernel (%s): %d bytes where %d are stated: %w", c, len(out), stated, ErrFormat)
	}
	return out, c, nil
}

// unpack gives what body unpacks to, at most limit bytes and one more, so that
// the caller sees too long from just right.
func unpack(c Compression, body []byte, limit int64) ([]byte, error) {
	in := bytes.NewReader(body)
	var r io.Reader
	switch c {
	case Gzip:
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, damaged(err)
		}
		z.Multistream(false)
		r = z
	case Bzip2:
		r = bzip2.NewReader(in)
	case LZMA:
		z, err := lzma.ReaderConfig{DictCap: maxWindow}.NewReader(in)
		if err != nil {
			return nil, damaged(err)
		}
		r = z
	case Zstd:
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, damaged(err)
		}
		defer z.Close()
		r = z
	case LZ4:
		r = &lz4Legacy{in: in}
	case XZ:
		return unpackXZ(body, limit)
	default:
		return nil, ErrCompression
	}
	return readBounded(r, limit, int64(len(body)))
}

// readBounded reads r to its end or to limit+1 bytes. packed is the size of
// what r unpacks: the first allocation follows it and not what the image says
// it will unpack to, so that a small image cannot ask for much.
func readBounded(r io.Reader, limit, packed int64) ([]byte, error) {
	out := bytes.NewBuffer(make([]byte, 0, min(limit, 8*packed)+bytes.MinRead))
	if _, err := out.ReadFrom(io.LimitReader(r, limit+1)); err != nil {
		return nil, damaged(err)
	}
	return out.Bytes(), nil
}

// damaged marks what a decompressor complains of as a fault of the image.
func damaged(err error) error {
	if errors.Is(err, ErrFormat) {
		return err
	}
	return fmt.Errorf("%w (%w)", ErrFormat, err)
}

// lz4Legacy reads the legacy lz4 frame that "lz4 -l" writes: a magic number,
// then blocks that unpack to 8 MiB each but the last, each after its packed
// size as a little-endian u32, up to the end of the input.
type lz4Legacy struct {
	in     *bytes.Reader
	begun  bool
	packed []byte
	block  []byte
	rest   []byte // of block, not read yet
}

const lz4BlockLen = 8 << 20

// Read implements io.Reader.
func (z *lz4Legacy) Read(p []byte) (int, error) {
	for len(z.rest) == 0 {
		if err := z.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, z.rest)
	z.rest = z.rest[n:]
	return n, nil
}

// next unpacks one more block.
func (z *lz4Legacy) next() error {
	var word [4]byte
	if !z.begun {
		if _, err := io.ReadFull(z.in, word[:]); err != nil {
			return io.ErrUnexpectedEOF
		}
		z.begun, z.block = true, make([]byte, lz4BlockLen)
	}
	if _, err := io.ReadFull(z.in, word[:]); err != nil {
		return err // io.EOF between blocks is the end
	}
	n := int64(binary.LittleEndian.Uint32(word[:]))
	if n == 0 || n > int64(z.in.Len()) {
		return fmt.Errorf("lz4 block of %d bytes where %d are left: %w", n, z.in.Len(), ErrFormat)
	}
	if int64(cap(z.packed)) < n {
		z.packed = make([]byte, n)
	}
	z.packed = z.packed[:n]
	if _, err := io.ReadFull(z.in, z.packed); err != nil {
		return io.ErrUnexpectedEOF
	}
	m, err := lz4.UncompressBlock(z.packed, z.block)
	if err != nil {
		return err
	}
	if m == 0 {
		return fmt.Errorf("empty lz4 block: %w", ErrFormat)
	}
	z.rest = z.block[:m]
	return nil
}
