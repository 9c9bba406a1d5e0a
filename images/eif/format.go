package eif

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Sizes and limits of the format. All sizes are in bytes.
const (
	// HeaderSize is the size of the file header.
	HeaderSize = 548
	// SectionHeaderSize is the size of the header in front of every section.
	SectionHeaderSize = 12
	// MinSections and MaxSections bound num_sections.
	MinSections = 2
	MaxSections = 32
	// MaxSignature bounds the data of a signature section.
	MaxSignature = 32768
	// MaxMetadata bounds how much metadata this package loads. The format has
	// no limit; the largest part in practice is the output of docker inspect,
	// some tens of kilobytes.
	MaxMetadata = 4 << 20
	// MaxCmdline bounds how much command line this package loads; the format
	// has no limit. A kernel uses the first 2047 bytes, see [MaxKernelCmdline].
	MaxCmdline = 64 << 10
	// MaxKernelCmdline is the longest command line a Linux kernel keeps on
	// x86_64 and aarch64 (COMMAND_LINE_SIZE 2048 with its NUL); [Build] refuses
	// longer ones, which would be measured in full and obeyed in part.
	MaxKernelCmdline = 2047
	// MaxCustomMetadata bounds the user's own metadata, as nitro-cli does.
	MaxCustomMetadata = 4096
)

// The versions of the format that the Nitro stack accepts. Version 3 added the
// optional signature section, version 4 the mandatory metadata section.
const (
	MinVersion     = 2
	MaxVersion     = 4
	CurrentVersion = 4
)

// Header defaults as every known builder writes them; nothing reads them.
const (
	DefaultMem  = 1 << 30
	DefaultCPUs = 2
)

const (
	magic = ".eif"

	offVersion  = 0x004
	offFlags    = 0x006
	offMem      = 0x008
	offCPUs     = 0x010
	offSections = 0x01a
	offOffsets  = 0x01c
	offSizes    = 0x11c
	offCRC      = 0x220

	flagAArch64 = 1 << 0
)

// An Arch is a CPU architecture, bit 0 of the header's flags.
type Arch uint8

// The architectures an enclave can have.
const (
	//lint:ignore ST1003 the architecture's own name
	X86_64  Arch = 0
	AArch64 Arch = 1
)

// String is the name nitro-cli and eif_build use.
func (a Arch) String() string {
	switch a {
	case X86_64:
		return "x86_64"
	case AArch64:
		return "aarch64"
	}
	return fmt.Sprintf("Arch(%d)", uint8(a))
}

// ParseArch reads the kernel's names (x86_64, aarch64) and those of Go and OCI
// (amd64, arm64).
func ParseArch(s string) (Arch, error) {
	switch s {
	case "x86_64", "amd64":
		return X86_64, nil
	case "aarch64", "arm64":
		return AArch64, nil
	}
	return 0, fmt.Errorf("eif: architecture is %q, allowed are x86_64 (amd64) and aarch64 (arm64)", s)
}

// A SectionType says what a section holds.
type SectionType uint16

// The section types. Type 0 and types above [SectionMetadata] are refused.
const (
	SectionInvalid   SectionType = 0
	SectionKernel    SectionType = 1
	SectionCmdline   SectionType = 2
	SectionRamdisk   SectionType = 3
	SectionSignature SectionType = 4
	SectionMetadata  SectionType = 5
)

// String is the lower-case name of the type.
func (t SectionType) String() string {
	switch t {
	case SectionInvalid:
		return "invalid"
	case SectionKernel:
		return "kernel"
	case SectionCmdline:
		return "cmdline"
	case SectionRamdisk:
		return "ramdisk"
	case SectionSignature:
		return "signature"
	case SectionMetadata:
		return "metadata"
	}
	return fmt.Sprintf("type %d", uint16(t))
}

// A Header is what the file header says, without the section tables.
type Header struct {
	// Version is 2, 3 or 4.
	Version uint16
	// Flags holds the architecture in bit 0; the other bits are reserved and
	// ignored.
	Flags uint16
	// DefaultMem is in bytes, DefaultCPUs a count; nothing uses either.
	DefaultMem  uint64
	DefaultCPUs uint64
	// NumSections is 2 to 32.
	NumSections uint16
	// CRC is the CRC-32 (IEEE) over everything but itself.
	CRC uint32
}

// A Section is one section of an image.
type Section struct {
	Type SectionType
	// Flags is reserved; its value is kept and ignored.
	Flags uint16
	// Offset is where the section's header starts in the file. The data
	// follows [SectionHeaderSize] bytes later.
	Offset int64
	// Size is that of the data, without the section's header.
	Size int64
}

// end is the file offset behind the section's data.
func (s Section) end() int64 { return s.Offset + SectionHeaderSize + s.Size }

// encode writes the section header.
func (s Section) encode() (b [SectionHeaderSize]byte) {
	binary.BigEndian.PutUint16(b[0:], uint16(s.Type))
	binary.BigEndian.PutUint16(b[2:], s.Flags)
	binary.BigEndian.PutUint64(b[4:], uint64(s.Size))
	return b
}

// encodeHeader writes the file header. The CRC field is h.CRC.
func encodeHeader(h Header, sections []Section) (b [HeaderSize]byte) {
	copy(b[:], magic)
	binary.BigEndian.PutUint16(b[offVersion:], h.Version)
	binary.BigEndian.PutUint16(b[offFlags:], h.Flags)
	binary.BigEndian.PutUint64(b[offMem:], h.DefaultMem)
	binary.BigEndian.PutUint64(b[offCPUs:], h.DefaultCPUs)
	binary.BigEndian.PutUint16(b[offSections:], uint16(len(sections)))
	for i, s := range sections {
		binary.BigEndian.PutUint64(b[offOffsets+8*i:], uint64(s.Offset))
		binary.BigEndian.PutUint64(b[offSizes+8*i:], uint64(s.Size))
	}
	binary.BigEndian.PutUint32(b[offCRC:], h.CRC)
	return b
}

// decodeHeader reads the fields of a header whose magic was checked.
func decodeHeader(b *[HeaderSize]byte) Header {
	return Header{
		Version:     binary.BigEndian.Uint16(b[offVersion:]),
		Flags:       binary.BigEndian.Uint16(b[offFlags:]),
		DefaultMem:  binary.BigEndian.Uint64(b[offMem:]),
		DefaultCPUs: binary.BigEndian.Uint64(b[offCPUs:]),
		NumSections: binary.BigEndian.Uint16(b[offSections:]),
		CRC:         binary.BigEndian.Uint32(b[offCRC:]),
	}
}

// maxOffset keeps every offset and size an int64 even after additions.
const maxOffset = math.MaxInt64 / 2
