package initramfs

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/u-root/u-root/pkg/cpio"

	"github.com/nitrolab/nitrolab/images/kmod"
)

func TestBootstrap(t *testing.T) {
	files := Bootstrap([]byte("INIT"), []kmod.Module{{Name: "virtio_mmio", Image: []byte("M1")}, {Name: "nsm", Image: []byte("M2")}})
	want := []entry{
		{Name: "dev", Mode: "40755"},
		{Name: "dev/console", Mode: "20600", Dev: "5:1"},
		{Name: "init", Mode: "100755", Content: "INIT"},
		{Name: "modules", Mode: "40755"},
		{Name: "modules/00-virtio_mmio.ko", Mode: "100644", Content: "M1"},
		{Name: "modules/01-nsm.ko", Mode: "100644", Content: "M2"},
	}
	if diff := cmp.Diff(want, read(t, bytesOf(t, files))); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
}

// Names sort as the modules must be loaded, however many there are.
func TestBootstrapOrder(t *testing.T) {
	modules := make([]kmod.Module, 120)
	for i := range modules {
		modules[i].Name = fmt.Sprintf("m%d", 1000-i)
	}
	a, err := New(Bootstrap(nil, modules))
	if err != nil {
		t.Fatal(err)
	}
	i := 0
	for _, r := range a.Records() {
		if !strings.HasPrefix(r.Name, "modules/") {
			continue
		}
		if !strings.HasSuffix(r.Name, "-"+modules[i].Name+".ko") {
			t.Fatalf("module %d in order of names is %s, want %s", i, r.Name, modules[i].Name)
		}
		i++
	}
	if i != len(modules) {
		t.Errorf("%d modules, want %d", i, len(modules))
	}
}

func TestApplication(t *testing.T) {
	app := Application{
		Command: []string{"/app", "-v", "", "with space"},
		Env:     []string{"A=1", "B="},
		Root:    []cpio.Record{cpio.StaticFile("/app", "APP", 0o755), cpio.StaticFile("run/x", "", 0o644), cpio.Directory("/", 0o700)},
	}
	files, err := app.Files()
	if err != nil {
		t.Fatal(err)
	}
	want := []entry{
		{Name: "cmd", Mode: "100644", Content: "/app\n-v\n\nwith space\n"},
		{Name: "env", Mode: "100644", Content: "A=1\nB=\n"},
		{Name: "rootfs", Mode: "40755"},
		{Name: "rootfs/app", Mode: "100755", Content: "APP"},
		{Name: "rootfs/dev", Mode: "40755"},
		{Name: "rootfs/proc", Mode: "40755"},
		{Name: "rootfs/run", Mode: "40755"},
		{Name: "rootfs/run/x", Mode: "100644"},
		{Name: "rootfs/sys", Mode: "40755"},
		{Name: "rootfs/tmp", Mode: "40755"},
	}
	if diff := cmp.Diff(want, read(t, bytesOf(t, files))); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
}

func TestApplicationErrors(t *testing.T) {
	ok := []string{"/app"}
	for _, tt := range []struct {
		name string
		app  Application
		want string
	}{
		{"no command", Application{}, "no command"},
		{"empty program", Application{Command: []string{""}}, "no command"},
		{"line feed in an argument", Application{Command: []string{"/app", "a\nb"}}, "line feed"},
		{"zero byte in a variable", Application{Command: ok, Env: []string{"A=\x00"}}, "zero byte"},
		{"no variable", Application{Command: ok, Env: []string{"A"}}, "NAME=value"},
		{"variable without a name", Application{Command: ok, Env: []string{"=x"}}, "NAME=value"},
		{"file above the root", Application{Command: ok, Root: []cpio.Record{cpio.StaticFile("../cmd", "/evil", 0o644)}}, "not below the root"},
	} {
		if _, err := tt.app.Files(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %q", tt.name, err, tt.want)
		}
	}
}
