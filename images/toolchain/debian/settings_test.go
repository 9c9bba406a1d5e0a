package debian

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseDump(t *testing.T) {
	const dump = `APT "";
APT::Architecture "amd64";
APT::Update::Post-Invoke:: "rm -f /var/cache/apt/*.bin || true";
Acquire::http::Proxy "http://proxy.example:3128";
Acquire::http::Proxy::intern.example "DIRECT";
Acquire::HTTPS::Verify-Peer "false";
Acquire::Check-Valid-Until "false";
Acquire::Languages:: "none";
Acquire::AllowInsecureRepositories "1";
Acquire::http::User-Agent "says "hello"";
Acquire::http::Timeout "";
Dir "/";
Dir::Etc "etc/apt";
Dir::Etc::sourcelist "sources.list";
Dir::Etc::sourceparts "/elsewhere/sources.d";
half a line
`
	all := parseDump([]byte(dump))
	want := []setting{
		{"Acquire::http::Proxy", "http://proxy.example:3128"},
		{"Acquire::http::Proxy::intern.example", "DIRECT"},
		{"Acquire::HTTPS::Verify-Peer", "false"},
		{"Acquire::Check-Valid-Until", "false"},
	}
	if diff := cmp.Diff(want, carry(all), cmp.AllowUnexported(setting{})); diff != "" {
		t.Errorf("carried settings (-want +got):\n%s", diff)
	}
	for key, want := range map[string]string{
		"Dir::Etc::sourcelist":  "/etc/apt/sources.list",
		"Dir::Etc::sourceparts": "/elsewhere/sources.d",
	} {
		if got := lookupPath(all, key); got != want {
			t.Errorf("path of %s is %q, want %q", key, got, want)
		}
	}
	rooted := append(all, setting{"RootDir", "/target"})
	if got, want := lookupPath(rooted, "Dir::Etc::sourcelist"), "/target/etc/apt/sources.list"; got != want {
		t.Errorf("path below RootDir is %q, want %q", got, want)
	}
}

func TestReadSources(t *testing.T) {
	dir := t.TempDir()
	for name, body := range map[string]string{
		"sources.list":            "deb http://a.example/debian bookworm main\n",
		"parts/good.sources":      "Types: deb\nURIs: http://b.example/debian\nSuites: sid\nComponents: main\n",
		"parts/broken.list":       "deb\n",
		"parts/old.list.disabled": "deb http://c.example/debian sid main\n",
		"parts/notes.txt":         "nonsense",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(body), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	h := &Host{}
	got := MainMirrors(h.readSources(filepath.Join(dir, "sources.list"), filepath.Join(dir, "parts")))
	want := []Mirror{{URI: "http://a.example/debian"}, {URI: "http://b.example/debian"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("mirrors (-want +got):\n%s", diff)
	}
	if len(h.Skipped) != 1 {
		t.Errorf("skipped %q, want the broken list only", h.Skipped)
	}
}

func TestFindKeyrings(t *testing.T) {
	dir := t.TempDir()
	touch := func(name string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		return p
	}
	known := touch("known.gpg")
	named := touch("debian-archive-own.gpg.copy")
	vendor := touch("vendor.gpg")
	a, b := touch("debian-archive-a.asc"), touch("debian-archive-b.asc")
	h := &Host{Mirrors: []Mirror{{URI: "x", SignedBy: vendor}, {URI: "y", SignedBy: named}, {URI: "z"}}}
	h.findKeyrings([]string{filepath.Join(dir, "missing.gpg"), known}, dir)
	if diff := cmp.Diff([]string{known, named, a + "," + b}, h.Keyrings); diff != "" {
		t.Errorf("keyrings (-want +got):\n%s", diff)
	}
}

func FuzzAptConfig(f *testing.F) {
	f.Add("Acquire::http::Proxy \"http://proxy.example:3128\";\nDir \"/\";\nDir::Etc \"etc/apt\";\nDir::Etc::sourcelist \"sources.list\";\n")
	f.Add("Acquire::http::Proxy \"a\"b\";\nRootDir \"/x\";\n \"\";\n")
	f.Fuzz(func(t *testing.T, in string) {
		all := parseDump([]byte(in))
		for _, s := range carry(all) {
			// These go into a configuration file as they are.
			if !expressible(s.value) || strings.ContainsAny(s.key, "\"; \n") {
				t.Errorf("carries %q over", s)
			}
		}
		_ = lookupPath(all, "Dir::Etc::sourcelist")
	})
}
