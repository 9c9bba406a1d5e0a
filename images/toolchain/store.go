package toolchain

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nitrolab/nitrolab/images/toolchain/debian"
)

// debsDir holds the packages. They are kept after unpacking: the archive drops
// a version within weeks of the next one, so they are the only way to repair a
// cache without changing what is in it, and the only one without a network.
// 72 MB beside 150 MB unpacked.
const debsDir = "debs"

// A store is the cache of parts made from Debian packages.
type store struct {
	dir      string
	opts     Options
	lockFile *os.File // while locked
}

func newStore(opts Options) *store {
	return &store{dir: filepath.Join(opts.CacheDir, "toolchain"), opts: opts}
}

func (s *store) path(elem ...string) string {
	return filepath.Join(append([]string{s.dir}, elem...)...)
}

// ensure makes sure that the cache has parts, undamaged, and gives what they are.
// Without anything to do it takes no lock and writes nothing, so that a cache
// may be read-only.
func (s *store) ensure(ctx context.Context, parts Part) (*manifest, error) {
	m, state, err := s.look(ctx, parts, false)
	if err != nil || state.fine() {
		return m, err
	}
	if err := s.lock(ctx); err != nil {
		if state.bad == 0 && isReadOnly(err) {
			return m, nil // stamps differ, contents do not
		}
		return nil, err
	}
	defer s.unlock()
	// Another process may have done it all by now.
	if m, state, err = s.look(ctx, parts, false); err != nil {
		return nil, err
	}
	return m, s.mend(ctx, m, state)
}

// lock takes the cache's lock, and makes the cache if there is none.
func (s *store) lock(ctx context.Context) error {
	if err := os.MkdirAll(s.path(debsDir), 0o755); err != nil {
		return &UnavailableError{Parts: s.opts.Parts, Err: err, Reason: fmt.Sprintf("cannot write the cache: %v", err), Hint: "set " + EnvCache}
	}
	f, err := lock(ctx, s.path("lock"), s.opts.Progress.Note)
	if err != nil {
		return err
	}
	s.lockFile = f
	// What an interrupted run has left. Under the lock nobody uses it.
	leftovers, err := filepath.Glob(s.path("tmp-*"))
	for _, l := range append(leftovers, s.path("apt")) {
		err = errors.Join(err, os.RemoveAll(l))
	}
	if err != nil {
		s.unlock()
		return fmt.Errorf("clean cache: %w", err)
	}
	return nil
}

func (s *store) unlock() {
	_ = s.lockFile.Close() // only a lock
	s.lockFile = nil
}

// A condition is what look has found.
type condition struct {
	bad    Part     // parts missing or damaged
	damage []string // what is damaged; a part that is just not there is not
	stale  bool     // stamps or the manifest want writing, contents are right
}

func (c condition) fine() bool { return c.bad == 0 && !c.stale }

// look reads the manifest and sees whether parts are there and undamaged.
func (s *store) look(ctx context.Context, parts Part, deep bool) (*manifest, condition, error) {
	m, whole := readManifest(s.dir)
	c := condition{stale: !whole}
	for _, comp := range components {
		if parts&comp.part == 0 {
			continue
		}
		content, ok := m.Parts[comp.part.String()]
		if !ok {
			c.bad |= comp.part
			continue
		}
		damage, stale, err := s.tree(content).check(ctx, deep)
		if err != nil {
			return nil, c, err
		}
		c.stale = c.stale || stale
		if len(damage) > 0 {
			c.bad |= comp.part
		}
		for _, d := range damage {
			c.damage = append(c.damage, content.Folder+"/"+d)
		}
	}
	return m, c, nil
}

func (s *store) tree(c *Content) tree { return tree{s.path(c.Folder)} }

// mend does what look found to be needed, with the lock held: parts are
// unpacked again from their packages, and fetched if those are gone or damaged
// too. m is brought up to date.
func (s *store) mend(ctx context.Context, m *manifest, c condition) error {
	for _, d := range c.damage {
		s.opts.Progress.Note("cache is damaged: " + d)
	}
	var fetch Part
	for _, comp := range components {
		if c.bad&comp.part == 0 {
			continue
		}
		content, ok := m.Parts[comp.part.String()]
		if !ok || !s.packagesWhole(ctx, content) {
			fetch |= comp.part
			continue
		}
		if err := s.build(ctx, comp, content); err != nil {
			return s.explainBuild(comp.part, err)
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if fetch != 0 {
		return s.fetch(ctx, m, fetch)
	}
	if c.fine() {
		return nil
	}
	for _, content := range m.Parts {
		if damage, stale, err := s.tree(content).check(ctx, false); err != nil || len(damage) > 0 || !stale {
			continue
		}
		if err := s.tree(content).restamp(); err != nil {
			return err
		}
	}
	return m.write(s.dir)
}

// packagesWhole reports whether all packages of a part are there undamaged.
func (s *store) packagesWhole(ctx context.Context, c *Content) bool {
	whole := true
	for _, p := range c.Packages {
		if err := debian.Check(ctx, s.path(debsDir), p); err != nil {
			whole = false
			if !errors.Is(err, debian.ErrNotThere) {
				s.opts.Progress.Note("cache is damaged: " + err.Error())
			}
		}
	}
	return whole
}

// fetch gets parts from the archive, as new as it has them, and writes the
// manifest.
func (s *store) fetch(ctx context.Context, m *manifest, parts Part) (err error) {
	o, err := s.findOffer(ctx, parts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.archive.Close()) }()
	var all []debian.Package
	for _, comp := range components {
		all = append(all, o.packages[comp.part]...)
	}
	if err := s.checkRoom(parts, o.archive.Missing(all), all); err != nil {
		return err
	}
	if err := s.download(ctx, o.archive, all); err != nil {
		return s.explain(parts, []attempt{{o.mirror, thePackages, err}}, stopper(ctx, err))
	}
	before := m.clone()
	for _, comp := range components {
		if parts&comp.part == 0 {
			continue
		}
		content := &Content{
			Folder:   comp.part.String() + "-" + digest(o.packages[comp.part]),
			Mirror:   o.mirror,
			Obtained: time.Now().UTC().Truncate(time.Second),
			Packages: o.packages[comp.part],
		}
		if old, ok := before.Parts[comp.part.String()]; ok && old.Folder == content.Folder {
			if damage, stale, err := s.tree(old).check(ctx, false); err == nil && len(damage) == 0 && !stale {
				continue // the archive has nothing newer
			}
		}
		if err := s.build(ctx, comp, content); err != nil {
			return s.explainBuild(comp.part, err)
		}
		m.Parts[comp.part.String()] = content
	}
	if err := m.write(s.dir); err != nil {
		return s.explainBuild(parts, err)
	}
	return m.removeUnused(s.dir, before)
}

// stopper gives the error that ends a search at once, if err is one.
func stopper(ctx context.Context, err error) error {
	if ctx.Err() != nil || errors.Is(err, debian.ErrNoSpace) {
		return err
	}
	return nil
}

// download fetches packages with progress.
func (s *store) download(ctx context.Context, a *debian.Archive, ps []debian.Package) error {
	total := a.Missing(ps)
	stage := s.opts.Progress.Stage("packages", total, Bytes)
	err := a.Download(ctx, ps, func(done, total int64) { stage.Set(done) })
	stage.End(fmt.Sprintf("%d packages", len(ps)), err)
	return err
}

// checkRoom makes sure that the disk has room before it is filled: for the
// packages, for what they unpack to, and as much again where a part is replaced,
// since the old one stays until the new one is whole.
func (s *store) checkRoom(parts Part, missing int64, ps []debian.Package) error {
	need := missing
	for _, p := range ps {
		need += p.Installed
	}
	free, err := s.opts.free(s.dir)
	if err != nil || free >= need {
		return nil // an unknown amount is no reason to give up
	}
	return &UnavailableError{
		Parts: parts, Err: debian.ErrNoSpace,
		Reason: fmt.Sprintf("%d MB needed in %s, %d MB free", need>>20+1, s.dir, free>>20),
		Hint:   fmt.Sprintf("make room or set %s to another disk", EnvCache),
	}
}

// explainBuild says what failed while packages were unpacked.
func (s *store) explainBuild(parts Part, err error) error {
	if errors.Is(err, debian.ErrNoSpace) || isFull(err) {
		return s.explain(parts, nil, fmt.Errorf("%w (%w)", debian.ErrNoSpace, err))
	}
	return fmt.Errorf("prepare %s: %w", partNames(parts), err)
}

// digest names a set of packages.
func digest(ps []debian.Package) string {
	sum := sha256.New()
	for _, p := range ps {
		fmt.Fprintln(sum, p.SHA256)
	}
	return fmt.Sprintf("%x", sum.Sum(nil)[:6])
}

// clone copies a manifest as far as it changes.
func (m *manifest) clone() *manifest {
	out := &manifest{Format: m.Format, Parts: map[string]*Content{}}
	for k, v := range m.Parts {
		out.Parts[k] = v
	}
	return out
}

// isFull reports whether err comes of a full disk or quota.
func isFull(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)
}
