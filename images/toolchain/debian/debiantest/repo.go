// Package debiantest makes small Debian archives for tests: real packages, real
// indexes and real signatures, served over HTTP on the loopback interface or as
// files.
package debiantest

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	//lint:ignore SA1019 frozen, but it signs what gpgv reads, and nothing but tests
	"golang.org/x/crypto/openpgp"
	//lint:ignore SA1019 as above
	"golang.org/x/crypto/openpgp/clearsign"
	//lint:ignore SA1019 as above
	"golang.org/x/crypto/openpgp/packet"
)

// A Repo is an archive. Its methods fail the test on errors.
type Repo struct {
	Dir     string // its root, for file: mirrors
	URL     string // its root, served over HTTP
	Keyring string // the file that its signatures are checked with

	key    *openpgp.Entity
	server *httptest.Server

	mu       sync.Mutex
	suites   map[string][]Deb
	requests []string
	hook     http.HandlerFunc
}

// New makes an empty archive with a key of its own, gone after the test.
func New(t testing.TB) *Repo {
	t.Helper()
	cfg := &packet.Config{DefaultHash: crypto.SHA256, RSABits: 2048,
		// apt may hold a key from this very second to be from the future.
		Time: func() time.Time { return time.Now().Add(-time.Hour) }}
	key, err := openpgp.NewEntity("test archive", "", "nobody@example.org", cfg)
	if err != nil {
		t.Fatalf("make archive key: %v", err)
	}
	r := &Repo{Dir: t.TempDir(), key: key, suites: map[string][]Deb{}}
	r.Keyring = filepath.Join(t.TempDir(), "keyring.gpg")
	var b bytes.Buffer
	if err := key.SerializePrivate(&bytes.Buffer{}, cfg); err != nil { // signs the key's identities
		t.Fatalf("sign archive key: %v", err)
	}
	if err := key.Serialize(&b); err != nil {
		t.Fatalf("write keyring: %v", err)
	}
	write(t, r.Keyring, b.Bytes())
	r.server = httptest.NewServer(http.HandlerFunc(r.serve))
	t.Cleanup(r.server.Close)
	r.URL = r.server.URL
	return r
}

// Stop ends serving: from then on the archive cannot be reached.
func (r *Repo) Stop() { r.server.Close() }

// Hook has every request handled by h, or by the archive again if nil. h may pass
// a request on to Files.
func (r *Repo) Hook(h http.HandlerFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hook = h
}

// Files serves the archive's files. It knows ranges.
func (r *Repo) Files(w http.ResponseWriter, req *http.Request) {
	http.FileServer(http.Dir(r.Dir)).ServeHTTP(w, req)
}

// Requests gives the paths asked for so far and forgets them.
func (r *Repo) Requests() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.requests
	r.requests = nil
	return out
}

func (r *Repo) serve(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	r.requests = append(r.requests, req.URL.Path)
	h := r.hook
	r.mu.Unlock()
	if h == nil {
		h = r.Files
	}
	h(w, req)
}

// Set makes the packages of a suite these, and publishes it. Packages that no
// suite has any more are gone from the archive, as superseded ones are.
func (r *Repo) Set(t testing.TB, suite string, debs ...Deb) {
	t.Helper()
	r.suites[suite] = debs
	if err := os.RemoveAll(filepath.Join(r.Dir, "pool")); err != nil {
		t.Fatalf("publish archive: %v", err)
	}
	for s := range r.suites {
		r.publish(t, s)
	}
}

// Drop takes a suite out of the archive.
func (r *Repo) Drop(t testing.TB, suite string) {
	t.Helper()
	delete(r.suites, suite)
	if err := os.RemoveAll(filepath.Join(r.Dir, "dists", suite)); err != nil {
		t.Fatalf("publish archive: %v", err)
	}
}

// publish writes the packages, the index and the signed release file of a suite.
func (r *Repo) publish(t testing.TB, suite string) {
	t.Helper()
	var index strings.Builder
	for _, d := range r.suites[suite] {
		body := d.Build(t)
		name := "pool/" + d.filename()
		write(t, filepath.Join(r.Dir, name), body)
		fmt.Fprintf(&index, "%s\nFilename: %s\nSize: %d\nSHA256: %x\n\n", d.control(), name, len(body), sha256.Sum256(body))
	}
	const in = "main/binary-amd64/Packages"
	write(t, filepath.Join(r.Dir, "dists", suite, in), []byte(index.String()))
	release := fmt.Sprintf("Origin: Test\nSuite: %[1]s\nCodename: %[1]s\nDate: %[2]s\nArchitectures: amd64\nComponents: main\n"+
		"SHA256:\n %[3]x %[4]d %[5]s\n", suite, time.Now().UTC().Format(time.RFC1123), sha256.Sum256([]byte(index.String())), index.Len(), in)
	var signed bytes.Buffer
	w, err := clearsign.Encode(&signed, r.key.PrivateKey, &packet.Config{DefaultHash: crypto.SHA256})
	if err != nil {
		t.Fatalf("sign release: %v", err)
	}
	if _, err := w.Write([]byte(release)); err != nil {
		t.Fatalf("sign release: %v", err)
	}
	if err := w.Close(); err != nil {
		t.Fatalf("sign release: %v", err)
	}
	write(t, filepath.Join(r.Dir, "dists", suite, "InRelease"), signed.Bytes())
}

// Replace gives a package of the archive another content, unknown to the index.
func (r *Repo) Replace(t testing.TB, d Deb, body []byte) {
	t.Helper()
	write(t, filepath.Join(r.Dir, "pool", d.filename()), body)
}

func write(t testing.TB, name string, body []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatalf("write archive: %v", err)
	}
	if err := os.WriteFile(name, body, 0o644); err != nil {
		t.Fatalf("write archive: %v", err)
	}
}
