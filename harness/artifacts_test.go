package harness_test

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/nitrolab/nitrolab/emulator/qemu"
	"github.com/nitrolab/nitrolab/harness"
)

// artifactsOf is where a test named name leaves them. What is there goes, now and
// with t.
func artifactsOf(t *testing.T, name string) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join(harness.ArtifactsDir, name))
	if err != nil {
		t.Fatal(err)
	}
	top, _, _ := strings.Cut(name, "/")
	remove := func() {
		if err := os.RemoveAll(filepath.Join(harness.ArtifactsDir, top)); err != nil {
			t.Error(err)
		}
	}
	remove()
	t.Cleanup(remove)
	return dir
}

// A QEMU that does not start is the host's fault: the test fails with its words
// and a command line whose files are still there.
func TestBrokenQEMU(t *testing.T) {
	dir := artifactsOf(t, "TestFakeBroken/sub")
	r := record(t, "TestFakeBroken/sub", func(tb testing.TB) {
		host := fakeHost(tb)
		host.RunEnclave(tb, fakeEIF(t))
	})
	r.mustFail(t, "harness: run enclave: qemu: start QEMU: ", "qemu: no such machine", "to reproduce: ", "harness: artifacts kept in "+dir)
	mustReproduce(t, r, dir)
}

// mustReproduce checks that the artifacts of the one enclave below dir are
// complete, and that every file which the printed command line names exists.
func mustReproduce(t *testing.T, r *recorder, dir string) (enclave string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Fatalf("artifacts in %s: %v, %v; want those of one enclave", dir, entries, err)
	}
	enclave = filepath.Join(dir, entries[0].Name())
	for _, name := range []string{"command.sh", "console.log", "qemu.log", "initramfs"} {
		if _, err := os.Stat(filepath.Join(enclave, name)); err != nil {
			t.Error(err)
		}
	}
	script, err := os.ReadFile(filepath.Join(enclave, "command.sh"))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"command.sh": string(script), "log": r.text()} {
		files := regexp.MustCompile(`-(?:kernel|initrd) (\S+)`).FindAllStringSubmatch(text, -1)
		if len(files) != 2 {
			t.Errorf("%s names %d files, want kernel and ramdisk:\n%s", name, len(files), text)
		}
		for _, f := range files {
			if _, err := os.Stat(f[1]); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	return enclave
}

// The error tells a program, too, whose fault it was.
func TestBrokenQEMUIsTyped(t *testing.T) {
	fake, started := fakeQEMU(t)
	host := harness.New(t, fake)
	_, err := host.TryEnclave(t, fakeEIF(t))
	var infra *qemu.InfraError
	if !errors.As(err, &infra) {
		t.Fatalf("error is %T (%v), want an InfraError", err, err)
	}
	if n := count(t, started); n != 1 {
		t.Errorf("QEMU was started %d times, want once", n)
	}
	if list := host.Enclaves(); len(list) != 0 {
		t.Errorf("%d enclaves are left", len(list))
	}
}

// A test that passes keeps nothing, whatever failed in it as expected.
func TestNothingKeptOnSuccess(t *testing.T) {
	dir := artifactsOf(t, "TestFakePass")
	record(t, "TestFakePass", func(tb testing.TB) {
		host := fakeHost(tb)
		if _, err := host.TryEnclave(tb, fakeEIF(t)); err == nil {
			tb.Error("an enclave runs without QEMU")
		}
	}).mustPass(t)
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s: %v, want none", dir, err)
	}
}

// Each Host of a test keeps its own, and what an earlier run kept goes.
func TestArtifactsOfTwoHosts(t *testing.T) {
	dir := artifactsOf(t, "TestFakeTwo")
	old := filepath.Join(dir, "i-old", "console.log")
	if err := os.MkdirAll(filepath.Dir(old), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(old, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	var ids []string
	record(t, "TestFakeTwo", func(tb testing.TB) {
		for range 2 {
			host := fakeHost(tb)
			ids = append(ids, host.InstanceID())
			_, err := host.TryEnclave(tb, fakeEIF(t))
			tb.Error(err)
		}
	}).mustFail(t, "artifacts kept in "+dir, "artifacts kept in "+filepath.Join(dir, "host-2"))
	for i, sub := range []string{"", "host-2"} {
		found, err := filepath.Glob(filepath.Join(dir, sub, ids[i]+"-enc*", "qemu.log"))
		if err != nil || len(found) != 1 {
			t.Errorf("host %d: kept %q, %v", i+1, found, err)
		}
	}
	if _, err := os.Stat(old); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("artifacts of an earlier run: %v, want none", err)
	}
}

// The name of a test cannot lead out of the folder for artifacts.
func TestArtifactsStayInside(t *testing.T) {
	for _, name := range []string{"TestFakeName/..", "TestFakeName/../..", "..", "TestFakeName/."} {
		t.Run(name, func(t *testing.T) {
			artifactsOf(t, "TestFakeName")
			artifactsOf(t, "_..")
			r := record(t, name, func(tb testing.TB) {
				host := fakeHost(tb)
				_, err := host.TryEnclave(tb, fakeEIF(t))
				tb.Error(err)
			})
			inside, err := filepath.Abs(harness.ArtifactsDir)
			if err != nil {
				t.Fatal(err)
			}
			kept := regexp.MustCompile(`artifacts kept in (.*)`).FindStringSubmatch(r.text())
			if kept == nil {
				t.Fatalf("nothing kept:\n%s", r.text())
			}
			if rel, err := filepath.Rel(inside, kept[1]); err != nil || rel == "." || strings.HasPrefix(rel, "..") {
				t.Errorf("artifacts of %q are in %s", name, kept[1])
			}
		})
	}
}
