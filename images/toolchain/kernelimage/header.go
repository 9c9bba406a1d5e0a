package kernelimage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Offsets in the real-mode part of a bzImage (boot.rst, "The Real-Mode Kernel
// Header").
const (
	offSetupSects    = 0x1f1 // u8: 512-byte sectors of setup code, 0 means 4
	offBootFlag      = 0x1fe // u16: 0xaa55
	offHeaderMagic   = 0x202 // "HdrS"
	offProtocol      = 0x206 // u16: 0x0208 and later have a payload
	offVersionString = 0x20e // u16: string at 0x200 + this, 0 for none
	offPayloadOffset = 0x248 // u32: from the start of protected-mode code
	offPayloadLength = 0x24c // u32
	setupHeaderLen   = 0x268

	sectorLen     = 512
	minProtocol   = 0x0208
	maxVersionLen = 256
)

// A setupHeader is the part of a bzImage's header that is used here.
type setupHeader struct {
	release string // "6.12.117+deb13-cloud-amd64", empty if the header names none
	offset  int64  // of the payload in the file
	length  int64  // of the payload, at most MaxPayload
}

// readSetupHeader reads the header of a bzImage. It gives ErrFormat for
// anything else.
func readSetupHeader(r io.ReaderAt) (setupHeader, error) {
	var h [setupHeaderLen]byte
	if _, err := readFullAt(r, h[:], 0); err != nil {
		return setupHeader{}, fmt.Errorf("read bzImage header: %w", err)
	}
	if binary.LittleEndian.Uint16(h[offBootFlag:]) != 0xaa55 ||
		!bytes.Equal(h[offHeaderMagic:offHeaderMagic+4], []byte("HdrS")) {
		return setupHeader{}, fmt.Errorf("read bzImage header: no HdrS magic: %w", ErrFormat)
	}
	if v := binary.LittleEndian.Uint16(h[offProtocol:]); v < minProtocol {
		return setupHeader{}, fmt.Errorf("read bzImage header: boot protocol %d.%02d names no payload: %w",
			v>>8, v&0xff, ErrFormat)
	}
	sects := int64(h[offSetupSects])
	if sects == 0 {
		sects = 4
	}
	out := setupHeader{
		offset: (sects+1)*sectorLen + int64(binary.LittleEndian.Uint32(h[offPayloadOffset:])),
		length: int64(binary.LittleEndian.Uint32(h[offPayloadLength:])),
	}
	if out.length > MaxPayload {
		return setupHeader{}, fmt.Errorf("read bzImage header: payload of %d bytes: %w", out.length, ErrTooBig)
	}
	// The string lies in the setup code, so within the setup sectors.
	if at := int64(binary.LittleEndian.Uint16(h[offVersionString:])); at != 0 && at+0x200 < (sects+1)*sectorLen {
		out.release = readRelease(r, at+0x200)
	}
	return out, nil
}

// readRelease reads the release, the first word of the version string at off.
// A string that is not there or is not text is no error: it is only told to people.
func readRelease(r io.ReaderAt, off int64) string {
	var b [maxVersionLen]byte
	n, err := r.ReadAt(b[:], off)
	if err != nil && !errors.Is(err, io.EOF) {
		return ""
	}
	return releaseWord(b[:n])
}

// releaseWord gives the first word of b if it looks like a kernel release:
// printable, and a digit first.
func releaseWord(b []byte) string {
	end := bytes.IndexAny(b, " \x00\n")
	if end <= 0 || b[0] < '0' || b[0] > '9' {
		return ""
	}
	for _, c := range b[:end] {
		if c <= ' ' || c > '~' {
			return ""
		}
	}
	return string(b[:end])
}

// readFullAt fills b from off and gives ErrFormat where the image is too short.
func readFullAt(r io.ReaderAt, b []byte, off int64) (int, error) {
	n, err := r.ReadAt(b, off)
	if n == len(b) {
		return n, nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return n, fmt.Errorf("image ends at byte %d: %w", off+int64(n), ErrFormat)
	}
	return n, err
}
