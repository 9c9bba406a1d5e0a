package bundle_test

import (
	"archive/tar"
	"bytes"
	"context"
	"debug/elf"
	"encoding/json"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/nitrolab/nitrolab/images/bundle"
	"github.com/nitrolab/nitrolab/images/bundle/bundletest"
	"github.com/nitrolab/nitrolab/images/eif"
)

// dockerArchive saves an image with one layer of executable files.
func dockerArchive(t testing.TB, dir, arch string, c v1.Config, contents map[string]string) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, n := range []string{"app", "bin/sh", "script"} {
		body, ok := contents[n]
		if !ok {
			continue
		}
		if err := w.WriteHeader(&tar.Header{Name: n, Typeflag: tar.TypeReg, Mode: 0o755, Uid: 7, Size: int64(len(body))}); err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, body)
	}
	w.Close()
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	img, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		t.Fatal(err)
	}
	cf, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	cf = cf.DeepCopy()
	cf.OS, cf.Architecture, cf.Config = "linux", arch, c
	if img, err = mutate.ConfigFile(img, cf); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "image.tar")
	tag, err := name.NewTag("example.com:5000/team/app:1.2")
	if err != nil {
		t.Fatal(err)
	}
	if err := tarball.WriteToFile(file, tag, img); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestArchive(t *testing.T) {
	dir := t.TempDir()
	c := v1.Config{Cmd: []string{"/app", "-x"}, Env: []string{"PATH=/bin", "A=1"}}
	file := dockerArchive(t, dir, "amd64", c, map[string]string{"app": static})
	r, im := build(t, newSpec(t, dir, bundle.Archive{Path: file, Env: []string{"B=2", "A=3"}}))
	got, order := files(t, im.Ramdisks()[1])
	if want := "cmd env rootfs rootfs/app rootfs/dev rootfs/proc rootfs/run rootfs/sys rootfs/tmp rootfs/var"; order != want {
		t.Errorf("got %s, want %s", order, want)
	}
	if got["cmd"] != "/app\n-x\n" || got["env"] != "PATH=/bin\nA=3\nB=2\n" {
		t.Errorf("cmd %q, env %q", got["cmd"], got["env"])
	}
	if len(r.Warnings) != 0 {
		t.Errorf("warnings %q", r.Warnings)
	}
	meta, err := im.Metadata()
	if err != nil {
		t.Fatal(err)
	}
	var info struct {
		ID       string `json:"Id"`
		RepoTags []string
		Config   struct{ Cmd []string }
	}
	if err := json.Unmarshal(meta.DockerInfo, &info); err != nil {
		t.Fatal(err)
	}
	if meta.ImageName != "example.com:5000/team/app" || "sha256:"+meta.ImageVersion != info.ID ||
		info.RepoTags[0] != "example.com:5000/team/app:1.2" || info.Config.Cmd[0] != "/app" {
		t.Errorf("metadata %s %s, docker info %s", meta.ImageName, meta.ImageVersion, meta.DockerInfo)
	}
}

// TestArchiveCommand has nitro-cli's rule, docker's, and the caller's own.
func TestArchiveCommand(t *testing.T) {
	sh := map[string]string{"app": static, "bin/sh": static, "script": "#!/bin/sh\n"}
	tests := []struct {
		name     string
		config   v1.Config
		docker   bool
		cmd      []string
		want     []string
		warnings []string
		err      string
	}{
		{name: "CMD", config: v1.Config{Cmd: []string{"/app"}}, want: []string{"/app"}},
		{name: "ENTRYPOINT", config: v1.Config{Entrypoint: []string{"/app", "a"}}, want: []string{"/app", "a"}},
		{
			name: "both: CMD alone", config: v1.Config{Entrypoint: []string{"/app"}, Cmd: []string{"sh"}}, want: []string{"sh"},
			warnings: []string{`the image has ENTRYPOINT ["/app"] and CMD ["sh"]; as nitro-cli does, only CMD is run`},
		},
		{
			name: "both: CMD is only arguments", config: v1.Config{Entrypoint: []string{"/app"}, Cmd: []string{"--flag"}},
			err: `command "--flag" cannot run: it is in none of /sbin, /usr/sbin, /bin, /usr/bin`,
		},
		{name: "both: as docker", config: v1.Config{Entrypoint: []string{"/app"}, Cmd: []string{"--flag"}}, docker: true, want: []string{"/app", "--flag"}},
		{name: "own command", config: v1.Config{Entrypoint: []string{"/none"}}, cmd: []string{"/script"}, want: []string{"/script"}},
		{name: "neither", config: v1.Config{}, err: "has neither CMD nor ENTRYPOINT"},
		{name: "neither, as docker", config: v1.Config{}, docker: true, err: "has neither CMD nor ENTRYPOINT"},
		{
			name: "not regarded", config: v1.Config{Cmd: []string{"/app"}, WorkingDir: "/srv", User: "nobody"}, want: []string{"/app"},
			warnings: []string{
				`the image wants the working directory "/srv"; an enclave starts in "/"`,
				`the image wants to run as "nobody"; an enclave runs everything as root`,
			},
		},
		{name: "root is fine", config: v1.Config{Cmd: []string{"/app"}, WorkingDir: "/", User: "root"}, want: []string{"/app"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			file := dockerArchive(t, dir, "amd64", tt.config, sh)
			spec := newSpec(t, dir, bundle.Archive{Path: file, DockerCommand: tt.docker, Cmd: tt.cmd})
			if tt.err != "" {
				_, err := bundle.Build(context.Background(), filepath.Join(dir, "app.eif"), spec)
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error %v, want one with %q", err, tt.err)
				}
				return
			}
			r, _ := build(t, spec)
			if diff := cmp.Diff(tt.want, r.Command); diff != "" {
				t.Errorf("command (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.warnings, r.Warnings); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
		})
	}
}

func TestArchiveArchitecture(t *testing.T) {
	dir := t.TempDir()
	file := dockerArchive(t, dir, "arm64", v1.Config{Cmd: []string{"/app"}}, map[string]string{"app": static})
	_, err := bundle.Build(context.Background(), filepath.Join(dir, "app.eif"), newSpec(t, dir, bundle.Archive{Path: file}))
	if err == nil || !strings.Contains(err.Error(), "image is for linux/arm64, wanted is linux/amd64") {
		t.Errorf("error %v", err)
	}
}

// TestPrograms checks commands that would fail inside the enclave.
func TestPrograms(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		modes map[string]int
		cmd   string
		want  string // "" for good
	}{
		{name: "static", files: map[string]string{"a": static}, cmd: "/a"},
		{name: "relative to the root", files: map[string]string{"b/a": static}, cmd: "./b/a"},
		{name: "searched", files: map[string]string{"usr/sbin/a": static}, cmd: "a"},
		{name: "dynamic, complete", files: map[string]string{"a": dynamic, interpreter: "ld"}, cmd: "/a"},
		{name: "script", files: map[string]string{"a": "#!/bin/sh -e\necho", "bin/sh": static}, cmd: "/a"},
		{name: "script of a script", files: map[string]string{"a": "#! /b", "b": "#!/c\n", "c": static}, cmd: "/a"},
		{name: "no magic, given to a shell", files: map[string]string{"a": "echo hello", "bin/sh": static}, cmd: "/a"},

		{name: "missing", cmd: "/a", want: "/a: no such file in the root filesystem"},
		{name: "not in the search path", files: map[string]string{"usr/local/bin/a": static}, cmd: "a", want: "it is in none of /sbin, /usr/sbin, /bin, /usr/bin"},
		{name: "a directory", files: map[string]string{"a/b": static}, cmd: "/a", want: "/a is not a regular file"},
		{name: "not executable", files: map[string]string{"a": static}, modes: map[string]int{"a": 0o644}, cmd: "/a", want: "/a is not executable (mode 0644)"},
		{name: "empty", files: map[string]string{"a": ""}, cmd: "/a", want: "/a is empty"},
		{name: "wrong machine", files: map[string]string{"a": staticARM}, cmd: "/a", want: "built for EM_AARCH64"},
		{name: "dynamic without interpreter", files: map[string]string{"a": dynamic}, cmd: "/a", want: "/a is dynamically linked and the root filesystem has no " + interpreter},
		{name: "script without interpreter", files: map[string]string{"a": "#!/usr/bin/python3\n"}, cmd: "/a", want: "/usr/bin/python3: no such file"},
		{name: "script naming none", files: map[string]string{"a": "#! \n"}, cmd: "/a", want: "names no interpreter"},
		{name: "script of itself", files: map[string]string{"a": "#!/a\n"}, cmd: "/a", want: "more than 4 in a row"},
		{name: "no magic and no shell", files: map[string]string{"a": "echo"}, cmd: "/a", want: "/bin/sh: no such file"},
		{name: "interpreter name too long", files: map[string]string{"a": bundletest.Program(elf.EM_X86_64, elf.ET_EXEC, 1, strings.Repeat("x", 5000))}, cmd: "/a", want: "has 5001 bytes"},
		{name: "cut ELF", files: map[string]string{"a": dynamic[:130]}, cmd: "/a", want: "damaged ELF file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			root := filepath.Join(dir, "root")
			write(t, root, "etc/x", "", 0o644)
			for name, content := range tt.files {
				mode := 0o755
				if m, ok := tt.modes[name]; ok {
					mode = m
				}
				write(t, root, name, content, fileMode(mode))
			}
			spec := newSpec(t, dir, bundle.Directory{Path: root, Cmd: []string{tt.cmd}})
			_, err := bundle.Build(context.Background(), filepath.Join(dir, "app.eif"), spec)
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var pe *bundle.ProgramError
			if !errors.As(err, &pe) || pe.Program != tt.cmd || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want a ProgramError with %q", err, tt.want)
			}
		})
	}
}

// TestArchiveReproducible signs nothing and names nothing: the same archive at
// another path gives the same file.
func TestArchiveReproducible(t *testing.T) {
	var m []eif.Measurements
	for range 2 {
		dir := t.TempDir()
		file := dockerArchive(t, dir, "amd64", v1.Config{Cmd: []string{"/app"}}, map[string]string{"app": static})
		r, _ := build(t, newSpec(t, dir, bundle.Archive{Path: file}))
		m = append(m, r.Measurements)
	}
	if m[0] != m[1] {
		t.Error("two builds differ")
	}
}
