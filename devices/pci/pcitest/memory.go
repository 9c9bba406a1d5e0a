package pcitest

import (
	"cmp"
	"slices"
	"sync"

	"github.com/nitrolab/nitrolab/devices/guestmem"
)

// A Memory is what an IOMMU lets a function reach: nothing at first. It implements
// pci.Memory.
type Memory struct {
	mu    sync.Mutex
	table *table // never changed once it is here, but replaced
}

// A table is the mappings at one time, by address, and who uses them.
type table struct {
	mappings []mapping
	users    sync.WaitGroup
}

type mapping struct {
	iova        uint64
	mem         []byte
	read, write bool
}

func (o *mapping) last() uint64 { return o.iova + uint64(len(o.mem)-1) }

// Map makes mem readable and writable by the function at iova. It panics if
// something is mapped there. It must not be called by what View calls.
func (m *Memory) Map(iova uint64, mem []byte) { m.MapAs(iova, mem, true, true) }

// MapAs is Map with permissions.
func (m *Memory) MapAs(iova uint64, mem []byte, read, write bool) {
	m.replace(func(mappings []mapping) []mapping {
		for _, o := range mappings {
			if len(mem) > 0 && len(o.mem) > 0 && iova <= o.last() && o.iova <= iova+uint64(len(mem)-1) {
				panic("pcitest: mapped already")
			}
		}
		mappings = append(mappings, mapping{iova, mem, read, write})
		slices.SortFunc(mappings, func(a, b mapping) int { return cmp.Compare(a.iova, b.iova) })
		return mappings
	})
}

// Unmap removes the mapping that begins at iova. When it returns nobody uses it.
func (m *Memory) Unmap(iova uint64) {
	m.replace(func(mappings []mapping) []mapping {
		return slices.DeleteFunc(mappings, func(o mapping) bool { return o.iova == iova })
	})
}

// replace makes a new table out of a copy of the old and waits for the users of
// that.
func (m *Memory) replace(change func([]mapping) []mapping) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.table
	if old == nil {
		old = &table{}
	}
	m.table = &table{mappings: change(slices.Clone(old.mappings))}
	m.mu.Unlock()
	old.users.Wait()
	m.mu.Lock()
}

// enter returns the table of this moment; users.Done has to follow.
func (m *Memory) enter() *table {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.table == nil {
		m.table = &table{}
	}
	m.table.users.Add(1)
	return m.table
}

// each calls use with the pieces of the n bytes at iova, in order.
func (t *table) each(iova uint64, n int, write bool, use func([]byte)) error {
	at, left := iova, max(n, 0)
	for i := range t.mappings {
		o := &t.mappings[i]
		if left == 0 {
			break
		}
		if skip := at - o.iova; at >= o.iova && skip < uint64(len(o.mem)) {
			if write && !o.write || !write && !o.read {
				break
			}
			k := min(left, len(o.mem)-int(skip))
			use(o.mem[skip : int(skip)+k : int(skip)+k])
			at, left = at+uint64(k), left-k
		}
	}
	if left != 0 || n < 0 {
		return &guestmem.AddressError{Space: guestmem.Bus, Addr: iova, Len: n}
	}
	return nil
}

// Read implements pci.Memory.
func (m *Memory) Read(iova uint64, p []byte) error {
	t := m.enter()
	defer t.users.Done()
	return t.each(iova, len(p), false, func(b []byte) { p = p[copy(p, b):] })
}

// Write implements pci.Memory.
func (m *Memory) Write(iova uint64, p []byte) error {
	t := m.enter()
	defer t.users.Done()
	return t.each(iova, len(p), true, func(b []byte) { p = p[copy(b, p):] })
}

// View implements pci.Memory.
func (m *Memory) View(iova uint64, n int, write bool, f func(segments [][]byte) error) error {
	t := m.enter()
	defer t.users.Done()
	var segments [][]byte
	if err := t.each(iova, n, write, func(b []byte) { segments = append(segments, b) }); err != nil {
		return err
	}
	return f(segments)
}
