package weaken

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSet(t *testing.T) {
	s := Only(ZeroPCR)
	if !s.Off(ZeroPCR) || s.Off(SourceCID) || s.Off(None) || (Set{}).Off(ZeroPCR) {
		t.Error("Only switches off another protection, or none")
	}
	if !strings.Contains(s.String(), string(ZeroPCR)) || (Set{}).String() != "" {
		t.Errorf("reports say %q and %q", s, Set{})
	}
}

// InGuest has one caller, a program of its own that tests put into a guest.
func TestInGuestHasOneCaller(t *testing.T) {
	const program = "guest/cmd/weakinference"
	callers := map[string]bool{}
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if strings.Contains(string(text), "weaken."+"InGuest") {
			rel, err := filepath.Rel(root, filepath.Dir(path))
			if err != nil {
				return err
			}
			callers[filepath.ToSlash(rel)] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(callers) != 1 || !callers[program] {
		t.Errorf("callers are in %v; allowed is %s", callers, program)
	}
}
