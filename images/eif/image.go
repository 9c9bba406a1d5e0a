package eif

import (
	"fmt"
	"io"
	"slices"
)

// Header is the decoded file header.
func (im *Image) Header() Header { return im.header }

// Arch is the architecture the image is built for.
func (im *Image) Arch() Arch {
	if im.header.Flags&flagAArch64 != 0 {
		return AArch64
	}
	return X86_64
}

// RequireArch returns a [*FormatError] unless the image is built for a, as an
// enclave of another architecture refuses it.
func (im *Image) RequireArch(a Arch) error {
	if im.Arch() == a {
		return nil
	}
	return &FormatError{
		Field:   "architecture in flags",
		Found:   im.Arch().String(),
		Allowed: "the enclave is " + a.String(),
		Offset:  offFlags,
	}
}

// Sections lists all sections in file order.
func (im *Image) Sections() []Section { return slices.Clone(im.sections) }

// Size is where the last section ends: the size of the image's file.
func (im *Image) Size() int64 { return im.sections[len(im.sections)-1].end() }

// Kernel is the data of the kernel section: a bzImage for x86_64, an
// uncompressed arm64 Image for aarch64. The format does not check that.
func (im *Image) Kernel() *io.SectionReader {
	_, s, _ := im.find(SectionKernel)
	return im.data(s)
}

// Cmdline is the kernel command line, without the entries that a hypervisor
// appends at boot. It is what the file holds, neither trimmed nor checked.
// A command line of more than [MaxCmdline] bytes is a [*FormatError].
func (im *Image) Cmdline() (string, error) {
	b, err := im.load(SectionCmdline, MaxCmdline)
	return string(b), err
}

// Ramdisks are the data of the ramdisk sections, in file order; possibly none.
func (im *Image) Ramdisks() []*io.SectionReader {
	var rs []*io.SectionReader
	for _, s := range im.sections {
		if s.Type == SectionRamdisk {
			rs = append(rs, im.data(s))
		}
	}
	return rs
}

// Initramfs is what a hypervisor puts into the enclave's memory for the kernel
// to unpack: all ramdisks one behind the other, with nothing added between them
// (specification, "Background on ramdisk composition and loading"; QEMU does
// the same). A ramdisk whose size is no multiple of 4 makes a kernel refuse an
// uncompressed one behind it; [Image.Warnings] tells.
func (im *Image) Initramfs() io.Reader {
	var rs []io.Reader
	for _, r := range im.Ramdisks() {
		rs = append(rs, r)
	}
	return io.MultiReader(rs...)
}

// InitramfsSize is the number of bytes that [Image.Initramfs] yields.
func (im *Image) InitramfsSize() int64 {
	var n int64
	for _, s := range im.sections {
		if s.Type == SectionRamdisk {
			n += s.Size
		}
	}
	return n
}

// Warnings says what the format allows and no kernel boots from, one sentence
// each: no ramdisk at all, a ramdisk at an offset where the kernel cannot find
// it, a command line that is cut.
func (im *Image) Warnings() ([]string, error) {
	var warnings []string
	ramdisks := im.Ramdisks()
	if len(ramdisks) == 0 {
		warnings = append(warnings, "the image has no ramdisk: the kernel will find no /init")
	}
	var at int64
	for i, r := range ramdisks {
		var first [1]byte
		if at%4 != 0 && r.Size() > 0 {
			if err := readFull(r, first[:], 0); err != nil {
				return nil, fmt.Errorf("eif: read ramdisk %d: %w", i, err)
			}
			// Linux init/initramfs.c looks for an uncompressed archive, which
			// begins with the digit 0, at multiples of 4 only.
			if first[0] == '0' {
				warnings = append(warnings, fmt.Sprintf(
					"ramdisk %d is uncompressed and starts at byte %d of the initramfs, no multiple of 4: the kernel will not unpack it", i, at))
			}
		}
		at += r.Size()
	}
	if _, s, _ := im.find(SectionCmdline); s.Size > MaxKernelCmdline {
		warnings = append(warnings, fmt.Sprintf(
			"the command line has %d bytes, a kernel keeps %d", s.Size, MaxKernelCmdline))
	}
	return warnings, nil
}

// find returns the only section of type t.
func (im *Image) find(t SectionType) (int, Section, bool) {
	for i, s := range im.sections {
		if s.Type == t {
			return i, s, true
		}
	}
	return 0, Section{}, false
}

// data is the data of section s.
func (im *Image) data(s Section) *io.SectionReader {
	return io.NewSectionReader(im.r, s.Offset+SectionHeaderSize, s.Size)
}

// load reads the data of the only section of type t, nil if there is none.
func (im *Image) load(t SectionType, limit int64) ([]byte, error) {
	i, s, ok := im.find(t)
	if !ok {
		return nil, nil
	}
	if s.Size > limit {
		return nil, &FormatError{
			Field:   im.name(i) + ": size",
			Found:   fmt.Sprintf("%d", s.Size),
			Allowed: fmt.Sprintf("this reader loads at most %d", limit),
			Offset:  int64(offSizes + 8*i),
		}
	}
	b := make([]byte, s.Size)
	if err := readFull(im.data(s), b, 0); err != nil {
		return nil, fmt.Errorf("eif: read %s: %w", im.name(i), err)
	}
	return b, nil
}
