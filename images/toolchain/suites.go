package toolchain

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nitrolab/nitrolab/images/toolchain/debian"
)

// A suiteChoice is a place in the archive that may have everything.
type suiteChoice struct {
	base string // the kernel, busybox and what QEMU depends on
	qemu string // QEMU itself, with what it needs newer; empty if base has it
	why  string
}

// suites are tried in order, and the first that has what is wanted serves. No
// version is named anywhere: the archive drops superseded ones within weeks.
var suites = []suiteChoice{
	{"trixie", "trixie-backports", "Debian 13 has the kernel 6.12 that the guests are made for; its own QEMU is 10.0, backports follow the newest"},
	{"stable", "stable-backports", "whatever release is current, once the names above have left the mirrors"},
	{"forky", "", "Debian 14, on a mirror without backports: QEMU is new enough from the start"},
	{"testing", "", "as the last, under the name that does not age"},
}

// An attempt is one choice that was tried on one mirror.
type attempt struct {
	mirror, suites string
	err            error
}

// thePackages stands in attempt.suites for the fetching of packages themselves.
const thePackages = "packages"

// An offer is an archive with the packages that were asked for, not fetched yet.
type offer struct {
	archive  *debian.Archive
	mirror   string // without password
	packages map[Part][]debian.Package
}

// findOffer looks through mirrors and suites for one that has all parts. What
// it gives must be closed.
func (s *store) findOffer(ctx context.Context, parts Part) (*offer, error) {
	host, mirrors, keyring, err := s.archiveConfig(ctx, parts)
	if err != nil {
		return nil, err
	}
	var tried []attempt
	for _, m := range mirrors {
		a, err := debian.Open(debian.Config{
			Dir: s.path("apt"), Debs: s.path(debsDir), Mirror: m, Keyring: keyring,
			Architecture: "amd64", Host: host, Lock: s.lockFile,
		})
		if err != nil {
			return nil, s.explain(parts, nil, err)
		}
		o := &offer{archive: a, mirror: debian.Redact(m)}
		for _, c := range s.opts.suites {
			if o.packages, err = s.tryChoice(ctx, a, c, parts); err == nil {
				return o, nil
			}
			tried = append(tried, attempt{o.mirror, c.names(parts), err})
			if errors.Is(err, debian.ErrNoSpace) || ctx.Err() != nil {
				return nil, errors.Join(s.explain(parts, tried, err), a.Close())
			}
			if errors.Is(err, debian.ErrUnreachable) {
				break // as will be the other suites
			}
		}
		if err := a.Close(); err != nil {
			return nil, err
		}
	}
	return nil, s.explain(parts, tried, nil)
}

// names says which suites a choice takes for parts.
func (c suiteChoice) names(parts Part) string { return strings.Join(c.list(parts), " and ") }

func (c suiteChoice) list(parts Part) []string {
	if c.qemu != "" && parts&PartQEMU != 0 {
		return []string{c.base, c.qemu}
	}
	return []string{c.base}
}

// tryChoice fetches the indexes of a choice and resolves parts in it.
func (s *store) tryChoice(ctx context.Context, a *debian.Archive, c suiteChoice, parts Part) (_ map[Part][]debian.Package, err error) {
	stage := s.opts.Progress.Stage("package lists", 100, Percent)
	err = a.Update(ctx, func(p float64) { stage.Set(int64(p)) }, c.list(parts)...)
	stage.End(c.names(parts), err)
	if err != nil {
		return nil, err
	}
	stage = s.opts.Progress.Stage("dependencies", 0, Count)
	out, n := map[Part][]debian.Package{}, 0
	for _, comp := range components {
		if parts&comp.part == 0 || err != nil {
			continue
		}
		out[comp.part], err = comp.resolve(ctx, a, c)
		n += len(out[comp.part])
	}
	stage.Set(int64(n))
	stage.End(fmt.Sprintf("%d packages", n), err)
	return out, err
}

// archiveConfig gathers what an archive is opened with.
func (s *store) archiveConfig(ctx context.Context, parts Part) (*debian.Host, []string, string, error) {
	host, err := debian.ReadHost(ctx)
	if errors.Is(err, debian.ErrNoApt) {
		return nil, nil, "", &UnavailableError{
			Parts: parts, Err: err,
			Reason: fmt.Sprintf("this machine has no apt to fetch Debian packages with, and none are cached in %s", s.dir),
			Hint:   setHint(parts),
		}
	}
	if err != nil {
		return nil, nil, "", err
	}
	for _, line := range host.Skipped {
		s.opts.Progress.Note("apt sources: skipped " + line)
	}
	mirrors := []string{s.opts.Mirror}
	if s.opts.Mirror == "" {
		mirrors = nil
		for _, m := range host.Mirrors {
			mirrors = append(mirrors, m.URI)
		}
	}
	if len(mirrors) == 0 {
		return nil, nil, "", &UnavailableError{
			Parts:  parts,
			Reason: "this machine's apt sources name no mirror of Debian's main archive",
			Hint:   fmt.Sprintf("set %s to one, or %s", EnvMirror, setHint(parts)),
		}
	}
	keyring := s.opts.Keyring
	if keyring == "" {
		if len(host.Keyrings) == 0 {
			return nil, nil, "", &UnavailableError{
				Parts: parts, Err: debian.ErrNoKeyring,
				Reason: "this machine has no Debian archive keyring to check packages with",
				Hint:   fmt.Sprintf("install the package debian-archive-keyring, or set %s, or %s", EnvKeyring, setHint(parts)),
			}
		}
		keyring = host.Keyrings[0]
	}
	return host, mirrors, keyring, nil
}

// explain puts what was tried into one sentence. stop, if not nil, is what
// ended the search.
func (s *store) explain(parts Part, tried []attempt, stop error) error {
	if stop != nil && !errors.Is(stop, debian.ErrNoSpace) {
		return fmt.Errorf("get %s: %w", partNames(parts), stop)
	}
	e := &UnavailableError{Parts: parts, Err: stop}
	if stop != nil {
		e.Reason = fmt.Sprintf("disk full while working in %s: %v", s.dir, stop)
		e.Hint = fmt.Sprintf("make room or set %s to another disk", EnvCache)
		return e
	}
	var causes []error
	var lines []string
	for _, t := range tried {
		causes = append(causes, t.err)
		lines = append(lines, fmt.Sprintf("%s %s: %v", t.mirror, t.suites, t.err))
	}
	e.Err = errors.Join(causes...)
	count := func(kind error) (n int) {
		for _, t := range tried {
			if errors.Is(t.err, kind) {
				n++
			}
		}
		return n
	}
	switch {
	case len(tried) == 1 && tried[0].suites == thePackages && count(debian.ErrUnreachable) == 0:
		e.Reason = fmt.Sprintf("the archive's lists and its packages do not fit together (%s)", lines[0])
		e.Hint = fmt.Sprintf("the mirror may be at work on an update: try again in some minutes, or set %s to another", EnvMirror)
	case count(debian.ErrUnreachable) == len(tried):
		e.Reason = fmt.Sprintf("not cached in %s, and the Debian archive cannot be reached (%s)", s.dir, strings.Join(lines, "; "))
		e.Hint = "connect to a network once, or " + setHint(parts)
	case count(debian.ErrSignature) > 0: // the rest does not matter then
		e.Reason = fmt.Sprintf("the archive is not signed by a key in the keyring (%s)", strings.Join(lines, "; "))
		e.Hint = fmt.Sprintf("update the package debian-archive-keyring, or set %s, or %s", EnvKeyring, setHint(parts))
	default:
		e.Reason = fmt.Sprintf("no suite of the archive has what is needed (%s)", strings.Join(lines, "; "))
		e.Hint = fmt.Sprintf("set %s to a full mirror, or %s", EnvMirror, setHint(parts))
	}
	return e
}
