package kernelimage

import (
	"fmt"
	"io"
)

// ExtractVmlinux writes the uncompressed kernel of the bzImage r to w: an ELF
// with, after it, the relocations that the build leaves there. An image that is
// such an ELF already is copied. It gives the number of bytes written.
//
// What it writes has been checked to be an x86 ELF with its segments in the
// file. It writes nothing before that, so on an error from the image w is
// untouched. Errors are [ErrFormat], [ErrCompression] and [ErrTooBig] beside
// those of r and w.
func ExtractVmlinux(w io.Writer, r io.ReaderAt) (int64, error) {
	img, err := load(r)
	if err != nil {
		return 0, err
	}
	if img.format == ARM64 {
		return 0, fmt.Errorf("extract vmlinux: image is for arm64: %w", ErrFormat)
	}
	if _, err := checkELF(img.kernel); err != nil {
		return 0, fmt.Errorf("extract vmlinux: %w", err)
	}
	n, err := w.Write(img.kernel)
	if err != nil {
		return int64(n), fmt.Errorf("extract vmlinux: %w", err)
	}
	return int64(n), nil
}

// A Format is the form of a kernel image.
type Format string

// The forms that an enclave image or a -kernel argument may have.
const (
	BzImage Format = "bzImage"
	ELF     Format = "ELF"
	ARM64   Format = "arm64 Image"
)

// An image is a kernel in memory.
type image struct {
	format      Format
	compression Compression
	release     string // from the setup header
	kernel      []byte // uncompressed
}

// load recognises an image and gives its uncompressed kernel. Where only the
// payload cannot be unpacked, what the header says is given beside the error.
func load(r io.ReaderAt) (image, error) {
	var head [64]byte
	if _, err := readFullAt(r, head[:], 0); err != nil {
		return image{}, fmt.Errorf("read kernel image: %w", err)
	}
	switch {
	case string(head[:4]) == "\x7fELF":
		k, err := readWhole(r)
		return image{format: ELF, compression: None, kernel: k}, err
	case string(head[56:60]) == "ARM\x64": // booting.rst, "Call the kernel image"
		k, err := readWhole(r)
		return image{format: ARM64, compression: None, kernel: k}, err
	}
	h, err := readSetupHeader(r)
	if err != nil {
		return image{}, err
	}
	img := image{format: BzImage, release: h.release}
	img.kernel, img.compression, err = unpackPayload(r, h)
	return img, err
}

// readWhole reads an image that is not packed, at most MaxVmlinux bytes.
func readWhole(r io.ReaderAt) ([]byte, error) {
	b, err := io.ReadAll(io.NewSectionReader(r, 0, MaxVmlinux+1))
	if err != nil {
		return nil, fmt.Errorf("read kernel image: %w", err)
	}
	if len(b) > MaxVmlinux {
		return nil, fmt.Errorf("read kernel image: over %d bytes: %w", int64(MaxVmlinux), ErrTooBig)
	}
	return b, nil
}
