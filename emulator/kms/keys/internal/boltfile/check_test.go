package boltfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

// build makes a bbolt file with n keys in each of two buckets, half of them changed
// and a third deleted, so that it has branches, pages that continue and free pages.
func build(tb testing.TB, n int) []byte {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "built.db")
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second, NoSync: true})
	if err != nil {
		tb.Fatal(err)
	}
	update := func(f func(a, b *bbolt.Bucket, i int) error) {
		if err := db.Update(func(tx *bbolt.Tx) error {
			a, err := tx.CreateBucketIfNotExists([]byte("a"))
			if err != nil {
				return err
			}
			b, err := tx.CreateBucketIfNotExists([]byte("b"))
			if err != nil {
				return err
			}
			for i := range n {
				if err := f(a, b, i); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			tb.Fatal(err)
		}
	}
	key := func(i int) []byte { return fmt.Appendf(nil, "key %06d", i*7919%n) }
	update(func(a, b *bbolt.Bucket, i int) error {
		return errors.Join(a.Put(key(i), make([]byte, i*997%9000)), b.Put(key(i), []byte("v")))
	})
	update(func(a, _ *bbolt.Bucket, i int) error {
		if i%2 == 0 {
			return nil
		}
		return a.Put(key(i), make([]byte, 100))
	})
	update(func(a, b *bbolt.Bucket, i int) error {
		if i%3 != 0 {
			return nil
		}
		return errors.Join(a.Delete(key(i)), b.Delete(key(i)))
	})
	if err := db.Close(); err != nil {
		tb.Fatal(err)
	}
	out, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

func check(b []byte) error { return Check(bytes.NewReader(b), int64(len(b))) }

func TestCheckAcceptsWhatBboltWrites(t *testing.T) {
	for _, n := range []int{0, 1, 3, 50, 1000, 3000} {
		if err := check(build(t, n)); err != nil {
			t.Errorf("%d keys: %v", n, err)
		}
	}
}

// restamp gives the meta pages valid checksums again.
func restamp(b []byte) {
	for _, at := range []int{0, 4096} {
		m := b[at+headerSize:]
		order.PutUint64(m[56:], sum(m[:56]))
	}
}

// newest is where the meta page that counts begins, without the header.
func newest(b []byte) []byte {
	m0, m1 := b[headerSize:], b[4096+headerSize:]
	if order.Uint64(m1[48:]) > order.Uint64(m0[48:]) {
		return m1
	}
	return m0
}

func TestCheckRefuses(t *testing.T) {
	good := build(t, 200)
	root := func(b []byte) []byte { return b[order.Uint64(newest(b)[16:])*4096:] }
	free := func(b []byte) []byte { return b[order.Uint64(newest(b)[32:])*4096:] }
	// branch is the first page of bucket a, which has branches.
	branch := func(b []byte) []byte {
		p := root(b)
		at := headerSize + int(order.Uint32(p[headerSize+4:])) + int(order.Uint32(p[headerSize+8:]))
		return b[order.Uint64(p[at:])*4096:]
	}
	if order.Uint16(branch(good)[8:]) != flagBranch {
		t.Fatal("bucket a has no branches")
	}
	for name, change := range map[string]func(b []byte) []byte{
		"empty":             func([]byte) []byte { return []byte{0} },
		"last transaction":  func(b []byte) []byte { order.PutUint64(newest(b)[48:], 1<<64-1); restamp(b); return b },
		"no meta page":      func(b []byte) []byte { clear(b[:8192]); return b },
		"checksums":         func(b []byte) []byte { b[headerSize+16]++; b[4096+headerSize+16]++; return b },
		"truncated":         func(b []byte) []byte { return b[:4096*5] },
		"page size":         func(b []byte) []byte { order.PutUint32(b[headerSize+8:], 3000); restamp(b); return b },
		"two page sizes":    func(b []byte) []byte { order.PutUint32(b[4096+headerSize+8:], 8192); restamp(b); return b },
		"no pages":          func(b []byte) []byte { order.PutUint64(newest(b)[40:], 0); restamp(b); return b },
		"too many pages":    func(b []byte) []byte { order.PutUint64(newest(b)[40:], 1<<40); restamp(b); return b },
		"root outside":      func(b []byte) []byte { order.PutUint64(newest(b)[16:], 1<<50); restamp(b); return b },
		"root is meta":      func(b []byte) []byte { order.PutUint64(newest(b)[16:], 0); restamp(b); return b },
		"no free list":      func(b []byte) []byte { order.PutUint64(newest(b)[32:], 1<<64-1); restamp(b); return b },
		"free list is root": func(b []byte) []byte { copy(newest(b)[32:40], newest(b)[16:24]); restamp(b); return b },
		"root's id":         func(b []byte) []byte { root(b)[0]++; return b },
		"root's flags":      func(b []byte) []byte { root(b)[8] = 0x20; return b },
		"root's count":      func(b []byte) []byte { order.PutUint16(root(b)[10:], 0xffff); return b },
		"root's overflow":   func(b []byte) []byte { order.PutUint32(root(b)[12:], 1<<32-1); return b },
		"element outside":   func(b []byte) []byte { order.PutUint32(root(b)[headerSize+4:], 1<<32-1); return b },
		"empty key":         func(b []byte) []byte { order.PutUint32(root(b)[headerSize+8:], 0); return b },
		"value outside":     func(b []byte) []byte { order.PutUint32(root(b)[headerSize+12:], 1<<31); return b },
		"bucket too short":  func(b []byte) []byte { order.PutUint32(root(b)[headerSize+12:], 8); return b },
		"value in root":     func(b []byte) []byte { order.PutUint32(root(b)[headerSize:], 0); return b },
		"unknown element":   func(b []byte) []byte { order.PutUint32(root(b)[headerSize:], 3); return b },
		"circle":            func(b []byte) []byte { copy(branch(b)[headerSize+8:headerSize+16], branch(b)[:8]); return b },
		"child twice": func(b []byte) []byte {
			p := branch(b)
			copy(p[headerSize+8:headerSize+16], p[headerSize+24:headerSize+32])
			return b
		},
		"branch of none": func(b []byte) []byte { order.PutUint16(branch(b)[10:], 0); return b },
		"order": func(b []byte) []byte {
			p := branch(b)
			at := headerSize + int(order.Uint32(p[headerSize:]))
			p[at]++ // the first key is now after the second
			return b
		},
		"overflow to the end": func(b []byte) []byte {
			id := order.Uint64(newest(b)[16:])
			order.PutUint32(root(b)[12:], uint32(order.Uint64(newest(b)[40:])-id))
			return b
		},
		"circle of one": func(b []byte) []byte {
			p := branch(b)
			order.PutUint16(p[10:], 1)
			copy(p[headerSize+8:headerSize+16], p[:8])
			return b
		},
		"one tree for two buckets": func(b []byte) []byte {
			p := root(b)
			at := headerSize + elementSize
			second := at + int(order.Uint32(p[at+4:])) + int(order.Uint32(p[at+8:]))
			copy(p[second:second+8], branch(b)[:8])
			return b
		},
		"child above the next key": func(b []byte) []byte {
			p := branch(b)
			first := headerSize + int(order.Uint32(p[headerSize:]))
			at := headerSize + elementSize
			second := at + int(order.Uint32(p[at:]))
			copy(p[second:second+10], p[first:first+10])
			p[second+9]++
			return b
		},
		"child below its key": func(b []byte) []byte {
			p := branch(b)
			at := headerSize + elementSize + int(order.Uint32(p[headerSize+elementSize:]))
			p[at+9]++ // the last digit of the second key
			return b
		},
		"free list's flags": func(b []byte) []byte { free(b)[8] = flagLeaf; return b },
		"free list's count": func(b []byte) []byte { order.PutUint16(free(b)[10:], 0xfffe); return b },
		"free and in use":   func(b []byte) []byte { copy(free(b)[headerSize:headerSize+8], newest(b)[16:24]); return b },
		"free twice":        func(b []byte) []byte { p := free(b); copy(p[headerSize:headerSize+8], p[headerSize+8:]); return b },
		"free outside":      func(b []byte) []byte { order.PutUint64(free(b)[headerSize:], 1<<40); return b },
	} {
		t.Run(name, func(t *testing.T) {
			if err := check(change(bytes.Clone(good))); !errors.Is(err, ErrFormat) {
				t.Errorf("error %v, want ErrFormat", err)
			}
		})
	}
	if err := Check(bytes.NewReader(good), maxSize+1); !errors.Is(err, ErrFormat) {
		t.Errorf("huge: error %v", err)
	}
}

// The page of a small bucket is in its value; bbolt must not take it for another.
func TestCheckRefusesSmallBuckets(t *testing.T) {
	good := build(t, 3)
	if inline := rootValue(good)[bucketSize:]; order.Uint64(rootValue(good)) != 0 || order.Uint16(inline[8:]) != flagLeaf {
		t.Fatalf("flags %#x of bucket b", inline[8])
	}
	for name, change := range map[string]func(inline []byte){
		"empty key":       func(p []byte) { order.PutUint32(p[headerSize+8:], 0) },
		"element outside": func(p []byte) { order.PutUint32(p[headerSize+4:], 1<<20) },
		"branch":          func(p []byte) { order.PutUint16(p[8:], flagBranch) },
		"id of a page":    func(p []byte) { order.PutUint64(p, 3) },
		"continued":       func(p []byte) { order.PutUint32(p[12:], 1) },
	} {
		t.Run(name, func(t *testing.T) {
			b := bytes.Clone(good)
			change(rootValue(b)[bucketSize:])
			if err := check(b); !errors.Is(err, ErrFormat) {
				t.Errorf("error %v, want ErrFormat", err)
			}
		})
	}
}

// Without a valid first meta page, bbolt takes the page size from the first valid one
// at any place where the second might be.
func TestCheckLooksForTheSecondMetaAsBbolt(t *testing.T) {
	b := build(t, 20)
	b[headerSize+20]++
	if err := check(b); err != nil {
		t.Fatal(err)
	}
	m := bytes.Clone(b[4096+headerSize:][:metaSize])
	for size, want := range map[uint32]string{
		8192: "the second at byte 1024",
		1024: "page", // its trees are not where they are with 4096
	} {
		order.PutUint32(m[8:], size)
		order.PutUint64(m[56:], sum(m[:56]))
		copy(b[1024+headerSize:], m)
		if err := check(b); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), want) {
			t.Errorf("pages of %d bytes: error %v, want one with %q", size, err, want)
		}
	}
}

// rootValue is the value of the last bucket, from its beginning.
func rootValue(b []byte) []byte {
	p := b[order.Uint64(newest(b)[16:])*4096:]
	at := headerSize + elementSize*(int(order.Uint16(p[10:]))-1)
	return p[at+int(order.Uint32(p[at+4:]))+int(order.Uint32(p[at+8:])):]
}

// A chain of branches with one child each costs a stack frame for every page.
func TestCheckRefusesDeepTrees(t *testing.T) {
	b := build(t, 200)
	pages := order.Uint64(newest(b)[40:])
	b = b[:pages*4096]
	child := order.Uint64(rootValue(b))
	key := []byte("key 000000")
	for range maxDepth + 1 {
		branch := make([]byte, 4096)
		order.PutUint64(branch, pages)
		order.PutUint16(branch[8:], flagBranch)
		order.PutUint16(branch[10:], 1)
		order.PutUint32(branch[headerSize:], elementSize)
		order.PutUint32(branch[headerSize+4:], uint32(len(key)))
		order.PutUint64(branch[headerSize+8:], child)
		copy(branch[headerSize+elementSize:], key)
		b = append(b, branch...)
		child = pages
		pages++
	}
	order.PutUint64(rootValue(b), child)
	order.PutUint64(newest(b)[40:], pages)
	restamp(b)
	if err := check(b); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "deeper") {
		t.Errorf("error %v", err)
	}
}

// The older of two valid meta pages does not count, whichever it is.
func TestCheckReadsTheNewestMeta(t *testing.T) {
	seen := make(map[bool]bool)
	b := build(t, 5)
	for range 2 {
		first := order.Uint64(b[headerSize+48:]) > order.Uint64(b[4096+headerSize+48:])
		seen[first] = true
		older := bytes.Clone(b)
		at := headerSize
		if first {
			at += 4096
		}
		order.PutUint64(older[at+16:], 1<<40)
		restamp(older)
		if err := check(older); err != nil {
			t.Errorf("first is newest: %v, error %v", first, err)
		}
		b = use(t, b) // one transaction more
	}
	if len(seen) != 2 {
		t.Error("the same meta page was the newest twice")
	}
}

// A meta page that was being written when the machine stopped does not count.
func TestCheckFallsBackToTheOlderMeta(t *testing.T) {
	for i := range 2 {
		b := build(t, 0)
		b[i*4096+headerSize+20]++
		if err := check(b); err != nil {
			t.Errorf("without meta page %d: %v", i, err)
		}
	}
}

// Whatever Check accepts, bbolt can open, read and change.
func FuzzCheck(f *testing.F) {
	large, small := build(f, 60), build(f, 3) // of which only the latter has a bucket in a value
	f.Add([]byte{}, true, true)
	f.Add([]byte{}, true, false)
	for at := range 8 {
		f.Add(binary.LittleEndian.AppendUint32(nil, uint32(at*4096+10)<<8|0xff), at%2 == 0, true)
	}
	inline := len(small) - len(rootValue(small)) + bucketSize
	for _, at := range []int{0, 8, 12, headerSize + 4, headerSize + 12} {
		f.Add(binary.LittleEndian.AppendUint32(nil, uint32(inline+at)<<8|0x03), false, false)
	}
	f.Fuzz(func(t *testing.T, edits []byte, stamp, isLarge bool) {
		b := bytes.Clone(small)
		if isLarge {
			b = bytes.Clone(large)
		}
		for ; len(edits) >= 4; edits = edits[4:] {
			e := binary.LittleEndian.Uint32(edits)
			b[int(e>>8)%len(b)] = byte(e)
		}
		if stamp {
			restamp(b)
		}
		if err := check(b); err != nil {
			return
		}
		use(t, b)
	})
}

// use opens the file, reads and changes everything in one transaction, and gives what
// the file is then.
func use(t *testing.T, b []byte) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fuzzed.db")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	debug.SetPanicOnFault(true)
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second, FreelistType: bbolt.FreelistMapType, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Update(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(_ []byte, bucket *bbolt.Bucket) error {
			var keys [][]byte
			if err := bucket.ForEach(func(k, _ []byte) error {
				keys = append(keys, bytes.Clone(k))
				return nil
			}); err != nil {
				return err
			}
			for i, k := range keys {
				if i%3 == 0 {
					err = bucket.Delete(k)
				} else {
					err = bucket.Put(k, make([]byte, 3000))
				}
				if err != nil {
					return err
				}
			}
			return bucket.Put([]byte("new"), make([]byte, 10000))
		})
	}); err != nil {
		t.Fatal(err)
	}
	b, err = os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
