package bundle

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/images/initramfs"
	"github.com/nitrolab/nitrolab/images/initramfs/initramfstest"
	"github.com/nitrolab/nitrolab/images/kmod"
)

func TestBootstrapFiles(t *testing.T) {
	files := bootstrapFiles([]byte("INIT"), []kmod.Module{{Name: "virtio_mmio", Image: []byte("M1")}, {Name: "nsm", Image: []byte("M2")}})
	a, err := initramfs.New(files)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"40755 0:0 n2 i1 dev",
		"20600 0:0 n1 i2 dev/console dev 5,1",
		"100755 0:0 n1 i3 init = INIT",
		"40755 0:0 n2 i4 modules",
		"100644 0:0 n1 i5 modules/00-virtio_mmio.ko = M1",
		"100644 0:0 n1 i6 modules/01-nsm.ko = M2",
	}
	if diff := cmp.Diff(want, initramfstest.Lines(t, a)); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
}

// Names sort as the modules must be loaded, however many there are.
func TestBootstrapOrder(t *testing.T) {
	modules := make([]kmod.Module, 120)
	for i := range modules {
		modules[i].Name = fmt.Sprintf("m%d", 1000-i)
	}
	a, err := initramfs.New(bootstrapFiles(nil, modules))
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
