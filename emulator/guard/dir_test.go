package guard

import (
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestTempDir(t *testing.T) {
	base := filepath.Join(t.TempDir(), "not", "there", "yet")
	d, err := TempDir(base, "host")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	if err := os.MkdirAll(filepath.Join(d.Path(), "a", "b"), 0o700); err != nil {
		t.Fatal(err)
	}
	if removed, err := Sweep(base); err != nil || len(removed) > 0 {
		t.Errorf("Sweep() = %v, %v while the owner lives", removed, err)
	}
	kept, err := TempDir(base, "kept")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		if err := kept.Keep(); err != nil {
			t.Error(err)
		}
	}
	if exists(d.Path()) || !exists(kept.Path()) {
		t.Error("Close must remove and Keep must not")
	}
	if kids := childrenOf(os.Getpid()); len(kids) > 0 {
		t.Errorf("left behind:%s", describe(kids))
	}
	goleak.VerifyNone(t)
}

// TestForgottenDir: a directory that nobody refers to any more has an owner
// still.
func TestForgottenDir(t *testing.T) {
	base := t.TempDir()
	path := func() string {
		d, err := TempDir(base, "forgotten")
		if err != nil {
			t.Fatal(err)
		}
		return d.Path()
	}()
	for range 3 {
		runtime.GC()
	}
	var found *Dir
	open.Range(func(k, _ any) bool {
		if d := k.(*Dir); d.path == path {
			found = d
		}
		return true
	})
	if found == nil {
		t.Fatal("the directory is not pinned")
	}
	if err := found.Close(); err != nil {
		t.Error(err)
	}
}

func TestTempDirPrefix(t *testing.T) {
	for _, prefix := range []string{"", "a/b", "..", "a b", "ä"} {
		if d, err := TempDir(t.TempDir(), prefix); err == nil {
			_ = d.Close()
			t.Errorf("TempDir took the prefix %q", prefix)
		}
	}
}

func TestSweep(t *testing.T) {
	base := t.TempDir()
	if removed, err := Sweep(filepath.Join(base, "none")); err != nil || len(removed) > 0 {
		t.Errorf("Sweep() of nothing = %v, %v", removed, err)
	}
	outside := filepath.Join(t.TempDir(), "outside")
	for _, dir := range []string{
		filepath.Join(base, "host-0123456789abcdef.state", "deep"),
		filepath.Join(base, "precious"),
		filepath.Join(base, "host-0123456789abcdef.state.old"),
		outside,
	} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(outside, filepath.Join(base, "link-0123456789abcdef.state")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(base, "file-0123456789abcdef.state"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	removed, err := Sweep(base)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"host-0123456789abcdef.state"}, removed); diff != "" {
		t.Errorf("swept (-want +got):\n%s", diff)
	}
	if !exists(outside) {
		t.Error("Sweep followed a link")
	}
}

// TestSweepWhileOthersStart: a directory is never swept between its making and
// its lock.
func TestSweepWhileOthersStart(t *testing.T) {
	base := t.TempDir()
	stop := make(chan struct{})
	var sweeper, makers sync.WaitGroup
	sweeper.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if removed, err := Sweep(base); err != nil || len(removed) > 0 {
				t.Errorf("Sweep() = %v, %v", removed, err)
				return
			}
		}
	})
	for range 4 {
		makers.Go(func() {
			for range 5 {
				d, err := TempDir(base, "host")
				if err != nil {
					t.Error(err)
					return
				}
				if err := os.WriteFile(filepath.Join(d.Path(), "f"), nil, 0o600); err != nil {
					t.Error(err)
				}
				if err := d.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	makers.Wait()
	close(stop)
	sweeper.Wait()
}
