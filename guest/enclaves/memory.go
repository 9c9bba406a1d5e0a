package enclaves

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// PageSizes are the huge page sizes that an enclave can be made of, in bytes,
// largest first: those of any architecture, as nitro-cli tries them
// (HUGE_PAGE_MAP in resource_manager.rs). x86-64 has those of 1 GiB and 2 MiB.
func PageSizes() []uint64 {
	return []uint64{16 << 30, 2 << 30, 1 << 30, 512 << 20, 256 << 20, 32 << 20, 16 << 20, 8 << 20, 2 << 20}
}

// A Memory is the memory for one enclave: whole huge pages, largest first. It is
// not safe for concurrent use.
type Memory struct{ pages []*Page }

// Allocate takes at least size bytes of huge pages. Like nitro-cli it takes large
// pages first, never more of them than fit; what is left it takes in the
// smallest pages there are, which may be larger than what is left; then it gives
// back the pages that turned out not to be needed. So 3 GiB are three pages of 1
// GiB, or one and 1024 of 2 MiB, whatever there is; and 1 MiB is a page of 1 GiB
// if there is no other.
//
// An error that says that there are too few pages is an
// [*InsufficientMemoryError]; then nothing is kept.
func Allocate(sys System, size uint64) (_ *Memory, err error) {
	m := &Memory{}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.Close())
		}
	}()
	needed := size
	sizes := PageSizes()
	for _, pageSize := range sizes {
		for needed >= pageSize {
			if err := m.take(sys, pageSize); err != nil {
				break
			}
			needed -= pageSize
		}
	}
	slices.Reverse(sizes)
	for _, pageSize := range sizes {
		for needed > 0 {
			if err := m.take(sys, pageSize); err != nil {
				break
			}
			needed -= min(needed, pageSize)
		}
	}
	if needed > 0 {
		return nil, &InsufficientMemoryError{Requested: size, Missing: needed}
	}
	slices.SortStableFunc(m.pages, func(a, b *Page) int { return -cmp.Compare(len(a.Bytes), len(b.Bytes)) })
	return m, m.trim(size)
}

func (m *Memory) take(sys System, size uint64) error {
	p, err := sys.MapPage(size)
	if err == nil {
		m.pages = append(m.pages, p)
	}
	return err
}

// trim gives back the pages behind those that hold size bytes.
func (m *Memory) trim(size uint64) error {
	keep := 0
	for size > 0 {
		size -= min(size, uint64(len(m.pages[keep].Bytes)))
		keep++
	}
	spare := Memory{m.pages[keep:]}
	m.pages = m.pages[:keep:keep]
	return spare.Close()
}

// Size is in bytes.
func (m *Memory) Size() uint64 {
	var n uint64
	for _, p := range m.pages {
		n += uint64(len(p.Bytes))
	}
	return n
}

// Regions lists the pages in their order, one region each.
func (m *Memory) Regions() []MemoryRegion {
	regions := make([]MemoryRegion, 0, len(m.pages))
	for _, p := range m.pages {
		regions = append(regions, MemoryRegion{Flags: DefaultMemoryRegion, Size: uint64(len(p.Bytes)), Addr: p.Addr})
	}
	return regions
}

// Donate gives all pages to vm. The driver holds them until the VM is closed;
// unmap them, with Close, after that.
func (m *Memory) Donate(vm VM) error {
	for i, r := range m.Regions() {
		if err := vm.SetUserMemoryRegion(r); err != nil {
			return fmt.Errorf("region %d of %d: %w", i+1, len(m.pages), err)
		}
	}
	return nil
}

// Close unmaps all pages. A second call does nothing.
func (m *Memory) Close() error {
	var errs []error
	for _, p := range m.pages {
		errs = append(errs, p.Unmap())
	}
	m.pages = nil
	return errors.Join(errs...)
}
