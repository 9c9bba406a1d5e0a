package oci_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/match"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/nitrolab/nitrolab/images/oci"
)

// TestForms reads one image in every form it can come in.
func TestForms(t *testing.T) {
	img := imageOf(t, []entry{f("a", "1")}, []entry{f("b", "2")})
	id, err := img.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	docker := dockerArchive(t, map[string]v1.Image{"example.com/team/app:1.0": img})
	ociDir := layoutDir(t, img)
	ociTar := tarDir(t, ociDir)
	for name, file := range map[string]string{
		"docker archive": docker, "docker archive, gzipped": gzipped(t, docker),
		"OCI directory": ociDir, "OCI archive": ociTar, "OCI archive, gzipped": gzipped(t, ociTar),
	} {
		t.Run(name, func(t *testing.T) {
			im, err := oci.Open(context.Background(), file, amd64)
			if err != nil {
				t.Fatal(err)
			}
			defer im.Close()
			if im.ID != id || im.Config.Config.Cmd[0] != "/app" {
				t.Errorf("id %s, config %+v", im.ID, im.Config.Config)
			}
			if want := map[bool]string{true: "example.com/team/app:1.0"}[strings.HasPrefix(name, "docker")]; im.Reference != want {
				t.Errorf("reference %q, want %q", im.Reference, want)
			}
			got, _, err := flatten(t, file, amd64)
			if err != nil || paths(got) != "a b" {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
}

// TestOldDockerArchive has layers that are links to each other, as docker
// before version 25 wrote equal ones.
func TestOldDockerArchive(t *testing.T) {
	dir := t.TempDir()
	layer := tarOf(t, f("a", "1"))
	writeImage(t, dir, layer, layer)
	config, err := os.ReadFile(filepath.Join(dir, "c"))
	if err != nil {
		t.Fatal(err)
	}
	file := write(t, tarOf(t,
		f("c", string(config)),
		f("1/layer.tar", string(layer)),
		l("2/layer.tar", "../1/layer.tar"),
		l("3/layer.tar", "3/layer.tar"),
		f("manifest.json", `[{"Config":"c","Layers":["1/layer.tar","2/layer.tar"]}]`)))
	got, _, err := flatten(t, file, amd64)
	if err != nil || paths(got) != "a" {
		t.Errorf("%v, %v", got, err)
	}
}

func TestChoice(t *testing.T) {
	one := imageOf(t, []entry{f("one", "")})
	two := imageOf(t, []entry{f("two", "")})
	arm := withConfig(t, imageOf(t, []entry{f("arm", "")}), "arm64", v1.Config{})
	multi := multiPlatform(t, one, arm)
	docker := dockerArchive(t, map[string]v1.Image{"app:1": one, "app:2": two})
	named := layoutNamed(t, map[string]v1.Image{"app:1": one, "app:2": two})
	tests := []struct {
		name, file string
		o          oci.Options
		want, err  string
	}{
		{"docker by tag", docker, oci.Options{Architecture: "amd64", Tag: "app:2"}, "two", ""},
		{"docker by whole name", docker, oci.Options{Architecture: "amd64", Tag: "docker.io/library/app:1"}, "one", ""},
		{"docker without tag", docker, amd64, "", `the archive has 2 images, name one of: "app:1", "app:2"`},
		{"docker wrong tag", docker, oci.Options{Architecture: "amd64", Tag: "app:3"}, "", `no image "app:3"; there are: "app:1", "app:2"`},
		{"docker wrong architecture", docker, oci.Options{Architecture: "arm64", Tag: "app:1"}, "", "image is for linux/amd64, wanted is linux/arm64"},
		{"OCI by tag", named, oci.Options{Architecture: "amd64", Tag: "app:2"}, "two", ""},
		{"OCI without tag", named, amd64, "", `2 images match, name one of: "app:1", "app:2"`},
		{"OCI wrong tag", named, oci.Options{Architecture: "amd64", Tag: "app:3"}, "", `no image "app:3" for linux/amd64; there are: `},
		{"OCI amd64 of several", multi, amd64, "one", ""},
		{"OCI arm64 of several", multi, oci.Options{Architecture: "arm64"}, "arm", ""},
		{"OCI other architecture", multi, oci.Options{Architecture: "riscv64"}, "", "no image linux/riscv64; there are: linux/amd64, linux/arm64"},
		{"OCI only other architecture", layoutDir(t, arm), amd64, "", "image is for linux/arm64, wanted is linux/amd64"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, _, err := flatten(t, tt.file, tt.o)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error %v, want one with %q", err, tt.err)
				}
				return
			}
			if err != nil || paths(got) != tt.want {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
}

// multiPlatform writes an index inside the layout's index, with an attestation
// beside the images, as buildkit does.
func multiPlatform(t *testing.T, amd, arm v1.Image) string {
	t.Helper()
	index := mutate.AppendManifests(empty.Index,
		mutate.IndexAddendum{Add: amd, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}},
		mutate.IndexAddendum{Add: arm, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "arm64"}}},
		mutate.IndexAddendum{Add: imageOf(t, []entry{f("attestation", "")}), Descriptor: v1.Descriptor{
			Platform:    &v1.Platform{OS: "unknown", Architecture: "unknown"},
			Annotations: map[string]string{"vnd.docker.reference.type": "attestation-manifest"},
		}})
	dir := t.TempDir()
	p, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.AppendIndex(index); err != nil {
		t.Fatal(err)
	}
	return dir
}

func layoutNamed(t *testing.T, images map[string]v1.Image) string {
	t.Helper()
	dir := t.TempDir()
	p, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	for name, img := range images {
		opt := layout.WithAnnotations(map[string]string{"io.containerd.image.name": name})
		if err := p.ReplaceImage(img, match.Name(name), opt); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestHostileArchives have containers that lie about themselves.
func TestHostileArchives(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte(`{"os":"linux","architecture":"amd64"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	dirWith := func(files map[string]string) string {
		dir := t.TempDir()
		for name, body := range files {
			if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, name), []byte(body), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	rel := "../" + filepath.Base(filepath.Dir(secret)) + "/secret"
	linked := dirWith(map[string]string{"manifest.json": `[{"Config":"c","Layers":[]}]`})
	if err := os.Symlink(secret, filepath.Join(linked, "c")); err != nil {
		t.Fatal(err)
	}
	changed := layoutDir(t, imageOf(t, []entry{f("a", "1")}))
	changeBlobs(t, changed)
	docker := dockerArchive(t, map[string]v1.Image{"app:1": imageOf(t, []entry{f("a", "1")})})
	cut, err := os.ReadFile(docker)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, file, want string }{
		{"nothing there", filepath.Join(t.TempDir(), "none"), "no such file"},
		{"a device", "/dev/null", "neither a file nor a directory"},
		{"empty directory", t.TempDir(), "no container image"},
		{"empty file", write(t, nil), "no container image"},
		{"no tar", write(t, []byte(strings.Repeat("x", 1024))), "not a readable tar archive"},
		{"no gzip", write(t, []byte("\x1f\x8bxxxxxxxxxxxxxxxx")), "gzip"},
		{"cut off", write(t, cut[:600]), "cut off inside"},
		{"tar of something else", write(t, tarOf(t, f("README", "hello"))), "no container image"},
		{"absolute configuration", dirWith(map[string]string{"manifest.json": fmt.Sprintf(`[{"Config":%q,"Layers":[]}]`, secret)}), "escapes"},
		{"configuration outside", dirWith(map[string]string{"manifest.json": fmt.Sprintf(`[{"Config":%q,"Layers":[]}]`, rel)}), "escapes"},
		{"configuration through a link", linked, "escapes"},
		{"link out of an archive", write(t, tarOf(t, l("c", "../../../../.."+secret), f("manifest.json", `[{"Config":"c","Layers":[]}]`))), "configuration: c: file does not exist"},
		{"links in a circle", write(t, tarOf(t, l("c", "d"), l("d", "c"), f("manifest.json", `[{"Config":"c","Layers":[]}]`))), "too many links"},
		{"no JSON", dirWith(map[string]string{"manifest.json": "x"}), "manifest.json"},
		{"huge JSON", dirWith(map[string]string{"manifest.json": strings.Repeat(" ", 4<<20+1)}), "has more than 4194304 bytes"},
		{"index no JSON", dirWith(map[string]string{"index.json": "x"}), "index.json"},
		{"no image in the index", dirWith(map[string]string{"index.json": `{"manifests":[]}`}), "no image linux/amd64; there are: none"},
		{"digest that is a path", dirWith(map[string]string{"index.json": `{"manifests":[{"digest":"sha256:../../x"}]}`}), "hex"},
		{"no digest", dirWith(map[string]string{"index.json": `{"manifests":[{}]}`}), "manifest"},
		{"changed manifest", changed, "has the digest sha256:"},
		{"fewer layers than the configuration", dirWith(map[string]string{
			"manifest.json": `[{"Config":"c","Layers":[]}]`,
			"c":             `{"rootfs":{"diff_ids":["sha256:` + strings.Repeat("0", 64) + `"]}}`,
		}), "manifest has 0 layers, configuration has 1"},
		{"Windows", dirWith(map[string]string{"manifest.json": `[{"Config":"c","Layers":[]}]`, "c": `{"os":"windows","architecture":"amd64"}`}), "image is for windows/amd64"},
		{"manifest is a directory", func() string {
			dir := t.TempDir()
			if err := os.Mkdir(filepath.Join(dir, "manifest.json"), 0o755); err != nil {
				t.Fatal(err)
			}
			return dir
		}(), "not a regular file"},
		{"index of itself", selfIndex(t), "nested more than 3 deep"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			im, err := oci.Open(context.Background(), tt.file, amd64)
			if err == nil {
				im.Close()
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
	missing := dirWith(map[string]string{
		"manifest.json": `[{"Config":"c","Layers":["gone.tar"]}]`,
		"c":             `{"rootfs":{"diff_ids":["sha256:` + strings.Repeat("0", 64) + `"]}}`,
	})
	if _, _, err := flatten(t, missing, amd64); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing layer: error %v", err)
	}
}

// changeBlobs changes a byte of white space in every JSON blob.
func changeBlobs(t *testing.T, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "blobs", "sha256", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if json.Valid(b) {
			if err := os.WriteFile(name, append(b, ' '), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// selfIndex is a chain of indexes, one inside the other.
func selfIndex(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "blobs", "sha256"), 0o755); err != nil {
		t.Fatal(err)
	}
	index := `{"manifests":[]}`
	for range 3 {
		digest := fmt.Sprintf("%x", sha256.Sum256([]byte(index)))
		if err := os.WriteFile(filepath.Join(dir, "blobs", "sha256", digest), []byte(index), 0o644); err != nil {
			t.Fatal(err)
		}
		index = `{"manifests":[{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"sha256:` + digest + `"}]}`
	}
	if err := os.WriteFile(filepath.Join(dir, "index.json"), []byte(index), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}
