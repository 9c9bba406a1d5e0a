package bundle

import (
	"io"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

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
			e := rootfs.Entry{Path: name, Mode: unix.S_IFREG | 0o755, Size: int64(len(content)), Content: rootfs.Bytes(content)}
			if err := tree.Add(e); err != nil {
				t.Fatal(err)
			}
		}
		if err := checkCommand(tree, []string{"/a"}, eif.X86_64); err != nil && err.Error() == "" {
			t.Fatal("no message")
		}
	})
}

// FuzzKernel identifies anything as a kernel.
func FuzzKernel(f *testing.F) {
	f.Add([]byte("\x7fELF\x02\x01\x01"))
	b := make([]byte, 0x300)
	b[0x1fe], b[0x1ff], b[0x211], b[0x236], b[0x20e] = 0x55, 0xaa, 1, 1, 0x80
	copy(b[0x202:], "HdrS")
	copy(b[0x280:], "6.12 x")
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		info, err := identifyKernel(io.NewSectionReader(readerAt(b), 0, int64(len(b))))
		if err == nil && (info.version == "" || strings.ContainsAny(info.version, " \n\x00")) {
			t.Fatalf("version %q", info.version)
		}
	})
}

type readerAt []byte

func (r readerAt) ReadAt(p []byte, off int64) (int, error) {
	return strings.NewReader(string(r)).ReadAt(p, off)
}
