package sample_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/images/bundle"
	"github.com/nitrolab/nitrolab/images/bundle/bundletest"
	"github.com/nitrolab/nitrolab/images/eif"
	"github.com/nitrolab/nitrolab/images/guestprog"
	"github.com/nitrolab/nitrolab/images/initramfs/initramfstest"
	"github.com/nitrolab/nitrolab/images/sample"
)

func TestSamples(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the guest programs, 20 s or more with an empty cache")
	}
	ctx := context.Background()
	programs, err := guestprog.Get(ctx, guestprog.All()...)
	if err != nil {
		t.Fatal(err)
	}
	busybox := filepath.Join(t.TempDir(), "any name")
	if err := os.WriteFile(busybox, []byte(bundletest.Static()), 0o600); err != nil {
		t.Fatal(err)
	}
	image, modules := bundletest.Kernel(t, bundletest.Release)
	k := bundle.Kernel{Image: image, Modules: modules}

	tests := []struct {
		name     string
		spec     func() (bundle.Spec, error)
		init     string // program that is /init
		command  string
		programs []string // in /bin
		others   map[string]string
	}{
		{
			name:     "attest",
			spec:     func() (bundle.Spec, error) { return sample.Attest(ctx, k) },
			init:     guestprog.Init,
			command:  "/bin/attest\n",
			programs: []string{guestprog.Attest},
		},
		{
			name:     "shell",
			spec:     func() (bundle.Spec, error) { return sample.Shell(ctx, k, busybox) },
			init:     guestprog.Init,
			command:  "/bin/busybox\nsh\n-c\n/bin/busybox --install -s /bin && exec /bin/agent\n",
			programs: []string{guestprog.Agent, guestprog.NSM, guestprog.Vsock, guestprog.Misbehave},
			others:   map[string]string{"bin/busybox": bundletest.Static(), "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n"},
		},
		{
			name:     "misbehave",
			spec:     func() (bundle.Spec, error) { return sample.Misbehave(ctx, k, "exit", "3") },
			init:     guestprog.Init,
			command:  "/bin/misbehave\nexit\n3\n",
			programs: []string{guestprog.Misbehave},
		},
		{
			name:     "inference",
			spec:     func() (bundle.Spec, error) { return sample.Inference(ctx, k, inferenceConfig(t)) },
			init:     guestprog.Init,
			command:  "/bin/inference\n",
			programs: []string{guestprog.Inference},
			others:   inferenceFiles(t),
		},
		{
			name:     "weak inference",
			spec:     func() (bundle.Spec, error) { return sample.WeakInference(ctx, k, inferenceConfig(t)) },
			init:     guestprog.Init,
			command:  "/bin/weakinference\n",
			programs: []string{guestprog.WeakInference},
			others:   inferenceFiles(t),
		},
		{
			name:     "misbehave as init",
			spec:     func() (bundle.Spec, error) { return sample.MisbehaveAsInit(ctx, k, "sleep") },
			init:     guestprog.Misbehave,
			command:  "/bin/misbehave\nsleep\n",
			programs: []string{guestprog.Misbehave},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			spec, err := tt.spec()
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), "eif")
			if _, err := bundle.Build(ctx, file, spec); err != nil {
				t.Fatal(err)
			}
			im, err := eif.OpenFile(file)
			if err != nil {
				t.Fatal(err)
			}
			defer im.Close()
			boot, app := initramfstest.Contents(t, im.Ramdisks()[0]), initramfstest.Contents(t, im.Ramdisks()[1])
			if boot["init"] != string(programs[tt.init]) {
				t.Errorf("/init is not %s", tt.init)
			}
			if diff := cmp.Diff(tt.command, app["cmd"]); diff != "" {
				t.Errorf("command (-want +got):\n%s", diff)
			}
			for _, name := range tt.programs {
				if !bytes.Equal([]byte(app["rootfs/bin/"+name]), programs[name]) {
					t.Errorf("/bin/%s is another program", name)
				}
			}
			if got, want := count(app, "rootfs/bin/"), len(tt.programs)+count(tt.others, "bin/"); got != want {
				t.Errorf("%d files in /bin, want %d", got, want)
			}
			for name, want := range tt.others {
				if got := app["rootfs/"+name]; got != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
		})
	}
}

func count(files map[string]string, prefix string) int {
	n := 0
	for name := range files {
		if len(name) > len(prefix) && name[:len(prefix)] == prefix {
			n++
		}
	}
	return n
}

func TestShellNeedsBusybox(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the guest programs, 20 s or more with an empty cache")
	}
	_, err := sample.Shell(context.Background(), bundle.Kernel{}, filepath.Join(t.TempDir(), "none"))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v, want not exist", err)
	}
}
