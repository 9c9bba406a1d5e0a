package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nitrolab/nitrolab/emulator/supervisor"
	"github.com/nitrolab/nitrolab/emulator/vectors"
	vectorsrun "github.com/nitrolab/nitrolab/emulator/vectors/run"
)

type vectorsRunFlags struct {
	dir        string
	seed       string
	realTime   bool
	jsonl      bool
	jobs       int
	timeout    time.Duration
	level      string
	groups     []string
	skipGroups []string
	without    []string
	showID     bool
	junit      string
	json       bool
}

func newVectorsRun() *cobra.Command {
	var f vectorsRunFlags
	cmd := &cobra.Command{
		Use:   "run [flags] -- COMMAND [ARGUMENT]...",
		Short: "Drive a verifier over the corpus and say where it is wrong",
		Long: `run asks a verifier, in any language, about every case of the corpus and compares
its verdicts with those of a correct one.

COMMAND is started once per case, with the document on standard input. Exit
status 0 accepts, any other rejects; a crash or a hang is a failure in any case.
What it is told is in environment variables and in placeholders in ARGUMENTs:

  NITROLAB_TIME        {time}        time of verification, RFC 3339; {unix} in s
  NITROLAB_ROOTS       {roots}       PEM file with the roots to trust
  NITROLAB_PCRS        {pcrs}        0=HEX,1=HEX,...; single: {pcr0} to {pcr31}
  NITROLAB_NONCE       {nonce}       expected nonce, HEX
  NITROLAB_USER_DATA   {user-data}   expected user_data, HEX
  NITROLAB_PUBLIC_KEY  {public-key}  expected public_key, HEX
  NITROLAB_MAX_AGE     {max-age}     greatest age of the document in seconds
  NITROLAB_ARCHIVE     {archive}     1: verify at the time the document states
                       {document}    a file with the document

What a case does not expect is absent from the environment, and an ARGUMENT that
needs it is left out. With --jsonl COMMAND runs once and answers requests, one
JSON object a line; nitrolab vectors verifier --help has the protocol.

A verifier that cannot be told something is run with --without, one that knows
no time but now with --real-time. The exit code is 0 if every verdict was right,
1 if not and 2 for a mistake in the arguments.`,
		Example: `  nitrolab vectors run -- ./my-verifier --root={roots} --pcr0={pcr0} --nonce={nonce}
  nitrolab vectors run --jsonl --junit vectors.xml -- python3 adapter.py
  nitrolab vectors run --real-time --without archive,max-age -- node verify.js`,
		Args: func(cmd *cobra.Command, args []string) error {
			if cmd.ArgsLenAtDash() != 0 || len(args) == 0 {
				return errors.New("COMMAND is missing; allowed are flags, then --, then the verifier with its arguments")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), args)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.dir, "dir", "", "take the corpus from this `FOLDER` (default: make it)")
	seedFlag(cmd, &f.seed)
	flags.BoolVar(&f.realTime, "real-time", false, "make the documents for now, for a verifier that knows no other time")
	flags.BoolVar(&f.jsonl, "jsonl", false, "COMMAND answers requests line by line")
	numberFlag(cmd, &f.jobs, "jobs", "ask about `N` cases at a time (default: one per CPU)", 1, 256)
	flags.DurationVar(&f.timeout, "timeout", vectorsrun.DefaultTimeout, "longest `TIME` for one case")
	flags.StringVar(&f.level, "level", "", "`must` leaves out cases where a lenient verifier is not known to be in danger")
	flags.StringSliceVar(&f.groups, "group", nil, "only these `GROUPS`, such as A3,A19")
	flags.StringSliceVar(&f.skipGroups, "skip-group", nil, "not these `GROUPS`")
	flags.StringSliceVar(&f.without, "without", nil, "what the verifier cannot be told, a `LIST` of "+expectations())
	flags.BoolVar(&f.showID, "show-id", false, "tell the verifier the name of the case, to find one again (NITROLAB_CASE, {case})")
	flags.StringVar(&f.junit, "junit", "", "write a JUnit report to this `FILE`")
	flags.BoolVar(&f.json, "json", false, "print one JSON object")
	return cmd
}

// expectations are the words of --without.
func expectations() string {
	var words []string
	for _, e := range vectorsrun.Expectations {
		words = append(words, string(e))
	}
	return strings.Join(words, ", ")
}

func (f *vectorsRunFlags) run(ctx context.Context, w, stderr io.Writer, command []string) error {
	cfg, err := f.config(command)
	if err != nil {
		return err
	}
	tally, done := countVectors(stderr, len(cfg.Source.Cases()))
	cfg.Progress = tally
	report, err := vectorsrun.Run(ctx, cfg)
	done()
	if err != nil {
		return err
	}
	if f.junit != "" {
		if err := writeJUnit(f.junit, report); err != nil {
			return fmt.Errorf("--junit: %w", err)
		}
	}
	if f.json {
		err = printJSON(w, vectorsReportOf(report))
	} else {
		newPrinter(w).vectors(report)
	}
	total := report.Total()
	switch {
	case err != nil:
		return err
	case total.Skipped == total.Cases:
		return usagef("every case was left out; there is none that all of --group, --skip-group, --level and --without allow")
	case total.Failed() > 0:
		return &exitError{code: codeFailed}
	}
	return nil
}

func (f *vectorsRunFlags) config(command []string) (vectorsrun.Config, error) {
	cfg := vectorsrun.Config{
		Command: command, Jobs: f.jobs, Timeout: f.timeout, ShowID: f.showID,
		Select: vectorsrun.Selection{Level: vectors.Level(f.level), Groups: f.groups, SkipGroups: f.skipGroups},
	}
	if f.jsonl {
		cfg.Protocol = vectorsrun.JSONL
	}
	if f.timeout <= 0 {
		return cfg, usagef("--timeout is %v; allowed are times above 0, such as 20s", f.timeout)
	}
	for _, e := range f.without {
		cfg.Select.Without = append(cfg.Select.Without, vectorsrun.Expectation(e))
	}
	if err := cfg.Select.Check(); err != nil {
		return cfg, usageError{err}
	}
	var err error
	if cfg.StateDir, err = supervisor.BaseDir(); err != nil {
		return cfg, err
	}
	if cfg.Source, err = f.source(); err != nil {
		return cfg, err
	}
	return cfg, f.known(cfg)
}

// source is the corpus of a folder, of a seed, or of a seed made for now.
func (f *vectorsRunFlags) source() (vectorsrun.Source, error) {
	if f.dir != "" {
		if f.seed != "" || f.realTime {
			return nil, usagef("--dir is given with --seed or --real-time; allowed is --dir alone, because the corpus in a folder was made before")
		}
		corpus, err := vectors.Read(f.dir)
		if err != nil {
			return nil, err
		}
		return vectorsrun.Fixed(corpus), nil
	}
	if !f.realTime {
		corpus, err := generateVectors(f.seed)
		if err != nil {
			return nil, err
		}
		return vectorsrun.Fixed(corpus), nil
	}
	seed, err := parseSeed(f.seed)
	if err != nil {
		return nil, err
	}
	return vectorsrun.RealTime(seed, time.Now)
}

// known refuses names that are none: a typing error would pass as a success.
func (f *vectorsRunFlags) known(cfg vectorsrun.Config) error {
	groups := map[string]bool{}
	for _, c := range cfg.Source.Cases() {
		groups[c.Group] = true
	}
	for flag, list := range map[string][]string{"group": f.groups, "skip-group": f.skipGroups} {
		for _, g := range list {
			if !groups[g] {
				return usagef("--%s is %q; the corpus has no such group", flag, shorten(g))
			}
		}
	}
	return nil
}

// writeJUnit writes the file in one step.
func writeJUnit(name string, r *vectorsrun.Report) (err error) {
	tmp, err := os.CreateTemp(filepath.Dir(name), ".junit-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(tmp.Name()))
		}
	}()
	if err := errors.Join(r.WriteJUnit(tmp), tmp.Chmod(0o644), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), name)
}
