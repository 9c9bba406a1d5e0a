package harness

import (
	"path/filepath"
	"strings"
	"testing"
)

// QEMUProgram is the QEMU that tests run on, as a file, and the folders in which its
// libraries and its loader are; for tests that take it into a guest.
func QEMUProgram(t testing.TB) (path string, libraries []string) {
	t.Helper()
	tools, _ := findTools(t)
	q := tools.QEMU
	for i, arg := range q.Argv {
		if arg == "--library-path" && i+1 < len(q.Argv) {
			libraries = append(libraries, strings.Split(q.Argv[i+1], ":")...)
			libraries = append(libraries, filepath.Dir(q.Argv[0])) // of the loader
		}
	}
	if libraries == nil { // the machine's own
		libraries = []string{"/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib"}
	}
	return q.Path, libraries
}
