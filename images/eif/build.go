package eif

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// A Spec says what goes into an image.
type Spec struct {
	Arch Arch
	// Kernel is a bzImage for x86_64 or an arm64 Image for aarch64; Build does
	// not look inside.
	Kernel *io.SectionReader
	// Cmdline is the kernel command line: no NUL, at most [MaxKernelCmdline]
	// bytes.
	Cmdline string
	// Ramdisks are cpio archives, plain or compressed, at least one. The first
	// one goes into PCR1, the others into PCR2.
	Ramdisks []*io.SectionReader
	// Metadata describes the image. It is not measured.
	Metadata Metadata
	// Signer signs the image; nil for an unsigned one.
	Signer *Signer
	// DefaultMem (bytes) and DefaultCPUs are header fields that nothing uses;
	// zero means what every known builder writes, 1 GiB and 2.
	DefaultMem  uint64
	DefaultCPUs uint64
}

// Build writes a version 4 image to w, from offset 0, and returns its
// measurements. Sections come in the order of AWS's builder: kernel, command
// line, metadata, ramdisks, signature. Equal specs give equal bytes. The inputs
// are read once and streamed; on an error w holds an unfinished file, see
// [BuildFile].
func Build(w io.WriteSeeker, spec Spec) (Measurements, error) {
	parts, err := spec.parts()
	if err != nil {
		return Measurements{}, err
	}
	header := Header{Version: CurrentVersion, DefaultMem: spec.DefaultMem, DefaultCPUs: spec.DefaultCPUs}
	if spec.Arch == AArch64 {
		header.Flags = flagAArch64
	}
	if header.DefaultMem == 0 {
		header.DefaultMem = DefaultMem
	}
	if header.DefaultCPUs == 0 {
		header.DefaultCPUs = DefaultCPUs
	}
	return write(w, header, parts, spec.Signer)
}

// parts checks the spec and lists its sections without the signature.
func (spec Spec) parts() ([]part, error) {
	if spec.Arch != X86_64 && spec.Arch != AArch64 {
		return nil, fmt.Errorf("eif: build: architecture is %v, allowed are x86_64 and aarch64", spec.Arch)
	}
	if spec.Kernel == nil || spec.Kernel.Size() == 0 {
		return nil, errors.New("eif: build: kernel is empty")
	}
	if strings.ContainsRune(spec.Cmdline, 0) {
		return nil, errors.New("eif: build: command line has a NUL")
	}
	if n := len(spec.Cmdline); n > MaxKernelCmdline {
		return nil, fmt.Errorf("eif: build: command line has %d bytes, a kernel keeps at most %d", n, MaxKernelCmdline)
	}
	others := 3 // kernel, command line, metadata
	if spec.Signer != nil {
		others++
	}
	if n := len(spec.Ramdisks); n < 1 || n > MaxSections-others {
		return nil, fmt.Errorf("eif: build: number of ramdisks is %d, allowed are 1 to %d", n, MaxSections-others)
	}
	metadata, err := spec.Metadata.encode()
	if err != nil {
		return nil, err
	}
	parts := []part{
		{typ: SectionKernel, data: spec.Kernel},
		{typ: SectionCmdline, data: bytesSection([]byte(spec.Cmdline))},
		{typ: SectionMetadata, data: bytesSection(metadata)},
	}
	for i, r := range spec.Ramdisks {
		if r == nil || r.Size() == 0 {
			return nil, fmt.Errorf("eif: build: ramdisk %d is empty", i)
		}
		parts = append(parts, part{typ: SectionRamdisk, data: r})
	}
	return parts, nil
}

// Sign writes a copy of im, signed by signer, to w from offset 0. The sections
// keep their order; an earlier signature is dropped and the new one comes last.
// PCR0 to PCR2 stay as they are. im's CRC is checked first, so that a damaged
// image is not made to look whole; w must not be the file im reads from.
func Sign(w io.WriteSeeker, im *Image, signer *Signer) (Measurements, error) {
	before, err := im.Verify()
	if err != nil {
		return Measurements{}, err
	}
	var parts []part
	for _, s := range im.sections {
		if s.Type != SectionSignature {
			parts = append(parts, part{typ: s.Type, flags: s.Flags, data: im.data(s)})
		}
	}
	if len(parts) == MaxSections {
		return Measurements{}, fmt.Errorf("eif: sign: the image has %d sections already, as many as there can be", MaxSections)
	}
	after, err := write(w, im.header, parts, signer)
	if err != nil {
		return Measurements{}, err
	}
	if after.PCR0 != before.PCR0 {
		return Measurements{}, errors.New("eif: sign: the image changed while it was read")
	}
	return after, nil
}

// bytesSection makes section data of bytes.
func bytesSection(b []byte) *io.SectionReader {
	return io.NewSectionReader(bytes.NewReader(b), 0, int64(len(b)))
}
