package vectors

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// Limits of [Read]. A corpus of this package has about a thousand cases of five
// kilobytes.
const (
	// MaxCases in a corpus.
	MaxCases = 10_000

	// MaxDocument is the size of one document, in bytes.
	MaxDocument = 1 << 20

	maxID       = 80
	maxLine     = 64 << 10 // of cases.jsonl
	maxRoot     = 16 << 10
	maxManifest = 4 << 10
	maxRoots    = 8 // of a case
	maxExpected = 4 << 10
	maxText     = 1000                     // of title, wrong and source, in bytes
	maxAgeLimit = 100 * 365 * 24 * 60 * 60 // seconds
)

// Read reads a corpus back and checks all of it: the manifest, every case, that
// every file is there and has its sum. Files that no case names are not read.
// What it returns has been looked at but may say anything: the directory may be
// anybody's.
func Read(dir string) (*Corpus, error) {
	c, err := read(dir)
	if err != nil {
		return nil, fmt.Errorf("read vectors from %s: %w", dir, err)
	}
	return c, nil
}

func read(dir string) (*Corpus, error) {
	m, err := readManifest(dir)
	if err != nil {
		return nil, err
	}
	// os.Root: a symbolic link in somebody's corpus leads nowhere else.
	at, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer at.Close() // read only
	f, err := at.Open(casesFile)
	if err != nil {
		return nil, err
	}
	defer f.Close() // read only
	cases, err := parseCases(f)
	if err != nil {
		return nil, err
	}
	if len(cases) != m.Cases {
		return nil, fmt.Errorf("%s has %d cases, %s says %d", casesFile, len(cases), manifestFile, m.Cases)
	}
	c := &Corpus{
		Seed: m.Seed, Reference: m.Reference, Cases: cases,
		Documents: make(map[string][]byte), Roots: make(map[string][]byte),
	}
	for _, of := range cases {
		if c.Documents[of.Document], err = load(at, of.Document, MaxDocument); err != nil {
			return nil, fmt.Errorf("case %s: %w", of.ID, err)
		}
		for _, name := range of.Roots {
			if c.Roots[name] != nil {
				continue
			}
			if c.Roots[name], err = load(at, name, maxRoot); err != nil {
				return nil, fmt.Errorf("case %s: %w", of.ID, err)
			}
		}
	}
	return c, c.check()
}

func load(at *os.Root, name string, limit int64) ([]byte, error) {
	info, err := at.Stat(name)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no regular file", name)
	}
	f, err := at.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close() // read only
	content, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(content)) > limit {
		err = fmt.Errorf("%s has more than %d bytes", name, limit)
	}
	return content, err
}

func readManifest(dir string) (*manifest, error) {
	at, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer at.Close() // read only
	text, err := load(at, manifestFile, maxManifest)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: no %s", ErrNotCorpus, manifestFile)
	}
	if err != nil {
		return nil, err
	}
	var m manifest
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrNotCorpus, manifestFile, err)
	}
	if m.Format != Format {
		return nil, fmt.Errorf("%w: format is %.60q, want %q", ErrNotCorpus, m.Format, Format)
	}
	return &m, nil
}

// parseCases reads cases.jsonl: one JSON object a line.
func parseCases(r io.Reader) ([]Case, error) {
	var cases []Case
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	for n := 1; lines.Scan(); n++ {
		if n > MaxCases {
			return nil, fmt.Errorf("%s has more than %d cases", casesFile, MaxCases)
		}
		var c Case
		dec := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&c); err != nil {
			return nil, fmt.Errorf("%s line %d: %w", casesFile, n, err)
		}
		if dec.More() {
			return nil, fmt.Errorf("%s line %d: more than one object", casesFile, n)
		}
		if err := c.check(); err != nil {
			return nil, fmt.Errorf("%s line %d: %w", casesFile, n, err)
		}
		cases = append(cases, c)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", casesFile, err)
	}
	return cases, nil
}
