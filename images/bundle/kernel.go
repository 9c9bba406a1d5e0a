package bundle

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/nitrolab/nitrolab/images/eif"
)

// kernelInfo is what a kernel file says about itself.
type kernelInfo struct {
	arch    eif.Arch
	version string // "Unknown" if the format has none
	elf     bool
}

const unknownVersion = "Unknown"

// kernel opens the kernel and checks that it is one for the architecture.
func (b *builder) kernel() (*io.SectionReader, kernelInfo, error) {
	r, err := b.open(b.spec.Kernel)
	if err != nil {
		return nil, kernelInfo{}, fmt.Errorf("bundle: kernel: %w", err)
	}
	info, err := identifyKernel(r)
	if err != nil {
		return nil, kernelInfo{}, fmt.Errorf("bundle: kernel %s: %w", b.spec.Kernel, err)
	}
	if info.arch != b.spec.Arch {
		return nil, kernelInfo{}, fmt.Errorf("bundle: kernel %s is for %v, wanted is %v", b.spec.Kernel, info.arch, b.spec.Arch)
	}
	if info.elf {
		b.warn("the kernel is an ELF file, which boots here but not on the Nitro hypervisor: that wants a bzImage (x86_64) or an Image (aarch64)")
	}
	return r, info, nil
}

// identifyKernel looks at the first bytes of a kernel.
//
// bzImage: Linux Documentation/arch/x86/boot.rst. Image: arch/arm64/booting.rst.
func identifyKernel(r *io.SectionReader) (kernelInfo, error) {
	head := make([]byte, 0x240)
	n, err := r.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return kernelInfo{}, err
	}
	head = head[:n]
	switch {
	case len(head) >= 20 && string(head[:4]) == "\x7fELF":
		const class64, little = 2, 1
		const machineX86_64, machineAArch64 = 62, 183
		machine := binary.LittleEndian.Uint16(head[18:])
		if head[4] == class64 && head[5] == little {
			switch machine {
			case machineX86_64:
				return kernelInfo{eif.X86_64, unknownVersion, true}, nil
			case machineAArch64:
				return kernelInfo{eif.AArch64, unknownVersion, true}, nil
			}
		}
		return kernelInfo{}, fmt.Errorf("ELF file for machine %d, allowed are %d (x86_64) and %d (aarch64)", machine, machineX86_64, machineAArch64)
	case len(head) >= 0x40 && string(head[0x38:0x3c]) == "ARM\x64":
		return kernelInfo{eif.AArch64, unknownVersion, false}, nil
	case len(head) == 0x240 && head[0x1fe] == 0x55 && head[0x1ff] == 0xaa && string(head[0x202:0x206]) == "HdrS":
		const loadedHigh, kernel64 = 1 << 0, 1 << 0
		if head[0x211]&loadedHigh == 0 {
			return kernelInfo{}, errors.New("a zImage, allowed is a bzImage")
		}
		if head[0x236]&kernel64 == 0 {
			return kernelInfo{}, errors.New("a kernel for 32 bits, allowed is one for 64")
		}
		return kernelInfo{eif.X86_64, bzImageVersion(r, head), false}, nil
	}
	return kernelInfo{}, errors.New("neither a bzImage (x86_64) nor an uncompressed Image (aarch64)")
}

// bzImageVersion reads the release from the version string, such as
// "6.12.107-cloud-amd64 (user@host) #1 SMP ...".
func bzImageVersion(r *io.SectionReader, head []byte) string {
	at := int64(binary.LittleEndian.Uint16(head[0x20e:]))
	if at == 0 {
		return unknownVersion
	}
	b := make([]byte, 128)
	n, err := r.ReadAt(b, at+0x200)
	if err != nil && !errors.Is(err, io.EOF) {
		return unknownVersion
	}
	s, _, _ := bytes.Cut(b[:n], []byte{0})
	release, _, _ := strings.Cut(string(s), " ")
	for _, c := range release {
		if c < '!' || c > '~' {
			return unknownVersion
		}
	}
	if release == "" {
		return unknownVersion
	}
	return release
}
