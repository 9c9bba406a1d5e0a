// Package boltfile checks the structure of a bbolt file before bbolt opens it. bbolt
// trusts its files: in a damaged one it walks in circles, counts to 2^32, or reads
// beyond the end of its mapping, and its own check comes too late and does the same.
//
// The format is version 2 of bbolt, as its packages internal/common and
// internal/freelist read it: pages of one size, each tree of which is a bucket; the
// buckets of the root bucket hold keys and values only.
package boltfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// ErrFormat is what Check finds in every file that it refuses.
var ErrFormat = errors.New("not a sound bbolt file")

const (
	headerSize  = 16 // of a page: id 8, flags 2, count 2, overflow 4
	elementSize = 16 // of a leaf: flags, pos, ksize, vsize; of a branch: pos, ksize, page 8
	bucketSize  = 16 // root page, sequence

	flagBranch   = 0x01
	flagLeaf     = 0x02
	flagFreelist = 0x10
	flagBucket   = 0x01 // of a leaf element

	// maxDepth of a tree. Branches have two children at least once they are
	// written, so this holds for more pages than a file can have.
	maxDepth = 64

	// maxSize and maxRun, of a page with those that continue it, bound the memory
	// that a file full of holes can ask for. The list of free pages needs 8 bytes
	// for each.
	maxSize = 4 << 30
	maxRun  = maxSize / 4096 * 8
)

// order is that of the machine, as bbolt's.
var order = binary.NativeEndian

// A file is one that is being checked.
type file struct {
	r        io.ReaderAt
	pageSize int64
	pages    uint64 // in use or free; there are no others
	seen     []bool // by page: reached already
}

// Check reads the pages that the newest valid transaction of a file of size bytes
// reaches, each once, and its list of free pages. It returns nil if bbolt can open the
// file, and read and change all of it, without harm; else an error that is
// [ErrFormat], or that of r. A file of no bytes is new and needs no check.
func Check(r io.ReaderAt, size int64) error {
	if size > maxSize {
		return bad("it has %d bytes; allowed are up to %d", size, int64(maxSize))
	}
	f := &file{r: r}
	m, err := f.meta(size)
	if err != nil {
		return err
	}
	f.pageSize = int64(order.Uint32(m[8:]))
	f.pages = order.Uint64(m[40:])
	if f.pages < 4 || f.pages > uint64(size/f.pageSize) {
		return bad("%d pages in %d bytes", f.pages, size)
	}
	f.seen = make([]bool, f.pages)
	f.seen[0], f.seen[1] = true, true
	if err := f.tree(order.Uint64(m[16:]), 0, nil, nil, 0); err != nil {
		return err
	}
	return f.freelist(order.Uint64(m[32:]))
}

// page reads a page with those that continue it, which nothing else may use.
func (f *file) page(id uint64) ([]byte, error) {
	if id >= f.pages {
		return nil, bad("page %d of %d", id, f.pages)
	}
	var header [headerSize]byte
	if _, err := f.r.ReadAt(header[:], int64(id)*f.pageSize); err != nil {
		return nil, err
	}
	if got := order.Uint64(header[:]); got != id {
		return nil, bad("page %d says it is %d", id, got)
	}
	overflow := uint64(order.Uint32(header[12:]))
	if overflow >= f.pages-id || int64(overflow+1)*f.pageSize > maxRun {
		return nil, bad("page %d continues for %d pages of %d", id, overflow, f.pages)
	}
	for i := id; i <= id+overflow; i++ {
		if f.seen[i] {
			return nil, bad("page %d is used twice", i)
		}
		f.seen[i] = true
	}
	p := make([]byte, int64(overflow+1)*f.pageSize)
	_, err := f.r.ReadAt(p, int64(id)*f.pageSize)
	return p, err
}

// tree checks the pages under id, in whose every key is at least low and, unless that
// is nil, below high. Level is 0 in the root bucket.
func (f *file) tree(id uint64, level int, low, high []byte, depth int) error {
	if depth > maxDepth {
		return bad("a tree is deeper than %d", maxDepth)
	}
	p, err := f.page(id)
	if err != nil {
		return err
	}
	return f.node(p, level, low, high, depth)
}

// node checks a page of a tree, which is in a bucket's value if that is small.
func (f *file) node(p []byte, level int, low, high []byte, depth int) error {
	flags, count := order.Uint16(p[8:]), int(order.Uint16(p[10:]))
	switch {
	case flags != flagBranch && flags != flagLeaf:
		return bad("page of a tree has flags %#x", flags)
	case headerSize+count*elementSize > len(p):
		return bad("page has %d elements in %d bytes", count, len(p))
	case flags == flagBranch && count == 0:
		return bad("branch without leaves")
	}
	var keys [][]byte
	for i := range count {
		key, err := f.key(p, i, flags)
		if err != nil {
			return err
		}
		if bytes.Compare(key, low) < 0 || high != nil && bytes.Compare(key, high) >= 0 ||
			i > 0 && bytes.Compare(key, keys[i-1]) <= 0 {
			return bad("keys are not in order")
		}
		keys = append(keys, key)
	}
	for i := range count {
		at := headerSize + i*elementSize
		if flags == flagBranch {
			next := high
			if i+1 < count {
				next = keys[i+1]
			}
			if err := f.tree(order.Uint64(p[at+8:]), level, keys[i], next, depth+1); err != nil {
				return err
			}
			continue
		}
		start := at + int(order.Uint32(p[at+4:])) + int(order.Uint32(p[at+8:]))
		value := p[start : start+int(order.Uint32(p[at+12:]))]
		if err := f.value(order.Uint32(p[at:]), value, level); err != nil {
			return err
		}
	}
	return nil
}

// key gives the key of an element, after it has found key and value within the page.
func (f *file) key(p []byte, i int, flags uint16) ([]byte, error) {
	at := headerSize + i*elementSize
	var pos, ksize, vsize uint64
	if flags == flagBranch {
		pos, ksize = uint64(order.Uint32(p[at:])), uint64(order.Uint32(p[at+4:]))
	} else {
		pos, ksize, vsize = uint64(order.Uint32(p[at+4:])), uint64(order.Uint32(p[at+8:])), uint64(order.Uint32(p[at+12:]))
	}
	// Three numbers of 32 bits and an offset do not overflow.
	if start := uint64(at) + pos; ksize == 0 || start+ksize+vsize > uint64(len(p)) {
		return nil, bad("element %d lies outside of its page", i)
	}
	return p[uint64(at)+pos:][:ksize], nil
}

// value checks the value of a leaf element: a bucket in the root bucket, bytes in
// others.
func (f *file) value(flags uint32, value []byte, level int) error {
	isBucket := flags == flagBucket
	switch {
	case flags > flagBucket || isBucket != (level == 0):
		return bad("element has flags %#x at level %d", flags, level)
	case !isBucket:
		return nil
	case len(value) < bucketSize:
		return bad("bucket of %d bytes", len(value))
	}
	if root := order.Uint64(value); root != 0 {
		return f.tree(root, level+1, nil, nil, 0)
	}
	// bbolt frees the page that a page in a value says it is.
	inline := value[bucketSize:]
	if len(inline) < headerSize || order.Uint64(inline) != 0 || order.Uint16(inline[8:]) != flagLeaf || order.Uint32(inline[12:]) != 0 {
		return bad("bucket without a page of its own is no leaf")
	}
	return f.node(inline, level+1, nil, nil, 0)
}

// freelist checks that what it says is free is there, once, and not in use.
func (f *file) freelist(id uint64) error {
	p, err := f.page(id)
	if err != nil {
		return err
	}
	if flags := order.Uint16(p[8:]); flags != flagFreelist {
		return bad("list of free pages has flags %#x", flags)
	}
	ids, count := p[headerSize:], uint64(order.Uint16(p[10:]))
	if count == 0xffff { // the number did not fit
		count, ids = order.Uint64(ids), ids[8:]
	}
	if count > uint64(len(ids)/8) {
		return bad("list of free pages has %d in %d bytes", count, len(ids))
	}
	for i := range count {
		free := order.Uint64(ids[i*8:])
		if free >= f.pages || f.seen[free] {
			return bad("page %d is free and is not", free)
		}
		f.seen[free] = true
	}
	return nil
}

func bad(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrFormat, fmt.Sprintf(format, args...))
}
