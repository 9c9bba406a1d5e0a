package kernelimage

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// ELF constants (System V ABI) as far as they are used here.
const (
	elfClass32, elfClass64 = 1, 2
	elfMachine386          = 3
	elfMachineX86_64       = 62
	elfNote                = 4   // PT_NOTE
	maxProgramHeaders      = 128 // a vmlinux has 5 or 6

	// xenPhys32Entry is XEN_ELFNOTE_PHYS32_ENTRY of
	// include/xen/interface/elfnote.h: the 32-bit entry point of a PVH boot.
	xenPhys32Entry = 18
)

// checkELF makes sure that b is an x86 ELF whose program headers lie within it,
// and gives those of its notes.
func checkELF(b []byte) (notes [][]byte, err error) {
	bad := func(what string) ([][]byte, error) {
		return nil, fmt.Errorf("read ELF: %s: %w", what, ErrFormat)
	}
	if len(b) < 64 || !bytes.HasPrefix(b, []byte("\x7fELF")) {
		return bad("no ELF magic")
	}
	if m := binary.LittleEndian.Uint16(b[18:]); m != elfMachineX86_64 && m != elfMachine386 {
		return bad(fmt.Sprintf("machine %d is not x86", m))
	}
	var off uint64
	var size, count, wantSize uint16
	switch b[4] {
	case elfClass64:
		off = binary.LittleEndian.Uint64(b[32:])
		size, count, wantSize = binary.LittleEndian.Uint16(b[54:]), binary.LittleEndian.Uint16(b[56:]), 56
	case elfClass32:
		off = uint64(binary.LittleEndian.Uint32(b[28:]))
		size, count, wantSize = binary.LittleEndian.Uint16(b[42:]), binary.LittleEndian.Uint16(b[44:]), 32
	default:
		return bad("class")
	}
	if size != wantSize || count == 0 || count > maxProgramHeaders {
		return bad("program headers")
	}
	table, ok := span(b, off, uint64(size)*uint64(count))
	if !ok {
		return bad("program headers outside the file")
	}
	for ; len(table) > 0; table = table[size:] {
		at, n := segment(table, b[4])
		seg, ok := span(b, at, n)
		if !ok {
			return bad("segment outside the file")
		}
		if binary.LittleEndian.Uint32(table) == elfNote {
			notes = append(notes, seg)
		}
	}
	return notes, nil
}

// segment gives the file range of a program header.
func segment(h []byte, class byte) (off, size uint64) {
	if class == elfClass64 {
		return binary.LittleEndian.Uint64(h[8:]), binary.LittleEndian.Uint64(h[32:])
	}
	return uint64(binary.LittleEndian.Uint32(h[4:])), uint64(binary.LittleEndian.Uint32(h[16:]))
}

// span is b[off:off+n] if b has it.
func span(b []byte, off, n uint64) ([]byte, bool) {
	if off > uint64(len(b)) || n > uint64(len(b))-off {
		return nil, false
	}
	return b[off : off+n], true
}

// hasPVH reports whether one of the note segments has the entry point of a PVH
// boot. Without it QEMU cannot start an uncompressed kernel.
func hasPVH(notes [][]byte) bool {
	for _, b := range notes {
		for len(b) >= 12 {
			nameLen := uint64(binary.LittleEndian.Uint32(b))
			descLen := uint64(binary.LittleEndian.Uint32(b[4:]))
			kind := binary.LittleEndian.Uint32(b[8:])
			name, ok := span(b, 12, nameLen)
			if !ok {
				break
			}
			end := 12 + align4(nameLen) + descLen
			if end > uint64(len(b)) {
				break
			}
			if kind == xenPhys32Entry && string(name) == "Xen\x00" && (descLen == 4 || descLen == 8) {
				return true
			}
			b = b[min(align4(end), uint64(len(b))):]
		}
	}
	return false
}

func align4(n uint64) uint64 { return (n + 3) &^ 3 }
