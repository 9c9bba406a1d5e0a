package toolchain

import "slices"

// A Record is one line about the tool chain, for a table.
type Record struct {
	Part    string `json:"part"`   // qemu, kernel, busybox
	Source  Source `json:"source"` // explicit, system, debian
	Version string `json:"version"`
	Package string `json:"package,omitempty"` // Debian's, with the fields below
	Suite   string `json:"suite,omitempty"`
	SHA256  string `json:"sha256,omitempty"` // of the package
	Path    string `json:"path"`
}

// Records gives a line for each part, and after it, for one from Debian
// packages, a line for each other package that it was made from.
func (t *Toolchain) Records() []Record {
	var out []Record
	add := func(part Part, r Record) {
		r.Part = part.String()
		c := t.contents[part]
		if c == nil {
			out = append(out, r)
			return
		}
		main := mainPackage(c, part)
		r.Package, r.Suite, r.SHA256 = c.Packages[main].Name, c.Packages[main].Suite, c.Packages[main].SHA256
		if r.Version == "" {
			r.Version = c.Packages[main].Version
		}
		out = append(out, r)
		for i, p := range c.Packages {
			if i != main {
				out = append(out, Record{Part: r.Part, Source: Debian, Version: p.Version, Package: p.Name, Suite: p.Suite, SHA256: p.SHA256})
			}
		}
	}
	if t.QEMU != nil {
		add(PartQEMU, Record{Source: t.QEMU.Source, Version: t.QEMU.Version, Path: t.QEMU.Path})
	}
	if t.Kernel != nil {
		add(PartKernel, Record{Source: t.Kernel.Source, Version: t.Kernel.Release, Path: t.Kernel.Image})
	}
	if t.Busybox != "" {
		add(PartBusybox, Record{Source: t.busyboxSource, Path: t.Busybox})
	}
	return out
}

// Content gives what a part in the cache was made from, nil for a part that
// comes from elsewhere or was not asked for. The caller must not change it.
func (t *Toolchain) Content(part Part) *Content { return t.contents[part] }

// mainPackage gives the index of the package that a part is named by.
func mainPackage(c *Content, part Part) int {
	name := map[Part]string{PartQEMU: qemuPackage, PartBusybox: busyboxPackage}[part]
	for i := range slices.Backward(c.Packages) {
		if c.Packages[i].Name == name {
			return i
		}
	}
	return 0 // the kernel's image is the first that its metapackage leads to
}
