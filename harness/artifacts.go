package harness

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/nitrolab/nitrolab/emulator"
)

// ArtifactsDir is where the folders of failed tests are made, below the working
// directory of the test, which is the folder of its package.
const ArtifactsDir = "nitrolab-artifacts"

// artifacts is where what is left of one Host goes if its test fails.
type artifacts struct {
	dir string // absolute; made when there is something to keep
	err error  // why there is no dir
}

// inUse counts the Hosts that a test has, by the folder of the test.
var inUse = struct {
	sync.Mutex
	hosts map[string]int
}{hosts: map[string]int{}}

// newArtifacts chooses the folder: that of the test for its first Host, and
// folders inside it for the others. What an earlier run left there goes.
func newArtifacts(t testing.TB) *artifacts {
	t.Helper()
	base, err := filepath.Abs(filepath.Join(ArtifactsDir, folder(t.Name())))
	if err != nil {
		return &artifacts{err: err}
	}
	inUse.Lock()
	defer inUse.Unlock()
	inUse.hosts[base]++
	t.Cleanup(func() {
		inUse.Lock()
		defer inUse.Unlock()
		if inUse.hosts[base]--; inUse.hosts[base] == 0 {
			delete(inUse.hosts, base)
		}
	})
	if n := inUse.hosts[base]; n > 1 {
		return &artifacts{dir: filepath.Join(base, "host-"+strconv.Itoa(n))}
	}
	return &artifacts{dir: base, err: os.RemoveAll(base)}
}

// folder makes the name of a test a path: subtests become folders, and an element
// that means another folder does not.
func folder(name string) string {
	parts := strings.Split(name, "/")
	for i, p := range parts {
		if strings.Trim(p, ".") == "" {
			parts[i] = "_" + p
		}
	}
	return filepath.Join(parts...)
}

// keep copies what the Host has on disk to where a person looks. What is there
// already is replaced.
func (a *artifacts) keep(t testing.TB, h *emulator.Host) []emulator.Artifact {
	t.Helper()
	if a.err != nil {
		t.Logf("harness: keep artifacts: %v", a.err)
		return nil
	}
	kept, err := h.SaveArtifacts(a.dir)
	if err != nil {
		t.Logf("harness: keep artifacts: %v", err)
	}
	return kept
}

// show keeps everything and shows the end of each console.
func (a *artifacts) show(t testing.TB, h *emulator.Host) {
	t.Helper()
	kept := a.keep(t, h)
	for _, k := range kept {
		t.Logf("harness: enclave %s, console:\n%s", k.ID, indent(k.ConsoleTail))
	}
	if len(kept) > 0 {
		t.Logf("harness: artifacts kept in %s", a.dir)
	}
}

// report is err for people, with paths that are still there when they read it:
// the folders of the Host are gone then.
func (a *artifacts) report(t testing.TB, h *emulator.Host, err error) string {
	t.Helper()
	text := emulator.Report(err)
	for _, k := range a.keep(t, h) {
		text = k.Rebase(text)
	}
	return text
}

func indent(lines []string) string {
	return "    " + strings.Join(lines, "\n    ")
}
