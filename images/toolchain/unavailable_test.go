package toolchain

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nitrolab/nitrolab/images/toolchain/debian"
	"github.com/nitrolab/nitrolab/images/toolchain/debian/debiantest"
)

func TestUnavailable(t *testing.T) {
	tests := []struct {
		name  string
		setup func(t *testing.T, r *debiantest.Repo, o *Options)
		want  error
		says  []string
	}{
		{
			name:  "no network",
			setup: func(t *testing.T, r *debiantest.Repo, _ *Options) { r.Stop() },
			want:  debian.ErrUnreachable,
			says:  []string{"qemu, kernel and busybox", "not cached", "cannot be reached", EnvQEMU, EnvKernel, "network"},
		},
		{
			name: "mirror without backports",
			setup: func(t *testing.T, r *debiantest.Repo, _ *Options) {
				r.Drop(t, "base-backports")
			},
			want: debian.ErrNotThere,
			says: []string{"base and base-backports", "next", "Release file", EnvMirror},
		},
		{
			name: "QEMU in the archive is too old",
			setup: func(t *testing.T, r *debiantest.Repo, _ *Options) {
				r.Set(t, "base-backports", qemuDebs("10.1.9")[0])
			},
			want: debian.ErrNotThere,
			says: []string{"10.1.9", "needed is 10.2"},
		},
		{
			name: "no kernel in the archive",
			setup: func(t *testing.T, r *debiantest.Repo, _ *Options) {
				r.Set(t, "base", append(qemuDebs("10.0.1"), busyboxDeb)...)
			},
			want: debian.ErrNotThere,
			says: []string{kernelPackage},
		},
		{
			name: "package is gone",
			setup: func(t *testing.T, r *debiantest.Repo, _ *Options) {
				if err := os.RemoveAll(filepath.Join(r.Dir, "pool")); err != nil {
					t.Fatal(err)
				}
			},
			want: debian.ErrNotThere,
			says: []string{"do not fit together", "404", "try again"},
		},
		{
			name: "signed by another",
			setup: func(t *testing.T, _ *debiantest.Repo, o *Options) {
				o.Keyring = debiantest.New(t).Keyring
			},
			want: debian.ErrSignature,
			says: []string{"not signed by a key in the keyring", "debian-archive-keyring", EnvKeyring},
		},
		{
			name: "little room",
			setup: func(t *testing.T, _ *debiantest.Repo, o *Options) {
				o.free = func(string) (int64, error) { return 4096, nil }
			},
			want: debian.ErrNoSpace,
			says: []string{"MB needed", "0 MB free", EnvCache},
		},
		{
			name: "no apt",
			setup: func(t *testing.T, _ *debiantest.Repo, _ *Options) {
				t.Setenv("PATH", t.TempDir())
			},
			want: debian.ErrNoApt,
			says: []string{"no apt", EnvQEMU, EnvKernel, EnvBusybox},
		},
		{
			name: "cache is a file",
			setup: func(t *testing.T, _ *debiantest.Repo, o *Options) {
				writeTestFile(t, o.CacheDir, "", 0o644)
			},
			want: ErrUnavailable,
			says: []string{"cannot write the cache", EnvCache},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRepo(t)
			opts := testOptions(t, r)
			tt.setup(t, r, &opts)
			_, err := Find(t.Context(), opts)
			if !errors.Is(err, tt.want) || !errors.Is(err, ErrUnavailable) {
				t.Fatalf("error %v, want %v", err, tt.want)
			}
			for _, s := range tt.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("%q\ndoes not say %q", err, s)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %q", err)
			}
			leftovers, globErr := filepath.Glob(filepath.Join(opts.CacheDir, "toolchain", "tmp-*"))
			if globErr != nil || len(leftovers) > 0 || exists(filepath.Join(opts.CacheDir, "toolchain", "apt")) {
				t.Errorf("left behind %q, %v", leftovers, globErr)
			}
		})
	}
}

// fakeAptSources makes this machine's apt say that its sources are these.
func fakeAptSources(t *testing.T, list string) {
	t.Helper()
	apt, err := exec.LookPath("apt-config")
	must(t, err)
	dir := t.TempDir()
	writeTestFile(t, filepath.Join(dir, "etc/sources.list"), list, 0o644)
	writeTestFile(t, filepath.Join(dir, "bin/apt-config"), `#!/bin/sh
[ -z "$APT_CONFIG" ] || exec `+apt+` "$@" # apt's own tools ask it too
cat <<END
Dir "/";
Dir::Etc "`+dir+`/etc";
Dir::Etc::sourcelist "sources.list";
Dir::Etc::sourceparts "sources.list.d";
Dir::Etc::trustedparts "trusted.gpg.d";
Dir::Bin::methods "/usr/lib/apt/methods";
END
`, 0o755)
	t.Setenv("PATH", filepath.Join(dir, "bin")+string(os.PathListSeparator)+os.Getenv("PATH"))
}

// TestMachineMirrors leaves the mirror to the machine's apt sources.
func TestMachineMirrors(t *testing.T) {
	r, vendor := newRepo(t), newRepo(t) // the vendor's has another key
	gone := debiantest.New(t)
	gone.Stop()
	opts := testOptions(t, r)
	opts.Mirror = ""
	t.Run("one that does not answer, a vendor's, and the right one", func(t *testing.T) {
		fakeAptSources(t, "deb "+gone.URL+"/debian bookworm main\ndeb "+vendor.URL+" bookworm main\ndeb "+r.URL+"/ bookworm main\ndeb "+r.URL+"/security bookworm-security main\n")
		opts.CacheDir = t.TempDir()
		tc := mustFind(t, opts)
		if got := tc.Content(PartQEMU).Mirror; got != r.URL {
			t.Errorf("took mirror %s, want %s", got, r.URL)
		}
	})
	t.Run("a machine of another distribution", func(t *testing.T) {
		fakeAptSources(t, "deb "+r.URL+" noble main universe\n")
		opts.CacheDir = t.TempDir()
		_, err := Find(t.Context(), opts)
		if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "name no mirror of Debian") || !strings.Contains(err.Error(), EnvMirror) {
			t.Errorf("error %v does not say what to set", err)
		}
	})
}

func TestFallbackSuite(t *testing.T) {
	r := newRepo(t)
	r.Drop(t, "base-backports")
	r.Set(t, "next", append(append(qemuDebs("11.2.0"), kernelDebs(t, "7.0.1+test-cloud-amd64")...), busyboxDeb)...)
	tc := mustFind(t, testOptions(t, r))
	if tc.QEMU.Version != "11.2.0" || tc.Kernel.Release != "7.0.1+test-cloud-amd64" {
		t.Errorf("QEMU %s, kernel %s, want those of the next suite", tc.QEMU.Version, tc.Kernel.Release)
	}
	if got := tc.Content(PartKernel).Packages[0].Suite; got != "next" {
		t.Errorf("kernel is of suite %q", got)
	}
}
