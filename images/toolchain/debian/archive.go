package debian

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Config says where an [Archive] works and what it fetches from.
type Config struct {
	// Dir is a folder of its own for apt's configuration, lists and state. It is
	// made if missing. About 150 MB while in use; Close removes it.
	Dir string
	// Debs is the folder that packages are fetched into. What is there already
	// and whole is not fetched again. It is kept.
	Debs string
	// Mirror is the archive's URI, any that the machine's apt has a method for.
	Mirror string
	// Keyring is the file that the archive's signatures are checked with, or
	// several divided by commas.
	Keyring string
	// Architecture is Debian's name of it, "amd64".
	Architecture string
	// Host gives how this machine reaches the network. It may be nil.
	Host *Host
	// Lock, if not nil, is kept open by every tool that is run: a lock on it
	// then holds until the last of them is gone, even if this process is killed.
	Lock *os.File
	// Stall is how long a fetch may go without anything coming; zero means two
	// minutes. apt has time limits of its own, but not in all of its methods.
	Stall time.Duration
}

const defaultStall = 2 * time.Minute

// An Archive is a Debian archive as seen through private state. It is not safe
// for concurrent use, and two must not share a Dir.
type Archive struct {
	cfg    Config
	suites []string
}

// Open prepares the private state. It does not use the network.
func Open(cfg Config) (*Archive, error) {
	fail := func(err error) (*Archive, error) { return nil, fmt.Errorf("open Debian archive: %w", err) }
	if cfg.Keyring == "" {
		return fail(ErrNoKeyring)
	}
	for _, v := range []string{cfg.Dir, cfg.Debs, cfg.Mirror, cfg.Keyring} {
		if !expressible(v) {
			return fail(fmt.Errorf("%q cannot be written in an apt configuration", v))
		}
	}
	if cfg.Mirror == "" || strings.ContainsAny(cfg.Mirror+cfg.Keyring, " \t[]") {
		return fail(fmt.Errorf("mirror %q or keyring %q has spaces or brackets", Redact(cfg.Mirror), cfg.Keyring))
	}
	for _, d := range []string{"state/lists/partial", "cache/archives/partial", "log"} {
		if err := os.MkdirAll(filepath.Join(cfg.Dir, d), 0o755); err != nil {
			return fail(noSpace(err))
		}
	}
	if err := os.MkdirAll(cfg.Debs, 0o755); err != nil {
		return fail(noSpace(err))
	}
	// apt takes nothing to be installed, so it resolves down to libc.
	if err := os.WriteFile(filepath.Join(cfg.Dir, "status"), nil, 0o644); err != nil {
		return fail(noSpace(err))
	}
	a := &Archive{cfg: cfg}
	if err := os.WriteFile(filepath.Join(cfg.Dir, "apt.conf"), []byte(a.configuration()), 0o600); err != nil {
		return fail(noSpace(err))
	}
	return a, nil
}

// Close removes the private state, but not the packages.
func (a *Archive) Close() error {
	if err := os.RemoveAll(a.cfg.Dir); err != nil {
		return fmt.Errorf("close Debian archive: %w", err)
	}
	return nil
}

// configuration is the file that APT_CONFIG names.
func (a *Archive) configuration() string {
	var b strings.Builder
	set := func(key, value string) { fmt.Fprintf(&b, "%s %q;\n", key, value) }
	path := func(p string) string { return filepath.Join(a.cfg.Dir, p) }

	// Nothing of the machine's own configuration, but what is carried over.
	set("Dir::Etc::parts", "/dev/null")
	set("Dir::Etc::main", "/dev/null")
	set("Dir::Etc::preferences", "/dev/null")
	set("Dir::Etc::preferencesparts", "/dev/null")
	set("Dir::Etc::sourceparts", "/dev/null")
	set("Dir::Etc::sourcelist", path("sources.list"))
	set("Dir::State", path("state"))
	set("Dir::State::status", path("status"))
	set("Dir::Cache", path("cache"))
	set("Dir::Log", path("log"))

	// A mirror that answers slowly or not at all must not cost minutes. A
	// machine that is set up otherwise overrides it below.
	set("Acquire::Retries", "1")
	set("Acquire::http::Timeout", "20")
	set("Acquire::https::Timeout", "20")
	if a.cfg.Host != nil {
		for _, s := range a.cfg.Host.settings {
			set(s.key, s.value)
		}
	}

	set("APT::Architecture", a.cfg.Architecture)
	fmt.Fprintf(&b, "APT::Architectures { %q; };\n", a.cfg.Architecture)
	set("APT::Install-Recommends", "false")
	set("APT::Install-Suggests", "false")
	set("APT::Get::Assume-Yes", "true")
	set("APT::Get::AllowUnauthenticated", "false")
	set("Acquire::AllowInsecureRepositories", "false")
	set("Acquire::AllowWeakRepositories", "false")
	set("Acquire::AllowDowngradeToInsecureRepositories", "false")
	// Without it an update that fetched nothing is a success.
	set("APT::Update::Error-Mode", "any")
	// As root, apt fetches as user _apt, who has no rights in the caller's cache.
	set("APT::Sandbox::User", "root")
	// Indexes for people are not needed, and neither is the way to save on them:
	// there is no old list to apply a difference to.
	set("Acquire::Languages", "none")
	set("Acquire::PDiffs", "false")
	return b.String()
}

// Update fetches the indexes of the suites' component main, and makes those
// the ones in use. It uses the network. progress, which may be nil, is called
// with percent done.
func (a *Archive) Update(ctx context.Context, progress func(percent float64), suites ...string) error {
	a.suites = nil
	var list strings.Builder
	for _, s := range suites {
		if s == "" || strings.ContainsAny(s, " \t\n[]#") {
			return fmt.Errorf("update from Debian archive: suite %q: %w", s, ErrNotThere)
		}
		fmt.Fprintf(&list, "deb [signed-by=%s] %s %s main\n", a.cfg.Keyring, a.cfg.Mirror, s)
	}
	// 0600: the URI may have a password in it.
	if err := os.WriteFile(filepath.Join(a.cfg.Dir, "sources.list"), []byte(list.String()), 0o600); err != nil {
		return fmt.Errorf("update from Debian archive: %w", noSpace(err))
	}
	report := func(p float64) float64 {
		if progress != nil {
			progress(p)
		}
		return p
	}
	if _, err := a.tool(ctx, report, "", "apt-get", "update", "-q"); err != nil {
		return err
	}
	a.suites = suites
	return nil
}

// tool runs one of apt's tools with the private configuration, in dir if that
// is not empty. report, nil for a tool that does not fetch, is called with the
// percentage that the tool tells, and gives a measure of what is done: if that
// does not change for Config.Stall, the tool is ended.
func (a *Archive) tool(ctx context.Context, report func(percent float64) float64, dir, name string, args ...string) ([]byte, error) {
	c := command{
		path: name,
		args: args,
		dir:  dir,
		env:  []string{"APT_CONFIG=" + filepath.Join(a.cfg.Dir, "apt.conf")},
		keep: a.cfg.Lock,
	}
	stall := a.cfg.Stall
	if stall == 0 {
		stall = defaultStall
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(stall, func() {
		cancel(fmt.Errorf("%w: nothing has come for %v", ErrUnreachable, stall))
	})
	defer watchdog.Stop()
	if report != nil {
		c.args = append([]string{c.args[0], "-o", "APT::Status-Fd=3"}, c.args[1:]...)
		last := -1.0
		c.line = func(line string) {
			p, ok := statusPercent(line)
			if !ok {
				return
			}
			if done := report(p); done != last {
				last = done
				watchdog.Reset(stall)
			}
		}
	}
	return run(ctx, c)
}

// statusPercent reads a line of apt's status descriptor about fetching,
// "dlstatus:3:41.25:Retrieving file 3 of 90" (README.progress-reporting of apt).
func statusPercent(line string) (float64, bool) {
	f := strings.SplitN(line, ":", 4)
	if len(f) < 3 || f[0] != "dlstatus" {
		return 0, false
	}
	p, err := strconv.ParseFloat(f[2], 64)
	if err != nil || !(p >= 0 && p <= 100) {
		return 0, false
	}
	return p, true
}

// noSpace marks an error of a full disk as ErrNoSpace.
func noSpace(err error) error {
	if isNoSpace(err) && !errors.Is(err, ErrNoSpace) {
		return fmt.Errorf("%w (%w)", ErrNoSpace, err)
	}
	return err
}

// isNoSpace reports whether err comes of a full disk or quota.
func isNoSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
