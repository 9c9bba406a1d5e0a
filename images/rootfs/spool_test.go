package rootfs_test

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/nitrolab/nitrolab/images/rootfs"
)

func TestSpool(t *testing.T) {
	at := t.TempDir()
	s, err := rootfs.NewSpool(at, rootfs.Limits{Bytes: 10})
	must(t, err)
	defer s.Close()
	if files, err := os.ReadDir(at); err != nil || len(files) != 0 {
		t.Errorf("spool has a name: %v, %v", files, err)
	}
	a, err := s.Add(strings.NewReader("first"))
	must(t, err)
	b, err := s.Add(strings.NewReader("secon"))
	must(t, err)
	if _, err := s.Add(strings.NewReader("d")); !errors.Is(err, rootfs.ErrTooMany) {
		t.Errorf("error %v", err)
	}
	for c, want := range map[*io.SectionReader]string{a: "first", b: "secon"} {
		got := make([]byte, 6)
		k, err := c.ReadAt(got, 0)
		if c.Size() != 5 || !errors.Is(err, io.EOF) || string(got[:k]) != want {
			t.Errorf("%q, %v", got[:k], err)
		}
	}
}
