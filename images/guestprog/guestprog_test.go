package guestprog

import (
	"context"
	"errors"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fakeBuild "builds" a program that holds its own name, and counts.
type fakeBuild struct {
	mu    sync.Mutex
	calls [][]string
	err   error
}

func (f *fakeBuild) build(_ context.Context, outDir string, packages ...string) (map[string]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, packages)
	if f.err != nil {
		return nil, f.err
	}
	paths := make(map[string]string)
	for _, p := range packages {
		name := path.Base(p)
		paths[name] = filepath.Join(outDir, name)
		if err := os.WriteFile(paths[name], []byte("program "+name), 0o700); err != nil {
			return nil, err
		}
	}
	return paths, nil
}

func newCache(f *fakeBuild) *cache {
	return &cache{build: f.build, programs: make(map[string][]byte), turn: make(chan struct{}, 1)}
}

func TestCacheBuildsOnce(t *testing.T) {
	f := &fakeBuild{}
	c := newCache(f)
	for _, names := range [][]string{{"init", "agent"}, {"agent", "attest"}, {"init"}} {
		got := make(map[string][]byte)
		if err := c.get(context.Background(), names, got); err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if string(got[name]) != "program "+name {
				t.Errorf("%s is %q", name, got[name])
			}
		}
	}
	want := [][]string{{Module + "/guest/cmd/init", Module + "/guest/cmd/agent"}, {Module + "/guest/cmd/attest"}}
	if diff := cmp.Diff(want, f.calls); diff != "" {
		t.Errorf("builds (-want +got):\n%s", diff)
	}
}

func TestCacheConcurrent(t *testing.T) {
	f := &fakeBuild{}
	c := newCache(f)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if err := c.get(context.Background(), []string{"init"}, make(map[string][]byte)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(f.calls) != 1 {
		t.Errorf("built %d times", len(f.calls))
	}
}

// A failed build is not remembered, and one that is waited for can be given up.
func TestCacheErrors(t *testing.T) {
	f := &fakeBuild{err: errors.New("boom")}
	c := newCache(f)
	into := make(map[string][]byte)
	if err := c.get(context.Background(), []string{"init"}, into); !errors.Is(err, f.err) {
		t.Errorf("error %v", err)
	}
	f.err = nil
	if err := c.get(context.Background(), []string{"init"}, into); err != nil {
		t.Errorf("second try: %v", err)
	}

	c.turn <- struct{}{} // somebody builds
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := c.get(ctx, []string{"agent"}, into); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
}

func TestGetRejectsPaths(t *testing.T) {
	for _, name := range []string{"", ".", "..", "../init", "cmd/init", "/init"} {
		if _, err := Get(context.Background(), name); err == nil || !strings.Contains(err.Error(), "not a name") {
			t.Errorf("%q: error %v", name, err)
		}
	}
}

// Every name is a main package of this module, and every main package of
// guest/cmd has a name: else it would be missing in a binary that embeds them.
func TestAllIsComplete(t *testing.T) {
	entries, err := os.ReadDir(filepath.Join("..", "..", "guest", "cmd"))
	if err != nil {
		t.Fatal(err)
	}
	var folders []string
	for _, e := range entries {
		folders = append(folders, e.Name())
	}
	names := All()
	slices.Sort(names)
	if diff := cmp.Diff(folders, names); diff != "" {
		t.Errorf("All() against guest/cmd (-folders +names):\n%s", diff)
	}
}
