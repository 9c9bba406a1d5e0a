package nitrocli_test

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/nitrolab/nitrolab/images/bundle/bundletest"
	"github.com/nitrolab/nitrolab/images/eif"
	"github.com/nitrolab/nitrolab/images/initramfs/initramfstest"
)

// blobs makes a blobs directory and names it in the environment.
func (w *world) blobs() {
	w.t.Helper()
	w.write("blobs/bzImage", string(bundletest.BzImage(w.t)))
	w.write("blobs/init", "the init")
	w.write("blobs/nsm.ko", "the module")
	w.write("blobs/cmdline", " reboot=k console=ttyS0\n")
	w.env["NITRO_CLI_BLOBS"] = w.path("blobs")
}

// container is an image with one program, and a command and an environment.
func container(t *testing.T) v1.Image {
	t.Helper()
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	program := bundletest.Static()
	if err := tw.WriteHeader(&tar.Header{Name: "app", Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(program))}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(tw, program); err != nil {
		t.Fatal(err)
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
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
	cf.OS, cf.Architecture = "linux", "amd64"
	cf.Config = v1.Config{Cmd: []string{"/app", "--serve"}, Env: []string{"A=1"}}
	if img, err = mutate.ConfigFile(img, cf); err != nil {
		t.Fatal(err)
	}
	return img
}

// save writes a container image as docker save does.
func (w *world) save(file string) string {
	w.t.Helper()
	tag, err := name.NewTag("example.com:5000/team/app:1.2")
	if err != nil {
		w.t.Fatal(err)
	}
	if err := tarball.WriteToFile(w.path(file), tag, container(w.t)); err != nil {
		w.t.Fatal(err)
	}
	return w.path(file)
}

// layout writes a container image as an OCI layout.
func (w *world) layout(dir string) string {
	w.t.Helper()
	p, err := layout.Write(w.path(dir), empty.Index)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := p.AppendImage(container(w.t)); err != nil {
		w.t.Fatal(err)
	}
	return w.path(dir)
}

func TestBuildEnclave(t *testing.T) {
	tests := []struct {
		name    string
		args    func(w *world) []string
		command string
		env     string
		image   string // name and version, "" for those of the container
		version string
	}{
		{"file of docker save", func(w *world) []string { return []string{"--docker-uri", w.save("app.tar")} }, "/app\n--serve\n", "A=1\n", "example.com:5000/team/app", ""},
		{"docker-archive", func(w *world) []string {
			return []string{"--docker-uri", "docker-archive:" + w.save("app.tar") + ":example.com:5000/team/app:1.2"}
		}, "/app\n--serve\n", "A=1\n", "example.com:5000/team/app", ""},
		{"folder of an OCI layout", func(w *world) []string { return []string{"--docker-uri", w.layout("layout")} }, "/app\n--serve\n", "A=1\n", "app", ""},
		{"oci", func(w *world) []string { return []string{"--docker-uri", "oci:" + w.layout("layout")} }, "/app\n--serve\n", "A=1\n", "app", ""},
		{"docker-dir of an OCI layout", func(w *world) []string {
			return []string{"--docker-uri", "hello:v1", "--docker-dir", w.layout("layout")}
		}, "/app\n--serve\n", "A=1\n", "hello", ""},
		{"root file system", func(w *world) []string {
			w.write("fs/cmd", "/bin/x\narg with space\n")
			w.write("fs/env", "B=2\nC=3\n")
			w.write("fs/rootfs/bin/x", bundletest.Static())
			return []string{"--docker-uri", "rootfs:" + w.path("fs"), "--name", "mine", "--version", "7"}
		}, "/bin/x\narg with space\n", "B=2\nC=3\n", "mine", "7"},
		{"root file system without environment", func(w *world) []string {
			w.write("fs/cmd", "/bin/x")
			w.write("fs/rootfs/bin/x", bundletest.Static())
			return []string{"--docker-uri", "rootfs:" + w.path("fs")}
		}, "/bin/x\n", "", "x", "1.0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.blobs()
			w.env["SOURCE_DATE_EPOCH"] = "86400"
			output := w.path("out.eif")
			r := w.run(append([]string{"build-enclave", "--output-file", output}, tt.args(w)...)...)
			w.want(r, 0, "Start building the Enclave Image...\n", "Enclave Image successfully created.\n")
			im, err := eif.OpenFile(output)
			if err != nil {
				t.Fatal(err)
			}
			defer im.Close()
			m, err := im.Verify()
			if err != nil {
				t.Fatal(err)
			}
			if got := decode[eif.BuildInfo](t, r.stdout).Measurements; got != m {
				t.Errorf("printed %+v, the file has %+v", got, m)
			}
			if got, err := im.Cmdline(); got != "reboot=k console=ttyS0" || err != nil {
				t.Errorf("command line %q, error %v", got, err)
			}
			ramdisks := im.Ramdisks()
			boot := initramfstest.Contents(t, ramdisks[0])
			if boot["init"] != "the init" || boot["nsm.ko"] != "the module" {
				t.Errorf("bootstrap holds %q", boot)
			}
			app := initramfstest.Contents(t, ramdisks[1])
			if app["cmd"] != tt.command || app["env"] != tt.env {
				t.Errorf("cmd %q, env %q", app["cmd"], app["env"])
			}
			meta, err := im.Metadata()
			if err != nil {
				t.Fatal(err)
			}
			if meta.ImageName != tt.image || tt.version != "" && meta.ImageVersion != tt.version {
				t.Errorf("image %q, version %q", meta.ImageName, meta.ImageVersion)
			}
			want := eif.BuildMetadata{
				BuildTime: "1970-01-02T00:00:00+00:00", BuildTool: "nitro-cli", BuildToolVersion: "1.5.0",
				OperatingSystem: "Linux", KernelVersion: bundletest.Release,
			}
			if diff := cmp.Diff(want, *meta.Build); diff != "" {
				t.Errorf("metadata (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBuildSigned(t *testing.T) {
	w := newWorld(t)
	w.blobs()
	c, k := certificate(t, testTime)
	meta := w.write("meta.json", `{"team": "a"}`)
	args := []string{
		"build-enclave", "--docker-uri", w.save("app.tar"), "--output-file", w.path("out.eif"), "--metadata", meta,
		"--signing-certificate", w.write("cert.pem", string(c)), "--private-key", w.write("key.pem", string(k)),
	}
	r := w.run(args...)
	w.want(r, 0)
	if !decode[eif.BuildInfo](t, r.stdout).Measurements.Signed {
		t.Errorf("not signed:\n%s", r.stdout)
	}
	im, err := eif.OpenFile(w.path("out.eif"))
	if err != nil {
		t.Fatal(err)
	}
	defer im.Close()
	got, err := im.Metadata()
	if err != nil {
		t.Fatal(err)
	}
	if string(got.CustomMetadata) != `{"team":"a"}` {
		t.Errorf("custom metadata %s", got.CustomMetadata)
	}
	// The time of the build is that of the clock.
	if got.Build.BuildTime != "2026-03-04T05:06:07+00:00" {
		t.Errorf("build time %s", got.Build.BuildTime)
	}
}

func TestBuildFailures(t *testing.T) {
	tests := []struct {
		name  string
		setup func(w *world)
		args  func(w *world) []string // nil for a good archive
		code  int
		want  []string
	}{
		{
			name: "no blobs", setup: func(w *world) { w.env["NITRO_CLI_BLOBS"] = w.path("none") },
			code: 19, want: []string{"[ E19 ]", "none/cmdline', failing operation: 'Open'"},
		},
		{
			name: "no kernel", setup: func(w *world) { os.Remove(w.path("blobs/bzImage")) },
			code: 48, want: []string{"[ E48 ] EIF building error", "kernel: stat", "bzImage"},
		},
		{
			name: "no init", setup: func(w *world) { os.Remove(w.path("blobs/init")) },
			code: 48, want: []string{"[ E48 ]", "blobs/init"},
		},
		{
			name: "no nsm.ko", setup: func(w *world) { os.Remove(w.path("blobs/nsm.ko")) },
			code: 48, want: []string{"[ E48 ]", "blobs/nsm.ko"},
		},
		{
			name: "kernel that is none", setup: func(w *world) { w.write("blobs/bzImage", "x") },
			code: 48, want: []string{"[ E48 ]", "bzImage"},
		},
		{
			name: "long command line", setup: func(w *world) { w.write("blobs/cmdline", strings.Repeat("x", 3000)) },
			code: 19, want: []string{"[ E19 ]", "has more than"},
		},
		{
			name: "no home", setup: func(w *world) { delete(w.env, "HOME") },
			code: 51, want: []string{"[ E51 ] Artifacts path environment variable not set"},
		},
		{
			name: "artifacts that cannot be made", setup: func(w *world) { w.env["NITRO_CLI_ARTIFACTS"] = w.path("blobs/init/x") },
			code: 19, want: []string{"[ E19 ]", "failing operation: 'Create'"},
		},
		{
			name: "output that cannot be written",
			args: func(w *world) []string { return []string{"--docker-uri", "x", "--output-file", w.path("no/out.eif")} },
			code: 19, want: []string{"[ E19 ]", "no/out.eif', failing operation: 'Open'"},
		},
		{
			name: "no metadata file",
			args: func(w *world) []string {
				return []string{"--docker-uri", "x", "--output-file", w.path("o"), "--metadata", w.path("none")}
			},
			code: 48, want: []string{"[ E48 ]", "metadata: open"},
		},
		{
			name: "large metadata",
			args: func(w *world) []string {
				return []string{"--docker-uri", "x", "--output-file", w.path("o"), "--metadata", w.write("m", strings.Repeat(" ", 4097))}
			},
			code: 48, want: []string{"[ E48 ]", "more than 4096 bytes"},
		},
		{
			name: "key in KMS",
			args: func(w *world) []string {
				return []string{"--docker-uri", "x", "--output-file", w.path("o"), "--signing-certificate", "c", "--private-key", "arn:aws:kms:us-east-1:123456789012:key/abcd"}
			},
			code: 48, want: []string{"[ E48 ]", "is in AWS KMS"},
		},
		{
			name: "image of a registry",
			args: func(w *world) []string {
				return []string{"--docker-uri", "hello-world:latest", "--output-file", w.path("o")}
			},
			code: 50, want: []string{"[ E50 ] Docker image pull error", "no docker daemon to get the image hello-world:latest from", "docker save"},
		},
		{
			name: "archive that is not there",
			args: func(w *world) []string {
				return []string{"--docker-uri", "docker-archive:/no/app.tar", "--output-file", w.path("o")}
			},
			code: 50, want: []string{"[ E50 ]", "/no/app.tar"},
		},
		{
			name: "Dockerfile",
			args: func(w *world) []string {
				w.write("src/Dockerfile", "FROM scratch\n")
				return []string{"--docker-uri", "hello", "--docker-dir", w.path("src"), "--output-file", w.path("o")}
			},
			code: 49, want: []string{"[ E49 ] Docker image build error", "no docker daemon to build hello from a Dockerfile"},
		},
		{
			name: "no docker-dir",
			args: func(w *world) []string {
				return []string{"--docker-uri", "hello", "--docker-dir", w.path("none"), "--output-file", w.path("o")}
			},
			code: 49, want: []string{"[ E49 ]"},
		},
		{
			name: "file that is no image",
			args: func(w *world) []string {
				return []string{"--docker-uri", w.write("x.tar", "x"), "--output-file", w.path("o")}
			},
			code: 48, want: []string{"[ E48 ]", "x.tar"},
		},
		{
			name: "root file system without command",
			args: func(w *world) []string {
				w.write("fs/rootfs/x", "")
				return []string{"--docker-uri", "rootfs:" + w.path("fs"), "--output-file", w.path("o")}
			},
			code: 50, want: []string{"[ E50 ]", "fs/cmd"},
		},
		{
			name: "command that is not there",
			args: func(w *world) []string {
				w.write("fs/cmd", "/bin/x\n")
				w.write("fs/rootfs/y", "")
				return []string{"--docker-uri", "rootfs:" + w.path("fs"), "--output-file", w.path("o")}
			},
			code: 48, want: []string{"[ E48 ]", "cannot run"},
		},
		{
			name: "bad SOURCE_DATE_EPOCH", setup: func(w *world) { w.env["SOURCE_DATE_EPOCH"] = "now" },
			code: 48, want: []string{"[ E48 ]", "SOURCE_DATE_EPOCH"},
		},
		{
			name: "key alone",
			args: func(w *world) []string {
				return []string{"--docker-uri", "x", "--output-file", "o", "--private-key", "k"}
			},
			code: 2, want: []string{"--signing-certificate <signing-certificate>"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.blobs()
			args := []string{"--docker-uri", w.save("app.tar"), "--output-file", w.path("o")}
			if tt.args != nil {
				args = tt.args(w)
			}
			if tt.setup != nil {
				tt.setup(w)
			}
			r := w.run(append([]string{"build-enclave"}, args...)...)
			w.want(r, tt.code, tt.want...)
			if r.stdout != "" {
				t.Errorf("standard output has %q", r.stdout)
			}
			if _, err := os.Lstat(w.path("o")); err == nil {
				t.Error("a file was left behind")
			}
		})
	}
}

// A build that fails does not touch the file that is there.
func TestBuildKeepsOutput(t *testing.T) {
	w := newWorld(t)
	w.blobs()
	out := w.write("out.eif", "precious")
	w.want(w.run("build-enclave", "--docker-uri", "hello", "--output-file", out), 50, "[ E50 ]")
	if b, err := os.ReadFile(out); string(b) != "precious" || err != nil {
		t.Errorf("file holds %q, error %v", b, err)
	}
	// Temporary files have no names, and their directory is made.
	if entries, err := os.ReadDir(filepath.Join(w.env["HOME"], ".nitro_cli")); err != nil || len(entries) > 0 {
		t.Errorf("artifacts: %v, error %v", entries, err)
	}
}
