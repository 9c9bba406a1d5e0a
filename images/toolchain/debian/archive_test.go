package debian_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/nitrolab/nitrolab/images/toolchain/debian"
	"github.com/nitrolab/nitrolab/images/toolchain/debian/debiantest"
)

// openRepo opens an archive on a repo, with mirror in place of its URL if not
// empty.
func openRepo(t *testing.T, r *debiantest.Repo, mirror string) (*debian.Archive, string) {
	t.Helper()
	if mirror == "" {
		mirror = r.URL
	}
	host, err := debian.ReadHost(t.Context())
	if err != nil {
		t.Fatalf("these tests need apt: %v", err)
	}
	debs := filepath.Join(t.TempDir(), "debs")
	a, err := debian.Open(debian.Config{
		Dir: filepath.Join(t.TempDir(), "apt dir"), Debs: debs, Mirror: mirror,
		Keyring: r.Keyring, Architecture: "amd64", Host: host,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return a, debs
}

// emulators is an archive with two suites, like the real one.
func emulators(t *testing.T) *debiantest.Repo {
	r := debiantest.New(t)
	r.Set(t, "base",
		debiantest.Deb{Name: "emulator", Version: "1:10.0-1", Depends: "libfoo1 (>= 1.0)"},
		debiantest.Deb{Name: "libfoo1", Version: "1.0-1", Depends: "libc-test"},
		debiantest.Deb{Name: "libc-test", Version: "2.41-1"},
		debiantest.Deb{Name: "kernel-meta", Version: "6.12-1", Depends: "kernel-6.12-cloud (= 6.12-1)"},
		debiantest.Deb{Name: "kernel-6.12-cloud", Version: "6.12-1", Depends: "kmod, kernel-modules-6.12 (= 6.12-1)"},
		debiantest.Deb{Name: "kernel-modules-6.12", Version: "6.12-1"},
		debiantest.Deb{Name: "kmod", Version: "34"},
	)
	r.Set(t, "base-backports",
		debiantest.Deb{Name: "emulator", Version: "1:11.1-1~bpo1", Depends: "libfoo1 (>= 1.1)"},
		debiantest.Deb{Name: "libfoo1", Version: "1.1-1~bpo1", Depends: "libc-test"},
		debiantest.Deb{Name: "kernel-meta", Version: "7.0-1~bpo1", Depends: "kernel-7.0-cloud (= 7.0-1~bpo1)"},
	)
	return r
}

var short = cmpopts.IgnoreFields(debian.Package{}, "SHA256", "Size", "Installed", "Architecture")

func TestResolve(t *testing.T) {
	a, _ := openRepo(t, emulators(t), "")
	ctx := t.Context()
	if err := a.Update(ctx, nil, "base", "base-backports"); err != nil {
		t.Fatal(err)
	}
	versions, err := a.Versions(ctx, "emulator")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"base": "1:10.0-1", "base-backports": "1:11.1-1~bpo1"}, versions); diff != "" {
		t.Errorf("versions (-want +got):\n%s", diff)
	}

	t.Run("closure", func(t *testing.T) {
		got, err := a.Closure(ctx, "base-backports", "emulator")
		if err != nil {
			t.Fatal(err)
		}
		want := []debian.Package{
			{Name: "libc-test", Version: "2.41-1", Suite: "base", Filename: "libc-test_2.41-1_amd64.deb"},
			{Name: "libfoo1", Version: "1.1-1~bpo1", Suite: "base-backports", Filename: "libfoo1_1.1-1~bpo1_amd64.deb"},
			{Name: "emulator", Version: "1:11.1-1~bpo1", Suite: "base-backports", Filename: "emulator_1%3a11.1-1~bpo1_amd64.deb"},
		}
		if diff := cmp.Diff(want, got, short); diff != "" {
			t.Errorf("closure (-want +got):\n%s", diff)
		}
	})
	t.Run("follow", func(t *testing.T) {
		got, err := a.Follow(ctx, "base", "kernel-meta", "kernel-")
		if err != nil {
			t.Fatal(err)
		}
		want := []debian.Package{
			{Name: "kernel-6.12-cloud", Version: "6.12-1", Suite: "base", Filename: "kernel-6.12-cloud_6.12-1_amd64.deb"},
			{Name: "kernel-modules-6.12", Version: "6.12-1", Suite: "base", Filename: "kernel-modules-6.12_6.12-1_amd64.deb"},
		}
		if diff := cmp.Diff(want, got, short); diff != "" {
			t.Errorf("packages (-want +got):\n%s", diff)
		}
	})
	t.Run("alone", func(t *testing.T) {
		got, err := a.Alone(ctx, "base", "libfoo1")
		if err != nil {
			t.Fatal(err)
		}
		if got.Version != "1.0-1" {
			t.Errorf("version %q, want that of the suite asked for", got.Version)
		}
	})
	t.Run("missing", func(t *testing.T) {
		_, closure := a.Closure(ctx, "base", "nothing")
		_, alone := a.Alone(ctx, "base", "nothing")
		_, follow := a.Follow(ctx, "base-backports", "kernel-meta", "kernel-") // its image is not there
		for what, err := range map[string]error{"closure": closure, "alone": alone, "follow": follow} {
			if !errors.Is(err, debian.ErrNotThere) {
				t.Errorf("%s: error %v, want ErrNotThere", what, err)
			}
		}
	})
}

func TestUpdateErrors(t *testing.T) {
	r, other := emulators(t), debiantest.New(t)
	gone := debiantest.New(t)
	gone.Stop()
	tests := []struct {
		name, mirror, suite string
		keyring             string
		want                error
	}{
		{name: "no such suite", suite: "base-nowhere", want: debian.ErrNotThere},
		{name: "suite with a space", suite: "base main\ndeb", want: debian.ErrNotThere},
		{name: "mirror does not answer", mirror: gone.URL, suite: "base", want: debian.ErrUnreachable},
		{name: "name does not resolve", mirror: "http://no-such-host.invalid/debian", suite: "base", want: debian.ErrUnreachable},
		{name: "no such folder", mirror: "file:" + t.TempDir(), suite: "base", want: debian.ErrNotThere},
		{name: "no such method", mirror: "bogus:/x", suite: "base", want: debian.ErrUnreachable},
		{name: "signed by another", suite: "base", keyring: other.Keyring, want: debian.ErrSignature},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := debian.Config{Dir: t.TempDir(), Debs: t.TempDir(), Mirror: tt.mirror, Keyring: tt.keyring, Architecture: "amd64"}
			if cfg.Mirror == "" {
				cfg.Mirror = r.URL
			}
			if cfg.Keyring == "" {
				cfg.Keyring = r.Keyring
			}
			a, err := debian.Open(cfg)
			if err != nil {
				t.Fatal(err)
			}
			if err := a.Update(t.Context(), nil, tt.suite); !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
		})
	}
	t.Run("no keyring", func(t *testing.T) {
		_, err := debian.Open(debian.Config{Dir: t.TempDir(), Debs: t.TempDir(), Mirror: r.URL})
		if !errors.Is(err, debian.ErrNoKeyring) {
			t.Errorf("error %v, want ErrNoKeyring", err)
		}
	})
	t.Run("mirror that breaks the configuration", func(t *testing.T) {
		for _, m := range []string{"", "http://a b", `http://a"`, "http://a\nDir::Bin x"} {
			if _, err := debian.Open(debian.Config{Dir: t.TempDir(), Debs: t.TempDir(), Mirror: m, Keyring: r.Keyring}); err == nil {
				t.Errorf("mirror %q was taken", m)
			}
		}
	})
}

// fetchOne resolves and downloads the package "big" of a fresh archive.
func fetchOne(t *testing.T, r *debiantest.Repo, a *debian.Archive) []debian.Package {
	t.Helper()
	if err := a.Update(t.Context(), nil, "base"); err != nil {
		t.Fatal(err)
	}
	ps, err := a.Closure(t.Context(), "base", "big")
	if err != nil {
		t.Fatal(err)
	}
	r.Requests()
	return ps
}

func bigRepo(t *testing.T) *debiantest.Repo {
	r := debiantest.New(t)
	content := strings.Repeat("0123456789abcdef", 128<<10) // 2 MiB
	r.Set(t, "base", debiantest.Deb{Name: "big", Version: "1:1.0-1", Files: map[string]debiantest.File{"usr/big": {Content: content}}})
	return r
}

func TestDownload(t *testing.T) {
	for _, kind := range []string{"http", "file"} {
		t.Run(kind, func(t *testing.T) {
			r := bigRepo(t)
			mirror := ""
			if kind == "file" {
				mirror = "file:" + r.Dir
			}
			a, debs := openRepo(t, r, mirror)
			ps := fetchOne(t, r, a)
			if got := a.Missing(ps); got != ps[0].Size {
				t.Errorf("missing %d bytes, want %d", got, ps[0].Size)
			}
			var last, total int64
			progress := func(d, n int64) { last, total = d, n }
			if err := a.Download(t.Context(), ps, progress); err != nil {
				t.Fatal(err)
			}
			if last != ps[0].Size || total != ps[0].Size {
				t.Errorf("progress ended at %d of %d, want %d", last, total, ps[0].Size)
			}
			info, err := os.Lstat(filepath.Join(debs, ps[0].Filename))
			if err != nil || !info.Mode().IsRegular() {
				t.Fatalf("package is %v, %v, want a file of its own", info, err)
			}
			r.Requests()
			if err := a.Download(t.Context(), ps, func(int64, int64) { t.Error("progress without anything to fetch") }); err != nil {
				t.Fatal(err)
			}
			if got := r.Requests(); len(got) != 0 {
				t.Errorf("second time asked the archive for %q", got)
			}
		})
	}
}

func TestDownloadRepairs(t *testing.T) {
	r := bigRepo(t)
	a, debs := openRepo(t, r, "")
	ps := fetchOne(t, r, a)
	for name, spoil := range map[string]func(body []byte) []byte{
		"truncated": func(b []byte) []byte { return b[:len(b)/2] },
		"too long":  func(b []byte) []byte { return append(b, 0) },
		"modified":  func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		"emptied":   func([]byte) []byte { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			if err := a.Download(t.Context(), ps, nil); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(debs, ps[0].Filename)
			body, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, spoil(body), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := debian.Check(t.Context(), debs, ps[0]); !errors.Is(err, debian.ErrDamaged) {
				t.Errorf("check says %v, want ErrDamaged", err)
			}
			if err := a.Download(t.Context(), ps, nil); err != nil {
				t.Fatal(err)
			}
			if err := debian.Check(t.Context(), debs, ps[0]); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestDownloadResumes breaks a download off in the middle of a package and sees
// the next one ask for the rest only.
func TestDownloadResumes(t *testing.T) {
	r := bigRepo(t)
	a, _ := openRepo(t, r, "")
	ps := fetchOne(t, r, a)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r.Hook(func(w http.ResponseWriter, req *http.Request) {
		r.Files(&stallingWriter{ResponseWriter: w, left: 1 << 20, until: req.Context().Done()}, req)
	})
	err := a.Download(ctx, ps, func(done, _ int64) {
		if done > 0 { // it has reached the disk
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("download that was broken off: %v, want context.Canceled", err)
	}
	var ranges atomic.Value
	r.Hook(func(w http.ResponseWriter, req *http.Request) {
		ranges.Store(req.Header.Get("Range"))
		r.Files(w, req)
	})
	if err := a.Download(t.Context(), ps, nil); err != nil {
		t.Fatal(err)
	}
	if got, _ := ranges.Load().(string); !strings.HasPrefix(got, "bytes=") || got == "bytes=0-" {
		t.Errorf("second download asked for range %q, want the rest only", got)
	}
}

// A stallingWriter passes on left bytes and then waits for until.
type stallingWriter struct {
	http.ResponseWriter
	left  int
	until <-chan struct{}
}

func (s *stallingWriter) Write(p []byte) (int, error) {
	if len(p) <= s.left {
		s.left -= len(p)
		return s.ResponseWriter.Write(p)
	}
	n, err := s.ResponseWriter.Write(p[:s.left])
	s.left = 0
	if f, ok := s.ResponseWriter.(http.Flusher); ok {
		f.Flush()
	}
	if err == nil {
		<-s.until
		err = errors.New("stalled")
	}
	return n, err
}

func TestDownloadErrors(t *testing.T) {
	t.Run("package is gone", func(t *testing.T) {
		r := bigRepo(t)
		a, _ := openRepo(t, r, "")
		ps := fetchOne(t, r, a)
		r.Set(t, "base", debiantest.Deb{Name: "big", Version: "1:1.0-2"})
		if err := a.Download(t.Context(), ps, nil); !errors.Is(err, debian.ErrNotThere) {
			t.Errorf("error %v, want ErrNotThere", err)
		}
	})
	t.Run("mirror serves something else", func(t *testing.T) {
		r := bigRepo(t)
		a, _ := openRepo(t, r, "")
		ps := fetchOne(t, r, a)
		d := debiantest.Deb{Name: "big", Version: "1:1.0-1"}
		evil := d.Build(t)
		r.Replace(t, d, append(evil, make([]byte, int(ps[0].Size)-len(evil))...))
		if err := a.Download(t.Context(), ps, nil); err == nil {
			t.Error("a package with a wrong hash was taken")
		}
	})
	t.Run("mirror goes away", func(t *testing.T) {
		r := bigRepo(t)
		a, _ := openRepo(t, r, "")
		ps := fetchOne(t, r, a)
		r.Stop()
		if err := a.Download(t.Context(), ps, nil); !errors.Is(err, debian.ErrUnreachable) {
			t.Errorf("error %v, want ErrUnreachable", err)
		}
	})
	t.Run("mirror goes silent", func(t *testing.T) {
		r := bigRepo(t)
		r.Hook(func(w http.ResponseWriter, req *http.Request) {
			if strings.Contains(req.URL.Path, "/pool/") {
				w = &stallingWriter{ResponseWriter: w, left: 1 << 20, until: req.Context().Done()}
			}
			r.Files(w, req)
		})
		host, err := debian.ReadHost(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		a, err := debian.Open(debian.Config{Dir: t.TempDir(), Debs: t.TempDir(), Mirror: r.URL, Keyring: r.Keyring,
			Architecture: "amd64", Host: host, Stall: 2 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		ps := fetchOne(t, r, a)
		if err := a.Download(t.Context(), ps, nil); !errors.Is(err, debian.ErrUnreachable) || !strings.Contains(err.Error(), "nothing has come for 2s") {
			t.Errorf("error %v, want ErrUnreachable for silence", err)
		}
	})
	t.Run("cancelled while the mirror is silent", func(t *testing.T) {
		r := bigRepo(t)
		a, _ := openRepo(t, r, "")
		asked := make(chan struct{}, 16)
		r.Hook(func(_ http.ResponseWriter, req *http.Request) {
			asked <- struct{}{}
			<-req.Context().Done()
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		go func() { <-asked; cancel() }()
		if err := a.Update(ctx, nil, "base"); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want context.Canceled", err)
		}
	})
}

// TestPasswordStaysOut fetches from a mirror whose address has a password in it,
// and looks for it in every command line meanwhile.
func TestPasswordStaysOut(t *testing.T) {
	r := bigRepo(t)
	mirror := strings.Replace(r.URL, "http://", "http://me:s3cret@", 1)
	a, _ := openRepo(t, r, mirror)
	ps := fetchOne(t, r, a)
	r.Hook(func(w http.ResponseWriter, req *http.Request) {
		if user, password, ok := req.BasicAuth(); !ok || user != "me" || password != "s3cret" {
			t.Errorf("asked as %q with %q", user, password)
		}
		files, err := filepath.Glob("/proc/[0-9]*/cmdline")
		if err != nil || len(files) == 0 {
			t.Errorf("no processes: %v", err)
		}
		for _, f := range files {
			if b, err := os.ReadFile(f); err == nil && strings.Contains(string(b), "s3cret") {
				t.Errorf("password in command line %q", b)
			}
		}
		r.Files(w, req)
	})
	if err := a.Download(t.Context(), ps, nil); err != nil {
		t.Fatal(err)
	}
	r.Stop()
	err := a.Update(t.Context(), nil, "base")
	if err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("error %v, want one without the password", err)
	}
}
