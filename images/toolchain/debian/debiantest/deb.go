package debiantest

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io/fs"
	"sort"
	"strings"
	"testing"
)

// A File is one file of a [Deb]. With Link set it is a symbolic link.
type File struct {
	Content string
	Mode    fs.FileMode // 0 means 0644
	Link    string
}

// A Deb is a binary package to be made.
type Deb struct {
	Name, Version string
	Arch          string // empty means amd64
	Depends       string
	Files         map[string]File // by path, relative and with slashes
	Raw           []byte          // the package itself, in place of one made from Files
}

func (d Deb) arch() string {
	if d.Arch == "" {
		return "amd64"
	}
	return d.Arch
}

// filename is the name in the archive, without the version's epoch.
func (d Deb) filename() string {
	v := d.Version
	if _, after, ok := strings.Cut(v, ":"); ok {
		v = after
	}
	return fmt.Sprintf("%s_%s_%s.deb", d.Name, v, d.arch())
}

// control gives the control file without the final newline.
func (d Deb) control() string {
	c := fmt.Sprintf("Package: %s\nVersion: %s\nArchitecture: %s\nMaintainer: nobody <nobody@example.org>\n"+
		"Installed-Size: 1\nDescription: for a test\n made by it", d.Name, d.Version, d.arch())
	if d.Depends != "" {
		c += "\nDepends: " + d.Depends
	}
	return c
}

// Build gives the package as a file (deb(5)), not compressed.
func (d Deb) Build(t testing.TB) []byte {
	t.Helper()
	if d.Raw != nil {
		return d.Raw
	}
	return Archive(Tar(t, map[string]File{"control": {Content: d.control() + "\n"}}), Tar(t, d.Files))
}

// Archive puts a package together from its two tar archives.
func Archive(control, data []byte) []byte {
	var b bytes.Buffer
	b.WriteString("!<arch>\n")
	for _, m := range []struct {
		name string
		body []byte
	}{{"debian-binary", []byte("2.0\n")}, {"control.tar", control}, {"data.tar", data}} {
		fmt.Fprintf(&b, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", m.name, 0, 0, 0, "100644", len(m.body))
		b.Write(m.body)
		if len(m.body)%2 == 1 {
			b.WriteByte('\n')
		}
	}
	return b.Bytes()
}

// Tar gives a tar archive of files, sorted, as a package has it: with ./ in
// front and folders before what is in them.
func Tar(t testing.TB, files map[string]File) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	add := func(h *tar.Header, content string) {
		h.Format = tar.FormatGNU
		if err := w.WriteHeader(h); err != nil {
			t.Fatalf("write package: %v", err)
		}
		if _, err := w.Write([]byte(content)); err != nil {
			t.Fatalf("write package: %v", err)
		}
	}
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	sort.Strings(names)
	made := map[string]bool{"": true}
	add(&tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o755}, "")
	for _, name := range names {
		for i, c := range name {
			if dir := name[:i]; c == '/' && !made[dir] {
				made[dir] = true
				add(&tar.Header{Typeflag: tar.TypeDir, Name: "./" + dir + "/", Mode: 0o755}, "")
			}
		}
		f := files[name]
		if f.Link != "" {
			add(&tar.Header{Typeflag: tar.TypeSymlink, Name: "./" + name, Linkname: f.Link, Mode: 0o777}, "")
			continue
		}
		mode := f.Mode
		if mode == 0 {
			mode = 0o644
		}
		add(&tar.Header{Typeflag: tar.TypeReg, Name: "./" + name, Mode: int64(mode), Size: int64(len(f.Content))}, f.Content)
	}
	if err := w.Close(); err != nil {
		t.Fatalf("write package: %v", err)
	}
	return b.Bytes()
}
