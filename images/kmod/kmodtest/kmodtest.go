// Package kmodtest makes kernel modules for tests: ELF objects with a section
// .modinfo and nothing that runs.
package kmodtest

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"strings"
)

// Module makes a module with the given .modinfo entries, such as "depends=a,b".
func Module(entries ...string) []byte {
	return Object(elf.ET_REL, ".modinfo", elf.SHT_PROGBITS, []byte(strings.Join(entries, "\x00")+"\x00"))
}

// Object makes an ELF object with one section beside the table of names.
func Object(typ elf.Type, section string, styp elf.SectionType, content []byte) []byte {
	const ehsize, shentsize = 64, 64
	names := []byte("\x00" + section + "\x00.shstrtab\x00")
	contentAt := uint64(ehsize)
	namesAt := contentAt + uint64(len(content))
	tableAt := (namesAt + uint64(len(names)) + 7) &^ 7

	var b bytes.Buffer
	header := elf.Header64{
		Type: uint16(typ), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT),
		Shoff: tableAt, Ehsize: ehsize, Shentsize: shentsize, Shnum: 3, Shstrndx: 2,
	}
	copy(header.Ident[:], elf.ELFMAG)
	header.Ident[elf.EI_CLASS] = byte(elf.ELFCLASS64)
	header.Ident[elf.EI_DATA] = byte(elf.ELFDATA2LSB)
	header.Ident[elf.EI_VERSION] = byte(elf.EV_CURRENT)
	binary.Write(&b, binary.LittleEndian, header)
	b.Write(content)
	b.Write(names)
	b.Write(make([]byte, tableAt-uint64(b.Len())))
	for _, s := range []elf.Section64{
		{},
		{Name: 1, Type: uint32(styp), Off: contentAt, Size: uint64(len(content)), Addralign: 1},
		{Name: uint32(2 + len(section)), Type: uint32(elf.SHT_STRTAB), Off: namesAt, Size: uint64(len(names)), Addralign: 1},
	} {
		binary.Write(&b, binary.LittleEndian, s)
	}
	return b.Bytes()
}
