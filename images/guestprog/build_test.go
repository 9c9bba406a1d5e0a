package guestprog

import (
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const initPackage = Module + "/guest/cmd/init"

func TestBuildErrors(t *testing.T) {
	tests := []struct {
		name     string
		packages []string
		want     string
	}{
		{"flag", []string{"-toolexec=evil"}, "no import path"},
		{"pattern", []string{Module + "/guest/..."}, "no import path"},
		{"same name", []string{"a/x", "b/x"}, "two packages are named x"},
		{"no such package", []string{Module + "/guest/cmd/none"}, "guest/cmd/none"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Build(context.Background(), t.TempDir(), tt.packages...); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

func TestBuildUnavailable(t *testing.T) {
	t.Run("outside of modules", func(t *testing.T) {
		t.Chdir(t.TempDir())
		_, err := Build(context.Background(), ".", initPackage)
		if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "make build") {
			t.Errorf("error %v, want unavailable, with a way out", err)
		}
	})
	t.Run("no go command", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		_, err := Build(context.Background(), t.TempDir(), initPackage)
		if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "no go command") {
			t.Errorf("error %v, want unavailable", err)
		}
	})
}

func TestBuildCancelled(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if _, err := Build(ctx, t.TempDir(), initPackage); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want the end of the context", err)
	}
}

// The caller's settings must not get into an image.
func TestEnvironmentIsOurs(t *testing.T) {
	hostile := map[string]string{
		"GOFLAGS": "-tags=evil", "GOAMD64": "v4", "GOEXPERIMENT": "nosuch", "CGO_ENABLED": "1",
		"GOOS": "plan9", "GOARCH": "arm64", "CC": "evil", "GODEBUG": "x=1", "GOWORK": "/nowhere/go.work",
	}
	for k, v := range hostile {
		t.Setenv(k, v)
	}
	t.Setenv("GOPROXY", "off")
	// The experiment alone would make `go env` fail.
	os.Unsetenv("GOEXPERIMENT")
	g, err := newGoCommand(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]string)
	for _, v := range g.env {
		name, value, _ := strings.Cut(v, "=")
		got[name] = value // the last one counts, as for exec
	}
	for k, v := range hostile {
		if got[k] == v {
			t.Errorf("%s=%s is passed on", k, v)
		}
	}
	for k, want := range map[string]string{
		"GOAMD64": "v1", "CGO_ENABLED": "0", "GOOS": "linux", "GOARCH": "amd64", "GOENV": "off", "GOPROXY": "off",
	} {
		if got[k] != want {
			t.Errorf("%s=%q, want %q", k, got[k], want)
		}
	}
	if got["GOMODCACHE"] == "" || got["PATH"] == "" {
		t.Error("the go command lacks GOMODCACHE or PATH")
	}
}

// The same sources give the same bytes in another folder, with another home and
// an empty build cache, with hostile settings, and from a module that depends on
// ours and has no checksums for what only guest programs import.
func TestBuildReproducible(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles a part of the standard library, 10 s or more")
	}
	ctx := context.Background()
	here := build(t, ctx)

	info, err := buildinfo.ReadFile(here)
	if err != nil {
		t.Fatal(err)
	}
	if info.Main.Version != "(devel)" || info.Path != initPackage {
		t.Errorf("built as %s %s", info.Path, info.Main.Version)
	}
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(here)
	if err != nil {
		t.Fatal(err)
	}
	for _, trace := range []string{root, os.Getenv("HOME") + "/go"} {
		if strings.Contains(string(raw), trace) {
			t.Errorf("the program holds the path %s", trace)
		}
	}
	want := digest(t, here)

	// Settings are read before they are changed.
	modCache := goEnv(t, "GOMODCACHE")
	copied := filepath.Join(t.TempDir(), "some", "other place")
	copyModule(t, root, copied)

	t.Run("dependent module", func(t *testing.T) {
		dir := t.TempDir()
		mod := fmt.Sprintf("module example.com/user\n\ngo 1.26.0\n\nrequire %s v0.0.0\n\nreplace %[1]s => %q\n", Module, copied)
		if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte(mod), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Chdir(dir)
		t.Setenv("GOFLAGS", "-mod=readonly")
		if got := digest(t, build(t, ctx)); got != want {
			t.Errorf("SHA-256 %s, want %s", got, want)
		}
	})
	t.Run("other folder, home, cache and settings", func(t *testing.T) {
		t.Chdir(copied)
		t.Setenv("GOMODCACHE", modCache)
		t.Setenv("HOME", t.TempDir())
		t.Setenv("GOCACHE", t.TempDir())
		t.Setenv("GOAMD64", "v3")
		t.Setenv("GOFLAGS", "-ldflags=-X=main.x=y")
		if got := digest(t, build(t, ctx)); got != want {
			t.Errorf("SHA-256 %s, want %s", got, want)
		}
	})
}

func build(t *testing.T, ctx context.Context) string {
	t.Helper()
	start := time.Now()
	paths, err := Build(ctx, t.TempDir(), initPackage)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("built in %v", time.Since(start).Round(time.Millisecond))
	return paths[Init]
}

func digest(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", sha256.Sum256(b))
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// copyModule copies what guest programs are made of.
func copyModule(t *testing.T, from, to string) {
	t.Helper()
	for _, p := range []string{"go.mod", "go.sum", "guest", "devices"} {
		err := filepath.WalkDir(filepath.Join(from, p), func(src string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(from, src)
			if err != nil {
				return err
			}
			dst := filepath.Join(to, rel)
			if d.IsDir() {
				return os.MkdirAll(dst, 0o700)
			}
			if ext := filepath.Ext(src); ext != ".go" && ext != ".mod" && ext != ".sum" || strings.HasSuffix(src, "_test.go") {
				return nil
			}
			if err := os.MkdirAll(filepath.Dir(dst), 0o700); err != nil {
				return err
			}
			b, err := os.ReadFile(src)
			if err != nil {
				return err
			}
			return os.WriteFile(dst, b, 0o600)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
