package vectors

import (
	"bytes"
	"crypto/rand"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Files of a corpus directory.
const (
	manifestFile = "corpus.json"
	casesFile    = "cases.jsonl"
	readmeFile   = "README.md"
)

// manifest is corpus.json. Its presence marks a directory as a corpus.
type manifest struct {
	Format    string    `json:"format"`
	Notice    string    `json:"notice"`
	Seed      Hex       `json:"seed"`
	Reference time.Time `json:"reference"`
	Cases     int       `json:"cases"`
}

const notice = "emulated: made by nitrolab from the seed, no key or certificate here is AWS's"

// readme explains format and protocol to strangers.
//
//go:embed corpus.md
var readme []byte

// ErrNotCorpus means that a directory is not empty and no corpus: Write leaves
// it alone, and Read has nothing to read.
var ErrNotCorpus = errors.New("directory holds no corpus of attestation vectors")

// Write writes a corpus to a directory, which is made if it is missing: the
// files cases.jsonl, documents/*.cbor, roots/*.pem, README.md and corpus.json.
// An older corpus in its place is replaced; anything else there is refused with
// [ErrNotCorpus]. It is written beside the directory and then renamed, so that
// no reader sees half of one.
func Write(dir string, c *Corpus) error {
	to, err := filepath.Abs(dir)
	if err == nil {
		err = write(to, c)
	}
	if err != nil {
		return fmt.Errorf("write vectors to %s: %w", dir, err)
	}
	return nil
}

func write(dir string, c *Corpus) (err error) {
	files, err := c.files()
	if err != nil {
		return err
	}
	if err := replaceable(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails
	fresh := dir + ".new-" + hex.EncodeToString(id[:])
	defer func() { err = errors.Join(err, os.RemoveAll(fresh)) }()
	for name, content := range files {
		path := filepath.Join(fresh, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return err
		}
	}
	old := dir + ".old-" + hex.EncodeToString(id[:])
	switch err := os.Rename(dir, old); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	default:
		defer func() { err = errors.Join(err, os.RemoveAll(old)) }()
	}
	if err := os.Rename(fresh, dir); err != nil {
		return errors.Join(err, restore(old, dir))
	}
	return nil
}

// restore puts an older corpus back.
func restore(old, dir string) error {
	err := os.Rename(old, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// replaceable refuses a directory that is neither missing, nor empty, nor a
// corpus.
func replaceable(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && len(entries) == 0:
		return nil
	case err != nil:
		return err
	}
	if _, err := readManifest(dir); err != nil {
		return err
	}
	return fs.WalkDir(os.DirFS(dir), ".", func(name string, e fs.DirEntry, err error) error {
		if err == nil && !ofCorpus(name, e) {
			err = fmt.Errorf("%w alone: %q is no file of one", ErrNotCorpus, name)
		}
		return err
	})
}

// ofCorpus reports whether a corpus may have such a file or folder. What it may
// not have is somebody else's, and is not removed.
func ofCorpus(name string, e fs.DirEntry) bool {
	if e.IsDir() {
		return slices.Contains([]string{".", "documents", "roots"}, name)
	}
	if !e.Type().IsRegular() {
		return false
	}
	folder, file := path.Split(name)
	switch folder {
	case "":
		return slices.Contains([]string{manifestFile, casesFile, readmeFile}, name)
	case "documents/":
		id, ok := strings.CutSuffix(file, ".cbor")
		return ok && goodID.MatchString(id)
	}
	return rootName.MatchString(name)
}

// files are the contents of the directory by name, with slashes.
func (c *Corpus) files() (map[string][]byte, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	m, err := json.MarshalIndent(manifest{Format, notice, c.Seed, c.Reference, len(c.Cases)}, "", "  ")
	if err != nil {
		return nil, err
	}
	var lines []byte
	for _, of := range c.Cases {
		line, err := marshalCase(of)
		if err != nil {
			return nil, fmt.Errorf("case %s: %w", of.ID, err)
		}
		lines = append(lines, line...)
	}
	files := map[string][]byte{manifestFile: append(m, '\n'), casesFile: lines, readmeFile: readme}
	for name, content := range c.Documents {
		files[name] = content
	}
	for name, content := range c.Roots {
		files[name] = content
	}
	return files, nil
}

// marshalCase is one line of cases.jsonl.
func marshalCase(c Case) ([]byte, error) {
	var line bytes.Buffer
	enc := json.NewEncoder(&line)
	enc.SetEscapeHTML(false)
	err := enc.Encode(c)
	return line.Bytes(), err
}
