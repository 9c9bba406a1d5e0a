package bundle

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/u-root/u-root/pkg/cpio"

	"github.com/nitrolab/nitrolab/images/bundle/bundletest"
	"github.com/nitrolab/nitrolab/images/eif"
	"github.com/nitrolab/nitrolab/images/rootfs"
)

// FuzzProgram checks a command whose program is anything.
func FuzzProgram(f *testing.F) {
	f.Add("\x7fELF\x02\x01\x01")
	f.Add("#!/a\n")
	f.Add("#!/sh -x\necho")
	f.Add("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x3e\x00\x01\x00\x00\x00" +
		"\x01\x00\x00\x00\x00\x00\x00\x00\x40\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" +
		"\x00\x00\x00\x00\x40\x00\x38\x00\x01\x00\x40\x00\x00\x00\x00\x00" +
		"\x03\x00\x00\x00\x04\x00\x00\x00" + strings.Repeat("\x78\x00\x00\x00\x00\x00\x00\x00", 3) + strings.Repeat("\x04\x00\x00\x00\x00\x00\x00\x00", 3) + "/ld\x00")
	f.Fuzz(func(t *testing.T, content string) {
		tree := rootfs.New(rootfs.Limits{})
		for _, name := range []string{"a", "sh"} {
			if err := tree.Add(cpio.StaticFile(name, content, 0o755)); err != nil {
				t.Fatal(err)
			}
		}
		if err := checkCommand(tree, []string{"/a"}, eif.X86_64); err != nil && err.Error() == "" {
			t.Fatal("no message")
		}
	})
}

// FuzzKernel takes anything as a kernel.
func FuzzKernel(f *testing.F) {
	f.Add([]byte("\x7fELF\x02\x01\x01"))
	f.Add(bundletest.BzImage(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		info, err := probeKernel(io.NewSectionReader(bytes.NewReader(b), 0, int64(len(b))))
		if err == nil && (info.Format == "" || strings.ContainsAny(info.Version, " \n\x00")) {
			t.Fatalf("format %q, version %q", info.Format, info.Version)
		}
	})
}
