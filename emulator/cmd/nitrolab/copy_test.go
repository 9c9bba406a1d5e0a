package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParsePlace(t *testing.T) {
	for text, want := range map[string]place{
		"web:/x":       {"web", "/x"},
		"i-0a:x:y":     {"i-0a", "x:y"},
		"web:":         {"web", ""},
		"x":            {"", "x"},
		"-":            {"", "-"},
		"/a:b":         {"", "/a:b"},
		"./web:/x":     {"", "./web:/x"},
		":x":           {"", ":x"},
		"folder/a:b/c": {"", "folder/a:b/c"},
	} {
		if got := parsePlace(text); got != want {
			t.Errorf("%q is %+v, want %+v", text, got, want)
		}
	}
}

func TestParseFiles(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, name := range []string{"a", "b:c"} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := parseFiles([]string{"a:/x", "b:c:/etc/y", "a:/srv/", "b:c:/"})
	if err != nil {
		t.Fatal(err)
	}
	want := []localFile{{"a", "/x"}, {"b:c", "/etc/y"}, {"a", "/srv/a"}, {"b:c", "/b:c"}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(localFile{})); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	for _, text := range []string{"", ":/x", "a", "a:x", "a:", "none:/x", ".:/x"} {
		if got, err := parseFiles([]string{text}); err == nil {
			t.Errorf("%q is %+v", text, got)
		}
	}
}

// What a shell makes of a quoted word is the word.
func TestQuote(t *testing.T) {
	for _, text := range []string{"", "plain", "it's", "'", `\'`, "a b\n$HOME `id` \"*\"", "-n"} {
		out, err := exec.Command("/bin/sh", "-c", "printf '%s|' "+quote(text)).CombinedOutput()
		if err != nil || string(out) != text+"|" {
			t.Errorf("%q became %q, %v", text, out, err)
		}
	}
}

func FuzzParsePlace(f *testing.F) {
	f.Add("web:/x")
	f.Add("/a:b")
	f.Fuzz(func(t *testing.T, text string) {
		p := parsePlace(text)
		if p.guest == "" && p.path != text || p.guest != "" && p.guest+":"+p.path != text {
			t.Errorf("%q became %+v", text, p)
		}
	})
}

func TestForScripts(t *testing.T) {
	for line, want := range map[string]bool{
		"warning: x": true, "error: x": true, "tool chain   packages 72 MB": true,
		"nitrolab 0.1.0 · TCG": false, "instance runs: warm true": false, "": false,
	} {
		if got := forScripts(line); got != want {
			t.Errorf("%q: %v, want %v", line, got, want)
		}
	}
}

// The samples that were used last stay, and what is none.
func TestSampleCachePrune(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	for i := range keptSamples + 2 {
		path := filepath.Join(dir, fmt.Sprintf("%d.eif", i))
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		used := now.Add(time.Duration(i) * time.Minute)
		if err := os.Chtimes(path, used, used); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "other"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	sampleCache{dir}.prune()
	var got []string
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if diff := cmp.Diff([]string{"2.eif", "3.eif", "4.eif", "other"}, got); diff != "" {
		t.Errorf("files that stay (-want +got):\n%s", diff)
	}
}
