package vectors

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// small is a corpus of three cases, one of them with a root of its own.
func small(t testing.TB) *Corpus {
	t.Helper()
	full := newCorpus(t)
	c := &Corpus{Seed: full.Seed, Reference: full.Reference, Documents: map[string][]byte{}, Roots: map[string][]byte{}}
	for _, of := range full.Cases {
		switch of.ID {
		case "good-indefinite-map", "A24-no-document", "A14-root-expired":
			c.Cases = append(c.Cases, of)
			c.Documents[of.Document] = full.Bytes(of)
			for _, name := range of.Roots {
				c.Roots[name] = full.Roots[name]
			}
		}
	}
	if len(c.Cases) != 3 {
		t.Fatalf("%d cases", len(c.Cases))
	}
	return c
}

// TestWriteRead: what comes back is what was written, all of it.
func TestWriteRead(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "corpus")
	want := newCorpus(t)
	if err := Write(dir, want); err != nil {
		t.Fatal(err)
	}
	got, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	// An empty document is nil in one and not in the other; a root that no case
	// names would not be read.
	if diff := cmp.Diff(want.Cases, got.Cases); diff != "" {
		t.Errorf("cases (-want +got):\n%s", diff)
	}
	if !got.Reference.Equal(want.Reference) || !bytes.Equal(got.Seed, want.Seed) || len(got.Documents) != len(want.Documents) {
		t.Errorf("reference %v, seed %x, %d documents", got.Reference, got.Seed, len(got.Documents))
	}
	if diff := cmp.Diff(want.Roots, got.Roots); diff != "" {
		t.Errorf("roots (-want +got):\n%s", diff)
	}
	for name, content := range want.Documents {
		if !bytes.Equal(got.Documents[name], content) {
			t.Errorf("%s differs", name)
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil || !bytes.Contains(text, []byte("Everything here is emulated")) {
		t.Errorf("README.md: %v", err)
	}
	noLeftovers(t, filepath.Dir(dir), "corpus")
}

// noLeftovers: nothing but the corpus is there.
func noLeftovers(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("directory (-want +got):\n%s", diff)
	}
}

// TestWriteOverOlder: an older corpus goes, with files the new one lacks.
func TestWriteOverOlder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "corpus")
	if err := os.Mkdir(dir, 0o755); err != nil { // empty: it may be used
		t.Fatal(err)
	}
	c := small(t)
	if err := Write(dir, c); err != nil {
		t.Fatal(err)
	}
	gone := filepath.Join(dir, filepath.FromSlash(c.Cases[0].Document))
	delete(c.Documents, c.Cases[0].Document)
	c.Cases = c.Cases[1:]
	if err := Write(dir+"/", c); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(gone); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file of the older corpus: %v", err)
	}
	if got, err := Read(dir); err != nil || len(got.Cases) != 2 {
		t.Errorf("corpus %v, error %v", got, err)
	}
	noLeftovers(t, filepath.Dir(dir), "corpus")
}

// TestWriteRefuses: what is no corpus is left as it is.
func TestWriteRefuses(t *testing.T) {
	c := small(t)
	for _, tt := range []struct {
		name    string
		prepare func(t *testing.T, dir string)
		want    string
	}{
		{"other files", func(t *testing.T, dir string) { writeFile(t, dir, "thesis.tex", "x") }, "no corpus.json"},
		{"other corpus.json", func(t *testing.T, dir string) { writeFile(t, dir, "corpus.json", `{"format":"corpus of proteins"}`) }, `format is "corpus of proteins"`},
		{"corpus.json is no JSON", func(t *testing.T, dir string) { writeFile(t, dir, "corpus.json", "x") }, "corpus.json: invalid"},
		{"something beside a corpus", func(t *testing.T, dir string) {
			if err := Write(dir, c); err != nil {
				t.Fatal(err)
			}
			writeFile(t, dir, "notes.txt", "x")
		}, `"notes.txt" is no file of one`},
		{"something among the documents", func(t *testing.T, dir string) {
			if err := Write(dir, c); err != nil {
				t.Fatal(err)
			}
			writeFile(t, filepath.Join(dir, "documents"), "mine.txt", "x")
		}, `"documents/mine.txt" is no file of one`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "d")
			tt.prepare(t, dir)
			before := tree(t, dir)
			err := Write(dir, c)
			if !errors.Is(err, ErrNotCorpus) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if diff := cmp.Diff(before, tree(t, dir)); diff != "" {
				t.Errorf("directory was changed (-before +after):\n%s", diff)
			}
			noLeftovers(t, filepath.Dir(dir), "d")
		})
	}
	file := filepath.Join(t.TempDir(), "file")
	writeFile(t, filepath.Dir(file), "file", "x")
	if err := Write(file, c); err == nil {
		t.Error("a file was replaced")
	}
	c.Cases[0].Verdict = "perhaps"
	if err := Write(filepath.Join(t.TempDir(), "d"), c); err == nil || !strings.Contains(err.Error(), `verdict is "perhaps"`) {
		t.Errorf("a bad case was written: %v", err)
	}
}

func writeFile(t *testing.T, dir, name, content string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		files[path] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestReadRefuses: a corpus is somebody's files.
func TestReadRefuses(t *testing.T) {
	replace := func(name, old, with string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			path := filepath.Join(dir, filepath.FromSlash(name))
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(content), old) {
				t.Fatalf("%s has no %q", name, old)
			}
			writeFile(t, filepath.Dir(path), filepath.Base(path), strings.Replace(string(content), old, with, 1))
		}
	}
	remove := func(name string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, filepath.FromSlash(name))); err != nil {
				t.Fatal(err)
			}
		}
	}
	link := func(name, to string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			remove(name)(t, dir)
			if err := os.Symlink(to, filepath.Join(dir, filepath.FromSlash(name))); err != nil {
				t.Fatal(err)
			}
		}
	}
	good := "documents/good-indefinite-map.cbor"
	secret := filepath.Join(t.TempDir(), "secret")
	writeFile(t, filepath.Dir(secret), "secret", "secret")
	for _, tt := range []struct {
		name   string
		change func(t *testing.T, dir string)
		want   string
	}{
		{"no manifest", remove("corpus.json"), "no corpus.json"},
		{"other format", replace("corpus.json", "vectors/1", "vectors/2"), "format is"},
		{"huge manifest", replace("corpus.json", "{", "{"+strings.Repeat(" ", 1<<20)), "corpus.json has more than"},
		{"other number of cases", replace("corpus.json", `"cases": 3`, `"cases": 4`), "has 3 cases, corpus.json says 4"},
		{"no cases file", remove("cases.jsonl"), "cases.jsonl"},
		{"no document", remove(good), good},
		{"changed document", replace(good, "i-0a1b", "i-0a1c"), "not the file that sha256 names"},
		{"huge document", replace(good, "i-0a1b", strings.Repeat("x", MaxDocument)), "more than 1048576 bytes"},
		{"document a directory", func(t *testing.T, dir string) {
			remove(good)(t, dir)
			writeFile(t, filepath.Join(dir, filepath.FromSlash(good)), "x", "")
		}, "is no regular file"},
		{"document a link to elsewhere", link(good, secret), "escapes"},
		{"root a link to elsewhere", link("roots/host.pem", secret), "escapes"},
		{"root no certificate", replace("roots/host.pem", "BEGIN", "BEGUN"), "no PEM certificate"},
		{"no root", remove("roots/host.pem"), "roots/host.pem"},
		{"unknown member", replace("cases.jsonl", `"group"`, `"team"`), `unknown field "team"`},
		{"no JSON", replace("cases.jsonl", "{", "["), "cases.jsonl line 1"},
		{"two objects in a line", replace("cases.jsonl", "}\n{", "} {"), "line 1: more than one object"},
		{"huge line", replace("cases.jsonl", "{", "{"+strings.Repeat(" ", maxLine)), "token too long"},
		{"id with a path", replace("cases.jsonl", `"id":"good-`, `"id":"good-../`), "is not a group, a hyphen and words"},
		{"id of another group", replace("cases.jsonl", `"group":"good"`, `"group":"A1"`), `group is "A1"`},
		{"document elsewhere", replace("cases.jsonl", good, "../corpus.json"), "document is"},
		{"root elsewhere", replace("cases.jsonl", "roots/host.pem", "roots/../../host.pem"), "root is"},
		{"unknown verdict", replace("cases.jsonl", `"accept"`, `"perhaps"`), `verdict is "perhaps"`},
		{"unknown level", replace("cases.jsonl", `"must"`, `"shall"`), `level is "shall"`},
		{"PCR32", replace("cases.jsonl", `{"0":"`, `{"32":"`), "expects PCR32"},
		{"short PCR", replace("cases.jsonl", `{"0":"`, `{"3":"00","0":"`), "expects PCR3 of 1 bytes"},
		{"negative age", replace("cases.jsonl", `"source"`, `"max_age_seconds":-1,"source"`), "max_age_seconds is -1"},
		{"no hex", replace("cases.jsonl", `"sha256":"`, `"sha256":"x`), "hex string"},
		{"short sum", replace("cases.jsonl", `"sha256":"`, `"sha256":"","twin_of":"`), "sha256 has 0 bytes"},
		{"unknown twin", replace("cases.jsonl", `"source"`, `"twin_of":"good-nobody","source"`), `twin "good-nobody" is no case`},
		{"long title", replace("cases.jsonl", `"title":"`, `"title":"`+strings.Repeat("x", 2000)), "title"},
		{"same case twice", func(t *testing.T, dir string) {
			path := filepath.Join(dir, "cases.jsonl")
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			lines := strings.SplitAfter(string(content), "\n")
			writeFile(t, dir, "cases.jsonl", lines[0]+lines[0]+lines[1])
		}, "is there twice"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "corpus")
			if err := Write(dir, small(t)); err != nil {
				t.Fatal(err)
			}
			tt.change(t, dir)
			c, err := Read(dir)
			if c != nil || err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
	if _, err := Read(filepath.Join(t.TempDir(), "nowhere")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

// FuzzCases: no line makes parseCases panic, and what it lets through can be
// written and read again.
func FuzzCases(f *testing.F) {
	files, err := small(f).files()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(files[casesFile])
	f.Add([]byte(`{"id":"A1-x"}`))
	f.Add([]byte("{\"pcrs\":{\"4294967296\":\"00\"}}\n\n"))
	f.Add([]byte(`{"time":"9999-12-31T23:59:59.999999999-23:59"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		cases, err := parseCases(bytes.NewReader(text))
		if err != nil {
			return
		}
		for _, c := range cases {
			line, err := marshalCase(c)
			if err != nil {
				t.Fatalf("%+v: %v", c, err)
			}
			again, err := parseCases(bytes.NewReader(line))
			if err != nil || len(again) != 1 {
				t.Fatalf("%s: %v", line, err)
			}
			second, err := marshalCase(again[0])
			if err != nil || !bytes.Equal(line, second) {
				t.Fatalf("%s became %s, %v", line, second, err)
			}
		}
	})
}
