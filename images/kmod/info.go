package kmod

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io"
	"strings"
)

const (
	maxInfo    = 1 << 20 // bytes of section .modinfo
	maxDepends = 128     // direct dependencies of one module
	maxStrings = 1 << 14 // sections and entries looked at
)

// Info is what a module says of itself.
type Info struct {
	Name    string   // "name" entry, with underscores; "" in kernels before 4.13
	Release string   // first word of the "vermagic" entry: the kernel's release
	Depends []string // modules it needs directly, with underscores
}

// ParseInfo reads section .modinfo of a module: zero-terminated strings of the
// form key=value (include/linux/moduleparam.h, MODULE_INFO; scripts/mod/
// modpost.c writes "depends" and "vermagic").
func ParseInfo(image []byte) (Info, error) {
	raw, err := infoSection(image)
	if err != nil {
		return Info{}, err
	}
	var info Info
	for n := 0; len(raw) > 0; n++ {
		if n > maxStrings {
			return Info{}, fmt.Errorf("modinfo: more than %d entries", maxStrings)
		}
		var entry []byte
		entry, raw, _ = bytes.Cut(raw, []byte{0})
		key, value, ok := strings.Cut(string(entry), "=")
		if !ok {
			continue // padding
		}
		switch key {
		case "name":
			info.Name = canonical(value)
			if !validName(info.Name) {
				return Info{}, fmt.Errorf("modinfo name: %q is no module name", value)
			}
		case "vermagic":
			info.Release, _, _ = strings.Cut(value, " ")
		case "depends":
			if info.Depends, err = parseDepends(value); err != nil {
				return Info{}, err
			}
		}
	}
	return info, nil
}

func parseDepends(value string) ([]string, error) {
	if value == "" {
		return nil, nil
	}
	if strings.Count(value, ",") >= maxDepends {
		return nil, fmt.Errorf("modinfo depends: more than %d modules", maxDepends)
	}
	deps := strings.Split(value, ",")
	for i, d := range deps {
		deps[i] = canonical(d)
		if !validName(deps[i]) {
			return nil, fmt.Errorf("modinfo depends: %q is no module name", d)
		}
	}
	return deps, nil
}

// infoSection returns section .modinfo. debug/elf is not made for hostile
// files, so the header's counts and the section's size are bounded by what the
// image can hold before anything is allocated by them.
func infoSection(image []byte) ([]byte, error) {
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return nil, fmt.Errorf("not an ELF object: %w", err)
	}
	if f.Type != elf.ET_REL {
		return nil, fmt.Errorf("ELF type %v, a module has ET_REL", f.Type)
	}
	for _, s := range f.Sections {
		if s.Name != ".modinfo" {
			continue
		}
		if s.Type != elf.SHT_PROGBITS || s.Flags&elf.SHF_COMPRESSED != 0 || s.FileSize > maxInfo {
			return nil, fmt.Errorf("section .modinfo: type %v, flags %v, %d bytes", s.Type, s.Flags, s.FileSize)
		}
		raw := make([]byte, s.FileSize)
		if n, err := s.ReadAt(raw, 0); n < len(raw) {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, fmt.Errorf("section .modinfo: %w", err)
		}
		return raw, nil
	}
	return nil, fmt.Errorf("no section .modinfo: not a kernel module")
}
