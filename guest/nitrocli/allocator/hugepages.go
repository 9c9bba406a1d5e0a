package allocator

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// pageSizes are the huge page sizes of a node.
type pageSizes struct {
	files Files
	out   io.Writer
	kinds []pageKind // largest first
}

// A pageKind is one size of huge page.
type pageKind struct {
	size  int64  // bytes
	path  string // its nr_hugepages
	label string // such as 2048kB
}

// readPageSizes reads which sizes a node has.
func readPageSizes(files Files, out io.Writer, node uint32) (*pageSizes, error) {
	dir := fmt.Sprintf("/sys/devices/system/node/node%d/hugepages", node)
	entries, err := files.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", SetPage, err)
	}
	p := &pageSizes{files: files, out: out}
	for _, e := range entries {
		label, ok := strings.CutPrefix(e.Name(), "hugepages-")
		digits, isKiB := strings.CutSuffix(label, "kB") // the kernel has no other unit
		kib, err := strconv.ParseInt(digits, 10, 64)
		if !ok || !isKiB || err != nil || kib < 1 || kib > 1<<40 {
			continue
		}
		p.kinds = append(p.kinds, pageKind{size: kib << 10, path: dir + "/" + e.Name() + "/nr_hugepages", label: label})
	}
	if p.kinds == nil {
		return nil, fmt.Errorf("%w: node %d has no huge pages", SetPage, node)
	}
	slices.SortFunc(p.kinds, func(a, b pageKind) int { return int(b.size>>10 - a.size>>10) })
	return p, nil
}

func (p *pageSizes) read(k pageKind) (int64, error) {
	text, err := p.files.ReadFile(k.path)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
}

func (p *pageSizes) write(k pageKind, n int64) error {
	return p.files.WriteFile(k.path, fmt.Appendf(nil, "%d\n", n))
}

// counts reads how many pages of each kind there are.
func (p *pageSizes) counts() ([]int64, error) {
	counts := make([]int64, len(p.kinds))
	for i, k := range p.kinds {
		var err error
		if counts[i], err = p.read(k); err != nil {
			return nil, fmt.Errorf("%w: %w", SetPage, err)
		}
	}
	return counts, nil
}

// clear gives all pages back. Else a page of 1 GiB of an earlier run would be
// counted against a request for 300 MiB.
func (p *pageSizes) clear() error {
	for _, k := range p.kinds {
		if err := p.write(k, 0); err != nil {
			return fmt.Errorf("%w: pages of %s: %w", ClearPage, k.label, err)
		}
	}
	return nil
}

// reserve makes the pages of the node hold memory bytes, and nothing else: pages
// from the largest size to the smallest, as many of each as fit and as the kernel
// can find. A request is rounded up to the smallest size. undo sets the earlier
// numbers again; an error has done that already.
func (p *pageSizes) reserve(memory int64) (undo func() error, err error) {
	before, err := p.counts()
	if err != nil {
		return nil, err
	}
	undo = func() error { return p.restore(before) }
	if err := p.clear(); err != nil {
		return nil, errors.Join(err, undo())
	}
	smallest := p.kinds[len(p.kinds)-1].size
	remaining := (memory + smallest - 1) / smallest * smallest
	for _, k := range p.kinds {
		got, err := p.ask(k, remaining/k.size)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%w: pages of %s: %w", SetPage, k.label, err), undo())
		}
		if got > 0 {
			fmt.Fprintf(p.out, "- Reserved %d pages of %s.\n", got, k.label)
		}
		// The kernel may give fewer than asked for, and keep more that are in
		// use.
		remaining -= got * k.size
		if remaining <= 0 {
			break
		}
	}
	if remaining != 0 {
		fmt.Fprintln(p.out, "Not all of the memory could be reserved, setting the earlier numbers of huge pages.")
		return nil, errors.Join(InsufficientMemory, undo())
	}
	return undo, nil
}

// compactPath makes the kernel bring free memory together.
const compactPath = "/proc/sys/vm/compact_memory"

// maxAsks is how often pages are asked for: right after a boot the kernel gives up
// on a few of many, and finds them when memory has been compacted.
const maxAsks = 4

// ask asks for n pages of a kind, and returns how many there are then.
func (p *pageSizes) ask(k pageKind, n int64) (got int64, err error) {
	for range maxAsks {
		if err := p.write(k, n); err != nil {
			return 0, err
		}
		if got, err = p.read(k); err != nil || got >= n {
			return got, err
		}
		if p.files.WriteFile(compactPath, []byte("1\n")) != nil {
			break // a kernel without
		}
	}
	return got, nil
}

// restore sets earlier numbers, and checks that they took effect.
func (p *pageSizes) restore(counts []int64) error {
	if err := p.clear(); err != nil {
		return err
	}
	for i, k := range p.kinds {
		if err := p.write(k, counts[i]); err != nil {
			return fmt.Errorf("%w: pages of %s: %w", SetPage, k.label, err)
		}
	}
	for i, k := range p.kinds {
		if got, err := p.read(k); err != nil || got != counts[i] {
			return errors.Join(fmt.Errorf("%w: %d pages of %s, were %d", RollbackPage, got, k.label, counts[i]), err)
		}
	}
	return nil
}
