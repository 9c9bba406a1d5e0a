package toolchain

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/nitrolab/nitrolab/images/toolchain/debian"
)

// manifestFile says what is in the cache. It lies in the cache, and a copy
// beside the packages, which can make everything else new.
const manifestFile = "manifest.json"

// manifestFormat changes when an older nitrolab could misread the file.
const manifestFormat = 1

// A manifest lists the parts in a cache.
type manifest struct {
	Format int                 `json:"format"`
	Parts  map[string]*Content `json:"parts"` // by the part's name
}

// A Content says what a part in the cache was made from.
type Content struct {
	Version  string           `json:"version"` // of QEMU, the kernel's release, busybox's package version
	Folder   string           `json:"folder"`  // in the cache
	Mirror   string           `json:"mirror"`  // that it came from
	Obtained time.Time        `json:"obtained"`
	Packages []debian.Package `json:"packages"`
}

// readManifest reads the manifest or its copy. A cache that has none, or none
// that can be read, is an empty one. whole is false if the copy had to serve.
func readManifest(dir string) (_ *manifest, whole bool) {
	whole = true
	for _, name := range []string{filepath.Join(dir, manifestFile), filepath.Join(dir, debsDir, manifestFile)} {
		var m manifest
		if err := readJSON(name, &m); err != nil || m.Format != manifestFormat || !m.valid() {
			whole = false
			continue
		}
		return &m, whole
	}
	return &manifest{Format: manifestFormat, Parts: map[string]*Content{}}, true
}

// valid makes sure that the names in a manifest lead nowhere else.
func (m *manifest) valid() bool {
	for _, c := range m.Parts {
		if c == nil || len(c.Packages) == 0 || !isBase(c.Folder) {
			return false
		}
		for _, p := range c.Packages {
			if !isBase(p.Filename) {
				return false
			}
		}
	}
	return m.Parts != nil
}

func isBase(name string) bool {
	return name != "" && filepath.Base(name) == name && filepath.IsLocal(name) && name != "."
}

// write writes the manifest and its copy.
func (m *manifest) write(dir string) error {
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	if err := writeFile(filepath.Join(dir, debsDir, manifestFile), b); err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, manifestFile), b)
}

// removeUnused removes what no part and no part of before uses any more. What
// before used stays until the next time, because a QEMU that runs from it may
// still load modules.
func (m *manifest) removeUnused(dir string, before *manifest) error {
	used := map[string]bool{manifestFile: true}
	for _, m := range []*manifest{m, before} {
		for _, c := range m.Parts {
			used[c.Folder] = true
			for _, p := range c.Packages {
				used[p.Filename] = true
			}
		}
	}
	var errs []error
	entries, err := os.ReadDir(filepath.Join(dir, debsDir))
	errs = append(errs, err)
	for _, e := range entries {
		if !used[e.Name()] {
			errs = append(errs, os.RemoveAll(filepath.Join(dir, debsDir, e.Name())))
		}
	}
	for _, c := range components {
		folders, err := filepath.Glob(filepath.Join(dir, c.part.String()+"-*"))
		errs = append(errs, err)
		for _, f := range folders {
			if !used[filepath.Base(f)] {
				errs = append(errs, os.RemoveAll(f))
			}
		}
	}
	return errors.Join(errs...)
}
