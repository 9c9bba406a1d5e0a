package guestmem

import (
	"math"
	"slices"
	"sort"
)

// A Mapping is one range that a guest gives to a function, as in a vfio-user
// DMA_MAP.
type Mapping struct {
	IOVA   uint64 // bus address of the first byte; need not be page-aligned
	Size   uint64 // bytes
	Offset uint64 // of the first byte in the file
	FD     int    // file of the memory; -1: it cannot be reached, as ROM

	Read, Write bool // what the function may do

	// AllowUnsealed is that of [Options].
	AllowUnsealed bool
}

// check checks what can be without looking at the file.
func (m *Mapping) check() error {
	switch {
	case m.Size == 0, m.IOVA > math.MaxUint64-(m.Size-1):
		return ErrRange
	case m.FD < 0:
		return nil
	case m.Size > math.MaxInt64, m.Offset > math.MaxInt64-m.Size:
		return ErrRange
	}
	return nil
}

// A mapping is one range of a table.
type mapping struct {
	first, last uint64 // bus addresses, both included: the last may be 2^64-1
	offset      uint64 // of first in file
	file        *file  // nil: no memory; else the range lies within file.mem
	read, write bool
}

// from returns the bytes of m from address addr on, which lies in it.
func (m *mapping) from(addr uint64) []byte {
	o := m.offset + (addr - m.first)
	end := m.offset + (m.last - m.first) + 1
	return m.file.mem[o:end:end]
}

// continues reports whether n begins where m ends, so that one range can stand for both.
func (m *mapping) continues(n *mapping) bool {
	return m.last != math.MaxUint64 && m.last+1 == n.first && m.file == n.file && m.read == n.read && m.write == n.write &&
		(m.file == nil || m.offset+(n.first-m.first) == n.offset)
}

// holds reports whether n lies in m and says the same.
func (m *mapping) holds(n *mapping) bool {
	return m.first <= n.first && n.last <= m.last && m.file == n.file && m.read == n.read && m.write == n.write &&
		(m.file == nil || m.offset+(n.first-m.first) == n.offset)
}

// A table is the mappings in ascending order. They do not overlap, and none
// continues the one before.
type table []mapping

// search returns the index of the first mapping that ends at addr or later.
func (t table) search(addr uint64) int {
	return sort.Search(len(t), func(i int) bool { return t[i].last >= addr })
}

// check returns the index of the mapping that holds the first of n bytes at iova,
// provided that all can be read, or written. If n is 0 the index means nothing.
func (t table) check(iova uint64, n int, write bool) (int, error) {
	if n <= 0 {
		if n == 0 {
			return 0, nil
		}
		return 0, &AddressError{Space: Bus, Addr: iova, Len: n}
	}
	i := t.search(iova)
	last := iova + uint64(n-1)
	if last < iova {
		return 0, &AddressError{Space: Bus, Addr: iova, Len: n}
	}
	for j, at := i, iova; ; j++ {
		if j == len(t) || t[j].first > at {
			return 0, &AddressError{Space: Bus, Addr: iova, Len: n}
		}
		m := &t[j]
		switch {
		case write && !m.write, !write && !m.read:
			return 0, &AddressError{Space: Bus, Addr: iova, Len: n, Err: ErrPermission}
		case m.file == nil:
			return 0, &AddressError{Space: Bus, Addr: iova, Len: n, Err: ErrNoMemory}
		case m.last >= last:
			return i, nil
		}
		at = m.last + 1
	}
}

// insert adds m. On error nothing changed.
func (t *table) insert(m mapping) error {
	i := t.search(m.first)
	if i < len(*t) && (*t)[i].first <= m.last {
		if (*t)[i].holds(&m) {
			return nil
		}
		return &OverlapError{Space: Bus, Addr: max(m.first, (*t)[i].first)}
	}
	before := i > 0 && (*t)[i-1].continues(&m)
	after := i < len(*t) && m.continues(&(*t)[i])
	switch {
	case before && after:
		(*t)[i-1].last = (*t)[i].last
		t.delete(i, i+1)
	case before:
		(*t)[i-1].last = m.last
	case after:
		(*t)[i].first, (*t)[i].offset = m.first, m.offset
	case len(*t) >= MaxMappings:
		return ErrTooMany
	default:
		*t = slices.Insert(*t, i, m)
		m.file.use(1)
	}
	return nil
}

// remove takes the addresses first to last out of t, and reports whether any was
// mapped. The error is ErrTooMany if more had to go.
func (t *table) remove(first, last uint64) (removed bool, err error) {
	i := t.search(first)
	if i == len(*t) || (*t)[i].first > last {
		return false, nil
	}
	if m := &(*t)[i]; m.first < first { // its lower part stays
		upper := *m
		m.last = first - 1
		i++
		if upper.last > last { // and so does its upper part
			if len(*t) >= MaxMappings {
				return true, ErrTooMany
			}
			upper.offset += last + 1 - upper.first
			upper.first = last + 1
			*t = slices.Insert(*t, i, upper)
			upper.file.use(1)
			return true, nil
		}
	}
	end := i
	for end < len(*t) && (*t)[end].last <= last {
		end++
	}
	if end < len(*t) && (*t)[end].first <= last {
		m := &(*t)[end]
		m.offset += last + 1 - m.first
		m.first = last + 1
	}
	t.delete(i, end)
	return true, nil
}

// delete drops the mappings from i up to end.
func (t *table) delete(i, end int) {
	for j := i; j < end; j++ {
		(*t)[j].file.use(-1)
	}
	*t = slices.Delete(*t, i, end)
}
