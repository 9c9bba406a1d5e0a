// Package kmod finds kernel modules and what they depend upon in the module
// folder of a distribution's kernel package, and returns them uncompressed, in
// the order in which a guest must load them.
//
// It needs no depmod. Debian's package as downloaded holds modules.builtin and
// the modules and nothing else, because modules.dep is made at installation;
// each module names its direct dependencies itself, in section .modinfo, and
// that is the only source used. Soft dependencies are not followed.
package kmod

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
)

const (
	// maxModule bounds one uncompressed module; the largest of Debian's kernel
	// has 9 MiB.
	maxModule = 64 << 20

	// maxResolved bounds the modules of one result.
	maxResolved = 256

	// maxIndexed bounds the entries of a module folder that are looked at;
	// Debian's cloud kernel has 1,600.
	maxIndexed = 1 << 16
)

// A Module is one kernel module, ready to be loaded.
type Module struct {
	Name    string // as in /proc/modules, with underscores
	Release string // release of the kernel it was built for; "" if it does not say
	Image   []byte // uncompressed ELF object, signature included
}

// NotFoundError says that a module is neither in the folder nor built into the
// kernel.
type NotFoundError struct {
	Name string // the module
	For  string // the module that depends on it, "" if it was asked for
}

// Error implements error.
func (e *NotFoundError) Error() string {
	if e.For == "" {
		return fmt.Sprintf("module %s: neither in the module folder nor built in", e.Name)
	}
	return fmt.Sprintf("module %s, needed by %s: neither in the module folder nor built in", e.Name, e.For)
}

// Resolve returns the named modules and everything they depend on, each once
// and after its dependencies, in an order that depends only on the arguments
// and the folder. dir is the folder of one kernel, .../lib/modules/<release>.
// A name may be written with "-" or "_". What is built into the kernel is left
// out, so that the result may be empty.
//
// Nothing outside dir is read, also if a symbolic link in it leads out.
func Resolve(dir string, names ...string) ([]Module, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open module folder: %w", err)
	}
	defer root.Close()
	return resolve(root.FS(), names)
}

func resolve(fsys fs.FS, names []string) ([]Module, error) {
	index, err := indexModules(fsys)
	if err != nil {
		return nil, err
	}
	r := &resolver{fsys: fsys, index: index, state: make(map[string]state)}
	for _, name := range names {
		if err := r.add(canonical(name), ""); err != nil {
			return nil, err
		}
	}
	return r.order, nil
}

type state int

const (
	unseen  state = iota
	pending       // its dependencies are being added
	done          // it is in order, or built in
)

type resolver struct {
	fsys  fs.FS
	index index
	state map[string]state
	order []Module
}

func (r *resolver) add(name, neededBy string) error {
	switch r.state[name] {
	case done:
		return nil
	case pending:
		return fmt.Errorf("module %s: depends on itself by way of %s", name, neededBy)
	}
	file, ok := r.index.file[name]
	if !ok {
		if r.index.builtin[name] {
			r.state[name] = done
			return nil
		}
		return &NotFoundError{Name: name, For: neededBy}
	}
	if len(r.state) >= maxResolved {
		return fmt.Errorf("module %s: more than %d modules are needed", name, maxResolved)
	}
	r.state[name] = pending

	image, err := readModule(r.fsys, file)
	if err != nil {
		return fmt.Errorf("module %s: %w", name, err)
	}
	info, err := ParseInfo(image)
	if err != nil {
		return fmt.Errorf("module %s: %w", name, err)
	}
	for _, dep := range info.Depends {
		if err := r.add(dep, name); err != nil {
			return err
		}
	}
	r.state[name] = done
	r.order = append(r.order, Module{Name: name, Release: info.Release, Image: image})
	return nil
}

// index says where modules are.
type index struct {
	file    map[string]string // name to path in the folder
	builtin map[string]bool
}

// suffixes of module files, with the compression each stands for.
var suffixes = []string{".ko", ".ko.xz", ".ko.zst", ".ko.gz"}

func indexModules(fsys fs.FS) (index, error) {
	x := index{file: make(map[string]string), builtin: make(map[string]bool)}
	if err := readBuiltin(fsys, x.builtin); err != nil {
		return x, err
	}
	seen := 0
	err := fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if seen++; seen > maxIndexed {
			return fmt.Errorf("more than %d files", maxIndexed)
		}
		if !d.Type().IsRegular() {
			return nil // directories are entered by WalkDir, links (build, source) are not
		}
		name, ok := moduleName(p)
		if !ok {
			return nil
		}
		// depmod's default order: updates/ before what came with the kernel.
		if old, dup := x.file[name]; !dup || strings.HasPrefix(p, "updates/") && !strings.HasPrefix(old, "updates/") {
			x.file[name] = p
		}
		return nil
	})
	if err != nil {
		return x, fmt.Errorf("read module folder: %w", err)
	}
	if len(x.file) == 0 && len(x.builtin) == 0 {
		return x, fmt.Errorf("read module folder: it holds no module and no list of built-in ones")
	}
	return x, nil
}

// moduleName is the module a path names, if it names one.
func moduleName(p string) (string, bool) {
	base := path.Base(p)
	i := slices.IndexFunc(suffixes, func(s string) bool { return strings.HasSuffix(base, s) })
	if i < 0 {
		return "", false
	}
	name := canonical(strings.TrimSuffix(base, suffixes[i]))
	return name, validName(name)
}

// canonical writes a module's name as the kernel does.
func canonical(name string) string { return strings.ReplaceAll(name, "-", "_") }

// validName accepts what the kernel's build produces. Names become file names
// in a ramdisk, so that nothing else may pass.
func validName(name string) bool {
	if name == "" || len(name) > 64 {
		return false
	}
	for _, c := range []byte(name) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_':
		default:
			return false
		}
	}
	return true
}
