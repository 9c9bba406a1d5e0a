package weaken

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestSet(t *testing.T) {
	s := Only(ZeroPCR)
	if !s.Off(ZeroPCR) || s.Off(SourceCID) || s.Off(None) || (Set{}).Off(ZeroPCR) {
		t.Error("Only switches off another protection, or none")
	}
	if InGuest(SourceCID) != Only(SourceCID) {
		t.Error("InGuest switches off another protection than Only")
	}
	if !strings.Contains(s.String(), string(ZeroPCR)) || (Set{}).String() != "" {
		t.Errorf("reports say %q and %q", s, Set{})
	}
}

// InGuest has one caller, a program of its own that tests put into a guest, and no
// other package can import that program, since it is a main.
func TestInGuestHasOneCaller(t *testing.T) {
	const program = "guest/cmd/weakinference"
	use := regexp.MustCompile(`\.InGuest\b|\. "[^"]*/devices/weaken"`) // or without its name
	callers := map[string]bool{}
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		dir, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil || dir == filepath.Join("devices", "weaken") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if use.Match(text) {
			callers[filepath.ToSlash(dir)] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(callers) != 1 || !callers[program] {
		t.Errorf("callers are in %v; allowed is %s", callers, program)
	}
	main, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(program), "main.go"))
	if err != nil || !strings.Contains(string(main), "\npackage main\n") {
		t.Errorf("%s is not a program: %v", program, err)
	}
}
