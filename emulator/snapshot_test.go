package emulator

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nitrolab/nitrolab/devices/guestmem"
)

// stateOf writes a state file with holes.
func stateOf(t *testing.T, dir string, content string) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, snapshotStateName))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, at := range []int64{0, 40 << 10, 3<<20 + 5} {
		if _, err := f.WriteAt([]byte(content), at); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Truncate(8 << 20); err != nil {
		t.Fatal(err)
	}
}

func buildState(t *testing.T, builds *atomic.Int32) func(ctx context.Context, dir string) error {
	return func(ctx context.Context, dir string) error {
		builds.Add(1)
		stateOf(t, dir, "state")
		return snapshotInfo{TSCKHz: 7, Template: machineIdentity{InstanceID: "i-1"}, Marks: []mark{{1, 2}}}.write(ctx, dir)
	}
}

func fresh(*snapshot) error { return nil }

func TestSnapshotStore(t *testing.T) {
	store := snapshotStore{filepath.Join(t.TempDir(), "not", "there")}
	var builds atomic.Int32
	get := func(check func(*snapshot) error) *snapshot {
		t.Helper()
		s, _, err := store.get(t.Context(), "key", check, buildState(t, &builds))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.close)
		return s
	}
	// At once: one builds, the others wait for it.
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			s, _, err := store.get(t.Context(), "key", fresh, buildState(t, &builds))
			if err != nil {
				t.Error(err)
				return
			}
			s.close()
		})
	}
	all.Wait()
	s := get(fresh)
	if n := builds.Load(); n != 1 {
		t.Fatalf("built %d times, want once", n)
	}
	if s.TSCKHz != 7 || s.Template.InstanceID != "i-1" || len(s.Marks) != 1 || s.Marks[0] != (mark{1, 2}) {
		t.Errorf("read back %+v", s.snapshotInfo)
	}
	if err := s.verify(t.Context()); err != nil {
		t.Errorf("verify: %v", err)
	}
	// What is stale is made again, and who has the old one open keeps it.
	get(func(*snapshot) error {
		if builds.Load() == 1 {
			return errStale
		}
		return nil
	})
	if n := builds.Load(); n != 2 {
		t.Errorf("built %d times after one was stale, want twice", n)
	}
	// A build that fails leaves nothing and is tried again.
	boom := errors.New("boom")
	_, _, err := store.get(t.Context(), "other", fresh, func(context.Context, string) error { return boom })
	if !errors.Is(err, boom) {
		t.Errorf("get = %v, want the build's error", err)
	}
	left, err := os.ReadDir(store.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range left {
		if strings.HasPrefix(e.Name(), ".") || e.Name() == "other" {
			t.Errorf("left behind: %s", e.Name())
		}
	}
}

func TestSnapshotDamage(t *testing.T) {
	for name, tt := range map[string]struct {
		damage func(dir string) error
		opens  bool // and verify finds it
	}{
		"one bit": {func(dir string) error {
			return flip(filepath.Join(dir, snapshotStateName), 40<<10+2)
		}, true},
		"a byte in a hole": {func(dir string) error {
			return flip(filepath.Join(dir, snapshotStateName), 2<<20)
		}, true},
		"state cut off": {func(dir string) error { return os.Truncate(filepath.Join(dir, snapshotStateName), 4<<20) }, false},
		"state gone":    {func(dir string) error { return os.Remove(filepath.Join(dir, snapshotStateName)) }, false},
		"no info":       {func(dir string) error { return os.Remove(filepath.Join(dir, snapshotInfoName)) }, false},
		"half an info":  {func(dir string) error { return os.Truncate(filepath.Join(dir, snapshotInfoName), 20) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			store := snapshotStore{t.TempDir()}
			var builds atomic.Int32
			s, _, err := store.get(t.Context(), "key", fresh, buildState(t, &builds))
			if err != nil {
				t.Fatal(err)
			}
			s.close()
			if err := tt.damage(s.dir); err != nil {
				t.Fatal(err)
			}
			s, built, err := store.get(t.Context(), "key", fresh, buildState(t, &builds))
			if err != nil {
				t.Fatal(err)
			}
			defer s.close()
			if built == tt.opens {
				t.Errorf("made again: %v, want %v", built, !tt.opens)
			}
			if err := s.verify(t.Context()); tt.opens != errors.Is(err, errStale) {
				t.Errorf("verify = %v", err)
			}
		})
	}
}

func flip(path string, at int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, at); err != nil {
		return err
	}
	b[0] ^= 0x10
	_, err = f.WriteAt(b, at)
	return err
}

// TestSparseSum: zeros that are stored give the same sum as holes.
func TestSparseSum(t *testing.T) {
	dir := t.TempDir()
	stateOf(t, dir, "abc")
	f, err := os.OpenFile(filepath.Join(dir, snapshotStateName), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	before, err := sparseSum(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(make([]byte, 1<<20), 4<<20); err != nil {
		t.Fatal(err)
	}
	if after, err := sparseSum(t.Context(), f); err != nil || after != before {
		t.Errorf("sum %#x, %v; want %#x", after, err, before)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := sparseSum(ctx, f); !errors.Is(err, context.Canceled) {
		t.Errorf("sum under an ended context: %v", err)
	}
}

func TestPruneSnapshots(t *testing.T) {
	store := snapshotStore{t.TempDir()}
	var builds atomic.Int32
	var oldest *snapshot
	for i := range maxSnapshots + 3 {
		key := "key-" + string(rune('a'+i))
		s, _, err := store.get(t.Context(), key, fresh, buildState(t, &builds))
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			oldest = s // in use, so it stays
		} else {
			s.close()
		}
		when := time.Now().Add(time.Duration(i-100) * time.Minute)
		if err := os.Chtimes(s.dir, when, when); err != nil {
			t.Fatal(err)
		}
	}
	defer oldest.close()
	store.prune()
	var names []string
	entries, _ := os.ReadDir(store.dir)
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, strings.TrimPrefix(e.Name(), "key-"))
		}
	}
	if got := strings.Join(names, ""); got != "adefghijk" {
		t.Errorf("left are %s, want the 8 youngest and the one in use", got)
	}
}

func TestLockFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := lockFile(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*lockEvery)
	defer cancel()
	if _, err := lockFile(ctx, path); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a second lock: %v", err)
	}
	unlock()
	unlock, err = lockFile(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}

func TestStamp(t *testing.T) {
	from, err := newMachineIdentity(bytes.NewReader(bytes.Repeat([]byte{1, 2, 3, 0xff, 5}, 10)))
	if err != nil {
		t.Fatal(err)
	}
	if from.InstanceID != "i-010203ff05010203f" || from.UUID != "ec210203-ff05-4102-83ff-05010203ff05" {
		t.Errorf("identity %+v", from)
	}
	to, err := newMachineIdentity(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ram, err := guestmem.NewRAM(4<<20, 4<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer ram.Close()
	text := "tables: " + from.InstanceID + "\x00" + from.UUID + "\x00" + strings.ToUpper(from.UUID) + "\x00\x03\x02\x21\xec\x05\xff\x02\x41\x83\xff\x05\x01\x02\x03\xff\x05 end"
	for _, at := range []int64{0x1000, 1<<20 - 30} {
		if _, err := ram.File().WriteAt([]byte(text), at); err != nil {
			t.Fatal(err)
		}
	}
	marks, err := findMarks(ram, from)
	if err != nil || len(marks) != 8 {
		t.Fatalf("marks %v, %v; want 8", marks, err)
	}
	if err := stamp(ram, marks, from, to); err != nil {
		t.Fatal(err)
	}
	if left, err := findMarks(ram, from); err == nil {
		t.Errorf("the old identity is left at %v", left)
	}
	if now, err := findMarks(ram, to); err != nil || len(now) != 8 {
		t.Errorf("the new identity is at %v, %v", now, err)
	}
	if err := stamp(ram, marks, from, to); !errors.Is(err, errMarks) {
		t.Errorf("stamp of a guest that is another = %v", err)
	}
	if err := stamp(ram, []mark{{0, 99}}, from, to); !errors.Is(err, errMarks) {
		t.Errorf("stamp with a bad mark = %v", err)
	}
	if err := stamp(ram, []mark{{4<<20 - 2, 0}}, from, to); !errors.Is(err, errMarks) {
		t.Errorf("stamp beyond the end = %v", err)
	}
}
