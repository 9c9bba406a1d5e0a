package debian

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
)

// A Package is one binary package of the archive.
type Package struct {
	Name         string `json:"name"`
	Version      string `json:"version"`
	Architecture string `json:"architecture"`
	Suite        string `json:"suite"`          // that it came from, by the name that was asked for
	Filename     string `json:"filename"`       // of the .deb in Config.Debs
	SHA256       string `json:"sha256"`         // of the .deb, in hex, from the signed index
	Size         int64  `json:"size"`           // of the .deb in bytes
	Installed    int64  `json:"installed_size"` // bytes unpacked, as the maintainer says
}

// maxPackages bounds a resolved set; QEMU has 90.
const maxPackages = 1000

// Versions gives the versions of a package that each suite of the last Update
// has, by suite.
func (a *Archive) Versions(ctx context.Context, name string) (map[string]string, error) {
	rows, err := a.madison(ctx, []string{name})
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, r := range rows {
		if _, ok := out[r.suite]; !ok { // newest first
			out[r.suite] = r.version
		}
	}
	return out, nil
}

// Closure gives name as it is in suite, with everything that it depends on, as
// apt would install it on an empty machine: from suite where that has it, else
// from the other suites of the last Update.
func (a *Archive) Closure(ctx context.Context, suite, name string) ([]Package, error) {
	out, err := a.tool(ctx, nil, "", "apt-get", "install", "-qq", "-s", "-t", suite, name)
	if err != nil {
		return nil, err
	}
	var specs []string
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		// Inst libc6 (2.41-12 Debian:13.2/stable [amd64]) []
		f := strings.Fields(lines.Text())
		if len(f) < 3 || f[0] != "Inst" || !strings.HasPrefix(f[2], "(") {
			continue
		}
		specs = append(specs, f[1]+"="+strings.Trim(f[2], "()"))
	}
	if len(specs) == 0 || len(specs) > maxPackages {
		return nil, fmt.Errorf("resolve package %s: %d packages: %w", name, len(specs), ErrNotThere)
	}
	return a.describe(ctx, specs)
}

// Alone gives name as it is in suite, without what it depends on.
func (a *Archive) Alone(ctx context.Context, suite, name string) (Package, error) {
	versions, err := a.Versions(ctx, name)
	if err != nil {
		return Package{}, err
	}
	v, ok := versions[suite]
	if !ok {
		return Package{}, fmt.Errorf("resolve package %s in %s: %w", name, suite, ErrNotThere)
	}
	ps, err := a.describe(ctx, []string{name + "=" + v})
	if err != nil {
		return Package{}, err
	}
	return ps[0], nil
}

// Follow gives the packages that a metapackage leads to: those among its
// dependencies, and among theirs, whose name starts with one of prefixes and that
// are tied to one version ("= 6.12.117-1"), in the order met and without the
// metapackage itself.
//
// That is how a kernel is found: linux-image-cloud-amd64 depends on the image of
// the day, which in newer releases depends on its modules.
func (a *Archive) Follow(ctx context.Context, suite, name string, prefixes ...string) ([]Package, error) {
	versions, err := a.Versions(ctx, name)
	if err != nil {
		return nil, err
	}
	v, ok := versions[suite]
	if !ok {
		return nil, fmt.Errorf("resolve package %s in %s: %w", name, suite, ErrNotThere)
	}
	first := name + "=" + v
	seen, queue := map[string]bool{first: true}, []string{first}
	var out []Package
	for len(queue) > 0 {
		ps, depends, err := a.show(ctx, queue)
		if err != nil {
			return nil, err
		}
		out, queue = append(out, ps...), nil
		for _, d := range depends {
			dep, version, tied := tiedDependency(d)
			matches := slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(dep, p) })
			spec := dep + "=" + version
			if tied && matches && !seen[spec] && len(seen) < maxPackages {
				seen[spec], queue = true, append(queue, spec)
			}
		}
	}
	if out = out[1:]; len(out) == 0 {
		return nil, fmt.Errorf("resolve package %s: it leads to no other: %w", name, ErrNotThere)
	}
	return a.withSuites(ctx, out)
}

// tiedDependency reads "linux-image-6.12.117+deb13-cloud-amd64 (= 6.12.117-1)".
func tiedDependency(d string) (name, version string, ok bool) {
	name, rest, _ := strings.Cut(strings.TrimSpace(d), " ")
	name, _, _ = strings.Cut(name, ":")
	rest = strings.TrimSpace(rest)
	rest, opened := strings.CutPrefix(rest, "(=")
	rest, closed := strings.CutSuffix(rest, ")")
	return name, strings.TrimSpace(rest), opened && closed && name != ""
}

// describe gives the packages that name=version specs name, in their order.
func (a *Archive) describe(ctx context.Context, specs []string) ([]Package, error) {
	ps, _, err := a.show(ctx, specs)
	if err != nil {
		return nil, err
	}
	return a.withSuites(ctx, ps)
}

// show reads the index entries of specs. It also gives the dependencies of
// all of them, each once and still with its version.
func (a *Archive) show(ctx context.Context, specs []string) ([]Package, []string, error) {
	out, err := a.tool(ctx, nil, "", "apt-cache", append([]string{"show"}, specs...)...)
	if err != nil {
		return nil, nil, err
	}
	stanzas, err := readStanzas(bytes.NewReader(out))
	if err != nil {
		return nil, nil, err
	}
	bySpec := map[string]Package{}
	var depends []string
	for _, s := range stanzas {
		p, err := packageOf(s)
		if err != nil {
			return nil, nil, err
		}
		bySpec[p.Name+"="+p.Version] = p
		for _, d := range strings.Split(s["depends"], ",") {
			if d = strings.TrimSpace(d); d != "" {
				depends = append(depends, d)
			}
		}
	}
	ps := make([]Package, 0, len(specs))
	for _, spec := range specs {
		name, version, _ := strings.Cut(spec, "=")
		name, _, _ = strings.Cut(name, ":")
		p, ok := bySpec[name+"="+version]
		if !ok {
			return nil, nil, fmt.Errorf("resolve package %s: %w", spec, ErrNotThere)
		}
		ps = append(ps, p)
	}
	return ps, depends, nil
}

// packageOf reads an index entry.
func packageOf(s stanza) (Package, error) {
	p := Package{
		Name:         s["package"],
		Version:      s["version"],
		Architecture: s["architecture"],
		SHA256:       strings.ToLower(s["sha256"]),
	}
	bad := func(field string) (Package, error) {
		return Package{}, fmt.Errorf("read index entry of package %q: field %s %q", p.Name, field, s[strings.ToLower(field)])
	}
	if !isName(p.Name) {
		return bad("Package")
	}
	if p.Version == "" || strings.ContainsAny(p.Version, "/ \t\n") {
		return bad("Version")
	}
	if !isName(p.Architecture) {
		return bad("Architecture")
	}
	if b, err := hex.DecodeString(p.SHA256); err != nil || len(b) != 32 {
		return bad("SHA256")
	}
	var err error
	if p.Size, err = strconv.ParseInt(s["size"], 10, 64); err != nil || p.Size <= 0 {
		return bad("Size")
	}
	if v := s["installed-size"]; v != "" { // kibibytes
		kib, err := strconv.ParseInt(v, 10, 64)
		if err != nil || kib < 0 || kib > 1<<40 {
			return bad("Installed-Size")
		}
		p.Installed = kib << 10
	}
	// apt names the file by the version with the epoch's colon escaped, whatever
	// the archive calls it (pkgAcqArchive, QuoteString).
	p.Filename = fmt.Sprintf("%s_%s_%s.deb", p.Name, strings.ReplaceAll(p.Version, ":", "%3a"), p.Architecture)
	if path.Base(p.Filename) != p.Filename {
		return bad("Version")
	}
	return p, nil
}

// isName reports whether s can be the name of a package or an architecture:
// it goes into command lines and file names.
func isName(s string) bool {
	for i, c := range []byte(s) {
		alnum := 'a' <= c && c <= 'z' || '0' <= c && c <= '9'
		if !alnum && (i == 0 || c != '+' && c != '-' && c != '.') {
			return false
		}
	}
	return s != ""
}

// withSuites fills in the suite of each package.
func (a *Archive) withSuites(ctx context.Context, ps []Package) ([]Package, error) {
	names := make([]string, len(ps))
	for i, p := range ps {
		names[i] = p.Name
	}
	rows, err := a.madison(ctx, names)
	if err != nil {
		return nil, err
	}
	for i := range ps {
		for _, r := range rows {
			if r.name == ps[i].Name && r.version == ps[i].Version {
				ps[i].Suite = r.suite
				break
			}
		}
	}
	return ps, nil
}

// A madisonRow is one line of "apt-cache madison".
type madisonRow struct{ name, version, suite string }

// madison lists which suite has which version of the packages, newest first.
func (a *Archive) madison(ctx context.Context, names []string) ([]madisonRow, error) {
	out, err := a.tool(ctx, nil, "", "apt-cache", append([]string{"madison"}, names...)...)
	var failed *ToolError
	if errors.As(err, &failed) && errors.Is(failed, ErrNotThere) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var rows []madisonRow
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		// busybox-static | 1:1.37.0-6 | URI trixie/main amd64 Packages
		f := strings.Split(lines.Text(), "|")
		if len(f) != 3 {
			continue
		}
		where := strings.Fields(f[2])
		if len(where) < 2 {
			continue
		}
		suite, _, _ := strings.Cut(where[1], "/main")
		rows = append(rows, madisonRow{strings.TrimSpace(f[0]), strings.TrimSpace(f[1]), suite})
	}
	return rows, nil
}
