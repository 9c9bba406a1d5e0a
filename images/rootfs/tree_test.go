package rootfs_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/u-root/u-root/pkg/cpio"

	"github.com/nitrolab/nitrolab/images/rootfs"
)

// list is the tree as lines "path" or "path=content" or "path->target"; a
// directory ends in a slash.
func list(t testing.TB, tree *rootfs.Tree) []string {
	t.Helper()
	var out []string
	for e := range tree.Entries() {
		b := make([]byte, e.FileSize)
		if e.FileSize > 0 {
			if n, _ := e.ReadAt(b, 0); n != len(b) {
				t.Fatal("short content")
			}
		}
		switch e.Mode & cpio.S_IFMT {
		case cpio.S_IFDIR:
			out = append(out, e.Name+"/")
		case cpio.S_IFLNK:
			out = append(out, e.Name+"->"+string(b))
		case cpio.S_IFREG:
			out = append(out, e.Name+"="+string(b))
		default:
			out = append(out, fmt.Sprintf("%s %o", e.Name, e.Mode))
		}
	}
	if len(out) != tree.Len() {
		t.Errorf("Len is %d, there are %d entries", tree.Len(), len(out))
	}
	return out
}

// A step does one thing to a tree, written as text: "+path=content",
// "+path->target", "+path/", "hard path target", "-path" (whiteout),
// "opaque path", "layer".
func apply(tree *rootfs.Tree, step string) error {
	switch {
	case step == "layer":
		tree.NextLayer()
		return nil
	case strings.HasPrefix(step, "-"):
		return tree.Whiteout(step[1:])
	case strings.HasPrefix(step, "opaque "):
		return tree.Opaque(step[7:])
	case strings.HasPrefix(step, "hard "):
		f := strings.Fields(step)
		return tree.Link(f[1], f[2])
	}
	step = step[1:]
	if path, target, ok := strings.Cut(step, "->"); ok {
		return tree.Add(cpio.Symlink(path, target))
	}
	if path, content, ok := strings.Cut(step, "="); ok {
		return tree.Add(file(path, content))
	}
	return tree.Add(dir(step))
}

func TestTree(t *testing.T) {
	tests := []struct {
		name  string
		steps []string
		want  []string
		err   error // of the last step
	}{
		{name: "parents are made", steps: []string{"+a/b/c=1"}, want: []string{"a/", "a/b/", "a/b/c=1"}},
		{name: "names are cleaned", steps: []string{"+/a=1", "+./b=2", "+c//./d=3"}, want: []string{"a=1", "b=2", "c/", "c/d=3"}},
		{name: "the last one counts", steps: []string{"+a=1", "+a=2"}, want: []string{"a=2"}},
		{name: "directory over directory keeps files", steps: []string{"+a/b=1", "+a/"}, want: []string{"a/", "a/b=1"}},
		{name: "file over directory", steps: []string{"+a/b/c=1", "+a=2"}, want: []string{"a=2"}},
		{name: "directory over file", steps: []string{"+a=1", "+a/", "+a/b=2"}, want: []string{"a/", "a/b=2"}},
		{name: "directory over symbolic link", steps: []string{"+x/", "+a->x", "+a/", "+a/b=2"}, want: []string{"a/", "a/b=2", "x/"}},
		{name: "the last component is not followed", steps: []string{"+x=1", "+a->x", "+a=2"}, want: []string{"a=2", "x=1"}},

		{name: "dot dot", steps: []string{"+../a=1"}, err: rootfs.ErrDotDot},
		{name: "dot dot inside", steps: []string{"+a/../b=1"}, err: rootfs.ErrDotDot},
		{name: "below a file", steps: []string{"+a=1", "+a/b=2"}, want: []string{"a=1"}, err: rootfs.ErrNotDirectory},

		{name: "parent is a link", steps: []string{"+usr/bin/", "+bin->usr/bin", "+bin/app=1"}, want: []string{"bin->usr/bin", "usr/", "usr/bin/", "usr/bin/app=1"}},
		{name: "absolute link stays inside", steps: []string{"+evil->/etc", "+evil/passwd=1"}, want: []string{"etc/", "etc/passwd=1", "evil->/etc"}},
		{name: "dot dot link stays inside", steps: []string{"+evil->../../../../etc", "+evil/passwd=1"}, want: []string{"etc/", "etc/passwd=1", "evil->../../../../etc"}},
		{name: "dot dot after a link is physical", steps: []string{"+a/b/", "+l->a/b", "+m->l/..", "+m/x=1"}, want: []string{"a/", "a/b/", "a/x=1", "l->a/b", "m->l/.."}},
		{name: "link to itself", steps: []string{"+a->a", "+a/b=1"}, want: []string{"a->a"}, err: rootfs.ErrLoop},
		{name: "links in a circle", steps: []string{"+a->b", "+b->a", "+a/x=1"}, want: []string{"a->b", "b->a"}, err: rootfs.ErrLoop},
		{name: "link growing as it is followed", steps: []string{"+a->a/a", "+a/x=1"}, want: []string{"a->a/a"}, err: rootfs.ErrLoop},

		{name: "hard link", steps: []string{"+a=1", "hard b/c a"}, want: []string{"a=1", "b/", "b/c=1"}},
		{name: "hard link to a missing file", steps: []string{"hard b a"}, err: rootfs.ErrNotFound},
		{name: "hard link out", steps: []string{"hard b ../a"}, err: rootfs.ErrDotDot},
		{name: "hard link to itself", steps: []string{"+a=1", "hard a a"}, want: []string{"a=1"}},
		{name: "hard link over its own directory", steps: []string{"+a/b=1", "hard a a/b"}, want: []string{"a=1"}},
		{name: "hard link keeps the old file", steps: []string{"+a=1", "hard b a", "layer", "+a=2"}, want: []string{"a=2", "b=1"}},
		{name: "hard link survives a whiteout", steps: []string{"+a=1", "hard b a", "layer", "-a"}, want: []string{"b=1"}},

		{name: "whiteout", steps: []string{"+a/b/c=1", "+d=1", "layer", "-a"}, want: []string{"d=1"}},
		{name: "whiteout of nothing", steps: []string{"+d=1", "layer", "-a", "-x/y", "-d/e"}, want: []string{"d=1"}},
		{name: "whiteout spares its own layer", steps: []string{"+a=1", "layer", "+a=2", "-a"}, want: []string{"a=2"}},
		{name: "whiteout before the new file", steps: []string{"+a=1", "layer", "-a", "+a=2"}, want: []string{"a=2"}},
		{name: "whiteout of a directory with new files", steps: []string{"+a/old=1", "layer", "+a/new=2", "-a"}, want: []string{"a/", "a/new=2"}},
		{name: "whiteout through a link", steps: []string{"+usr/bin/app=1", "+bin->usr/bin", "layer", "-bin/app"}, want: []string{"bin->usr/bin", "usr/", "usr/bin/"}},
		{name: "whiteout of a link, not what it points at", steps: []string{"+x=1", "+a->x", "layer", "-a"}, want: []string{"x=1"}},
		{name: "whiteout out", steps: []string{"-../a"}, err: rootfs.ErrDotDot},
		{name: "opaque", steps: []string{"+a/x=1", "+a/y/z=1", "layer", "+a/new=2", "opaque a"}, want: []string{"a/", "a/new=2"}},
		{name: "opaque first", steps: []string{"+a/x=1", "layer", "opaque a", "+a/x=2"}, want: []string{"a/", "a/x=2"}},
		{name: "opaque root", steps: []string{"+a/x=1", "layer", "opaque .", "+b=2"}, want: []string{"b=2"}},
		{name: "opaque of nothing", steps: []string{"+a=1", "layer", "opaque x", "opaque a"}, want: []string{"a=1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tree := rootfs.New(rootfs.Limits{})
			for i, step := range tt.steps {
				err := apply(tree, step)
				if i == len(tt.steps)-1 && tt.err != nil {
					var pathError *rootfs.PathError
					if !errors.Is(err, tt.err) || !errors.As(err, &pathError) {
						t.Errorf("%s: error %v, want %v", step, err, tt.err)
					}
				} else if err != nil {
					t.Fatalf("%s: %v", step, err)
				}
			}
			if diff := cmp.Diff(tt.want, list(t, tree)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestWhiteoutResetsDirectory(t *testing.T) {
	tree := rootfs.New(rootfs.Limits{})
	must(t, tree.Add(cpio.Record{Info: cpio.Info{Name: "a", Mode: cpio.S_IFDIR | 0o700, UID: 7}}))
	tree.NextLayer()
	must(t, tree.Add(file("a/new", "1")))
	must(t, tree.Whiteout("a"))
	e, err := tree.Lookup("a")
	must(t, err)
	if e.Mode != cpio.S_IFDIR|0o755 || e.UID != 0 {
		t.Errorf("%+v", e)
	}
}

// zeros is content without end that is nowhere.
type zeros struct{}

func (zeros) ReadAt(p []byte, off int64) (int, error) { clear(p); return len(p), nil }

func TestAddFaults(t *testing.T) {
	long := strings.Repeat("a", 255)
	record := func(mode, size uint64) cpio.Record {
		return cpio.Record{ReaderAt: zeros{}, Info: cpio.Info{Name: "a", Mode: mode, FileSize: size}}
	}
	tests := []struct {
		name string
		file cpio.Record
		want string // "" for accepted
	}{
		{"longest component", file(long, ""), ""},
		{"component too long", file(long+"a", ""), "component of 256 bytes"},
		{"longest path", file(strings.Repeat(long+"/", 15)+strings.Repeat("b", 159), ""), ""},
		{"path too long", file(strings.Repeat(long+"/", 15)+strings.Repeat("b", 160), ""), "path has 4001 bytes"},
		{"NUL", file("a\x00b", ""), "has a NUL"},
		{"newline is a name like any other", file("a\nb", ""), ""},
		{"no type", record(0o644, 0), "file type is 0"},
		{"mode beyond 16 bits", record(1<<20|cpio.S_IFREG, 0), "has more than type and permissions"},
		{"negative size", record(cpio.S_IFREG, 1<<64-1), "has 18446744073709551615 bytes"},
		{"largest file", record(cpio.S_IFREG, 1<<32-1), ""},
		{"file too large", record(cpio.S_IFREG, 1<<32), "a cpio archive allows at most 4294967295"},
		{"no content", cpio.Record{Info: cpio.Info{Name: "a", Mode: cpio.S_IFREG, FileSize: 1}}, "no content"},
		{"owner too large", cpio.Record{Info: cpio.Info{Name: "a", Mode: cpio.S_IFDIR, UID: 1 << 32}}, "owner is 4294967296"},
		{"socket", cpio.Record{Info: cpio.Info{Name: "a", Mode: cpio.S_IFSOCK}}, ""},
		{"empty target", cpio.Symlink("a", ""), "has 0 bytes"},
		{"longest target", cpio.Symlink("a", strings.Repeat("x", 4095)), ""},
		{"target too long", cpio.Symlink("a", strings.Repeat("x", 4096)), "has 4096 bytes"},
		{"NUL in target", cpio.Symlink("a", "\x00"), "has a NUL"},
		{"root as a file", file("/", ""), "root must be a directory"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := rootfs.New(rootfs.Limits{}).Add(tt.file)
			if tt.want == "" {
				must(t, err)
			} else if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
			if err != nil && len(err.Error()) > 500 {
				t.Errorf("message of %d bytes", len(err.Error()))
			}
		})
	}
}

// TestPathGrows goes deeper and deeper through links, each path short.
func TestPathGrows(t *testing.T) {
	tree := rootfs.New(rootfs.Limits{})
	name := strings.Repeat("d", 200)
	must(t, tree.Add(cpio.Symlink("l0", name)))
	for i := 1; ; i++ {
		err := tree.Add(cpio.Symlink(fmt.Sprintf("l%d", i), fmt.Sprintf("l%d/%s", i-1, name)))
		must(t, err)
		err = tree.Add(file(fmt.Sprintf("l%d/x", i), ""))
		if err != nil {
			if i < 15 || !strings.Contains(err.Error(), "allowed are at most 4000") {
				t.Errorf("step %d: %v", i, err)
			}
			return
		}
		if i > 100 {
			t.Fatal("no limit")
		}
	}
}

func TestEntryLimit(t *testing.T) {
	tree := rootfs.New(rootfs.Limits{Entries: 3})
	must(t, tree.Add(file("a/b", "")))
	must(t, tree.Add(file("c", "")))
	if err := tree.Add(file("d", "")); !errors.Is(err, rootfs.ErrTooMany) {
		t.Errorf("error %v", err)
	}
	must(t, tree.Add(file("c", "again")))
	must(t, tree.Add(file("a", "replaces two")))
	must(t, tree.Add(file("d", "")))
	if err := tree.Link("e", "c"); !errors.Is(err, rootfs.ErrTooMany) {
		t.Errorf("error %v", err)
	}
}

func TestLookup(t *testing.T) {
	tree := newTree(t, file("usr/bin/env", "e"), cpio.Symlink("bin", "usr/bin"), cpio.Symlink("app", "/bin/env"), cpio.Symlink("gone", "nowhere"), cpio.Symlink("up", "../../usr"))
	for path, want := range map[string]error{
		"/bin/env": nil, "app": nil, "up/bin/env": nil, "../../bin/env": nil, "": nil,
		"gone": rootfs.ErrNotFound, "x": rootfs.ErrNotFound, "bin/env/x": rootfs.ErrNotDirectory,
	} {
		e, err := tree.Lookup(path)
		if !errors.Is(err, want) {
			t.Errorf("%s: error %v, want %v", path, err, want)
		}
		if err == nil && path != "" && e.FileSize != 1 {
			t.Errorf("%s: %+v", path, e)
		}
	}
}

func TestMkdir(t *testing.T) {
	tree := newTree(t, cpio.Directory("tmp", 0o1777), cpio.Symlink("run", "var/run"))
	for _, d := range []string{"tmp", "run", "proc", "a/b", "/"} {
		must(t, tree.Mkdir(d))
	}
	want := []string{"a/", "a/b/", "proc/", "run->var/run", "tmp/"}
	if diff := cmp.Diff(want, list(t, tree)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if e, err := tree.Lookup("tmp"); err != nil || e.Mode != cpio.S_IFDIR|0o1777 {
		t.Errorf("%o, %v", e.Mode, err)
	}
	must(t, tree.Add(file("f", "")))
	if err := tree.Mkdir("f/x"); !errors.Is(err, rootfs.ErrNotDirectory) {
		t.Errorf("error %v", err)
	}
}

// FuzzTree applies scripts of steps to a tree: no panic, and the count and the
// order of what is written stay right.
func FuzzTree(f *testing.F) {
	f.Add("+a->b\n+b/c=1\nhard d b/c\nlayer\n-b\nopaque .\n+a/x=2")
	f.Add("+a->a/../a\n+a/b=1\nhard a a\nlayer\n+a/\n-a")
	f.Fuzz(func(t *testing.T, script string) {
		tree := rootfs.New(rootfs.Limits{Entries: 200})
		for step := range strings.SplitSeq(script, "\n") {
			if len(step) < 2 || strings.HasPrefix(step, "hard ") && len(strings.Fields(step)) != 3 {
				continue
			}
			_ = apply(tree, step) // errors are fine
		}
		list(t, tree)
		seen := map[string]bool{"": true, ".": true}
		for e := range tree.Entries() {
			parent := ""
			if i := strings.LastIndexByte(e.Name, '/'); i >= 0 {
				parent = e.Name[:i]
			}
			if seen[e.Name] || !seen[parent] {
				t.Fatalf("%q twice or before its parent", e.Name)
			}
			seen[e.Name] = true
		}
	})
}
