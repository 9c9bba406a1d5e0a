package debian

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// A Host is what a machine's apt configuration says that matters here.
type Host struct {
	Mirrors  []Mirror // that may have Debian's main archive, likeliest first
	Keyrings []string // Debian archive keyrings found, best first
	Skipped  []string // sources that could not be read, one sentence each
	settings []setting
	helper   string // path of apt-helper, empty if there is none
}

// tools are the programs of apt and dpkg in use. All come with apt.
var tools = []string{"apt-config", "apt-get", "apt-cache", "dpkg-deb"}

// knownKeyrings is where the package debian-archive-keyring puts its keyring,
// on Debian and on other distributions that have that package.
var knownKeyrings = []string{
	"/usr/share/keyrings/debian-archive-keyring.gpg",
	"/usr/share/keyrings/debian-archive-keyring.pgp",
}

// ReadHost reads the configuration of this machine's apt. It gives [ErrNoApt]
// if there is no apt. A sources file that cannot be read is skipped and told.
func ReadHost(ctx context.Context) (*Host, error) {
	for _, t := range tools {
		if _, err := exec.LookPath(t); err != nil {
			return nil, fmt.Errorf("%w (%s not found)", ErrNoApt, t)
		}
	}
	dump, err := run(ctx, command{path: "apt-config", args: []string{"dump"}})
	if err != nil {
		return nil, fmt.Errorf("read apt configuration: %w", err)
	}
	all := parseDump(dump)
	h := &Host{settings: carry(all)}
	sources := h.readSources(lookupPath(all, "Dir::Etc::sourcelist"), lookupPath(all, "Dir::Etc::sourceparts"))
	h.Mirrors = MainMirrors(sources)
	// It lies beside the methods, wherever the distribution puts those.
	if p := filepath.Join(lookupPath(all, "Dir::Bin::methods"), "..", "apt-helper"); exists(p) {
		h.helper = p
	}
	h.findKeyrings(knownKeyrings, lookupPath(all, "Dir::Etc::trustedparts"))
	return h, nil
}

// readSources reads the main list and the files beside it.
func (h *Host) readSources(list, parts string) []Source {
	files := []string{list}
	entries, err := os.ReadDir(parts)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		h.Skipped = append(h.Skipped, err.Error())
	}
	for _, e := range entries {
		files = append(files, filepath.Join(parts, e.Name()))
	}
	var out []Source
	for _, f := range files {
		s, err := readSourceFile(f)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			h.Skipped = append(h.Skipped, fmt.Sprintf("%s: %v", f, err))
		}
		out = append(out, s...)
	}
	return out
}

// readSourceFile reads one file by the style that its name says; other files
// are none of apt's.
func readSourceFile(name string) ([]Source, error) {
	var parse func(io.Reader) ([]Source, error)
	switch filepath.Ext(name) {
	case ".list":
		parse = ParseList
	case ".sources":
		parse = ParseSources
	default:
		return nil, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return parse(f)
}

// findKeyrings looks for Debian's keyring: in its known places, then where a
// source names one, then among the keys that apt trusts for everything.
func (h *Host) findKeyrings(known []string, trusted string) {
	for _, m := range h.Mirrors {
		// Only by its usual name: another party's key must not speak for Debian.
		if strings.HasPrefix(filepath.Base(m.SignedBy), "debian-archive") {
			known = append(slices.Clip(known), m.SignedBy)
		}
	}
	for _, ext := range []string{"gpg", "asc", "pgp"} {
		more, err := filepath.Glob(filepath.Join(trusted, "debian-archive-*."+ext))
		if err == nil && len(more) > 0 {
			// One keyring per key: apt takes several, divided by commas.
			known = append(known, strings.Join(more, ","))
		}
	}
	for _, k := range known {
		first, _, _ := strings.Cut(k, ",")
		if info, err := os.Stat(first); err == nil && info.Mode().IsRegular() && !slices.Contains(h.Keyrings, k) {
			h.Keyrings = append(h.Keyrings, k)
		}
	}
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}
