package sample_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/u-root/u-root/pkg/cpio"

	"github.com/nitrolab/nitrolab/images/bootable"
	"github.com/nitrolab/nitrolab/images/bootable/bootabletest"
	"github.com/nitrolab/nitrolab/images/guestprog"
	"github.com/nitrolab/nitrolab/images/sample"
)

// files reads the contents of a ramdisk.
func files(t *testing.T, r io.ReaderAt) map[string]string {
	t.Helper()
	records, err := cpio.ReadAllRecords(cpio.Newc.Reader(r))
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string]string)
	for _, r := range records {
		content, err := io.ReadAll(io.NewSectionReader(r.ReaderAt, 0, int64(r.FileSize)))
		if err != nil {
			t.Fatal(err)
		}
		files[r.Name] = string(content)
	}
	return files
}

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
	if err := os.WriteFile(busybox, []byte("BUSYBOX"), 0o600); err != nil {
		t.Fatal(err)
	}
	image, modules := bootabletest.Kernel(t, bootabletest.Release)
	k := bootable.Kernel{Image: image, Modules: modules}

	tests := []struct {
		name     string
		build    func() (*bootable.Image, error)
		init     string // program that is /init
		command  string
		programs []string // in /bin
		others   map[string]string
	}{
		{
			name:     "attest",
			build:    func() (*bootable.Image, error) { return sample.Attest(ctx, k) },
			init:     guestprog.Init,
			command:  "/bin/attest\n",
			programs: []string{guestprog.Attest},
		},
		{
			name:     "shell",
			build:    func() (*bootable.Image, error) { return sample.Shell(ctx, k, busybox) },
			init:     guestprog.Init,
			command:  "/bin/busybox\nsh\n-c\n/bin/busybox --install -s /bin && exec /bin/agent\n",
			programs: []string{guestprog.Agent, guestprog.NSM, guestprog.Misbehave},
			others:   map[string]string{"bin/busybox": "BUSYBOX", "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n"},
		},
		{
			name:     "misbehave",
			build:    func() (*bootable.Image, error) { return sample.Misbehave(ctx, k, "exit", "3") },
			init:     guestprog.Init,
			command:  "/bin/misbehave\nexit\n3\n",
			programs: []string{guestprog.Misbehave},
		},
		{
			name:     "misbehave as init",
			build:    func() (*bootable.Image, error) { return sample.MisbehaveAsInit(ctx, k, "sleep") },
			init:     guestprog.Misbehave,
			command:  "/bin/misbehave\nsleep\n",
			programs: []string{guestprog.Misbehave},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			im, err := tt.build()
			if err != nil {
				t.Fatal(err)
			}
			defer im.Close()
			boot, app := files(t, im.Spec.Ramdisks[0]), files(t, im.Spec.Ramdisks[1])
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
	image, modules := bootabletest.Kernel(t, bootabletest.Release)
	_, err := sample.Shell(context.Background(), bootable.Kernel{Image: image, Modules: modules}, filepath.Join(t.TempDir(), "none"))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v, want not exist", err)
	}
}
