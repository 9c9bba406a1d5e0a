// Package guestmem is guest RAM as a device model may see it: a table of
// mapped ranges with bounds-checked access by address. It is the only code of
// nitrolab that touches guest RAM by address; everything above it holds byte
// slices cut by [Memory.Slice], [Memory.Append] and [Window.View].
//
// A [Memory] is a layout that is replaced as a whole and counts by
// guest-physical address, as virtio devices have it. A [Window] is what an
// IOMMU lets one function reach and changes range by range while in use.
//
// The content is shared with running virtual CPUs. Whoever reads a slice must
// expect it to change between two reads and therefore copies what it decides
// by. Words with an ordering of their own (ring indices) go through
// [LoadAcquire], [StoreRelease], [Load16] and [Store16].
//
// # Use after unmap
//
// A Memory is immutable between construction and [Memory.Close]; a changed
// memory layout is a new Memory. Slices stay valid until Close. A transport
// therefore stops every queue (which ends the device's use of its slices, see
// virtio.Device.StopQueue) before it closes the old table, and starts the
// queues again over the new one. A Window lends its bytes for the time of a call instead.
package guestmem

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// MaxRegions bounds the regions of one table: a vhost-user SET_MEM_TABLE
// carries at most 8 and lookups are linear. The bound leaves room for
// transports that map ranges one by one.
const MaxRegions = 64

// A region is one contiguous range of guest RAM.
type region struct {
	gpa  uint64 // guest-physical address of mem[0]
	user uint64 // address of mem[0] in the front-end's address space
	mem  []byte // len is the region's size; never empty
}

// contains reports whether [addr, addr+n) lies in the size bytes at base.
// Written with differences only, so that no sum can overflow.
func contains(base uint64, size int, addr uint64, n int) bool {
	return addr >= base && addr-base <= uint64(size) && uint64(n) <= uint64(size)-(addr-base)
}

// A Memory is a table of mapped regions, in ascending guest-physical order,
// that overlap in neither address space. Its methods may be called
// concurrently, except Close.
type Memory struct {
	regions  []region
	mappings [][]byte // what Close unmaps: page-aligned, covers regions
}

// FromBytes returns ordinary memory b as one region at guest-physical address
// gpa, with the same front-end address. It is for device models without a
// virtual machine, such as in tests. It panics if b is empty or would reach
// beyond the address space, which is a mistake of the caller.
func FromBytes(gpa uint64, b []byte) *Memory {
	if len(b) == 0 || gpa > math.MaxUint64-uint64(len(b)) {
		panic(fmt.Sprintf("guestmem: region %#x+%#x is empty or wraps around", gpa, len(b)))
	}
	return &Memory{regions: []region{{gpa: gpa, user: gpa, mem: b}}}
}

// Slice returns the n bytes at guest-physical address gpa, which must lie in
// one region. The capacity of the result ends with it. The error is an
// [*AddressError].
func (m *Memory) Slice(gpa uint64, n int) ([]byte, error) {
	for i := range m.regions {
		r := &m.regions[i]
		if n >= 0 && contains(r.gpa, len(r.mem), gpa, n) {
			o := int(gpa - r.gpa)
			return r.mem[o : o+n : o+n], nil
		}
	}
	return nil, &AddressError{Space: GuestPhysical, Addr: gpa, Len: n}
}

// UserSlice is [Memory.Slice] for an address in the front-end's own address
// space, which is how vhost-user names rings (SET_VRING_ADDR).
func (m *Memory) UserSlice(user uint64, n int) ([]byte, error) {
	for i := range m.regions {
		r := &m.regions[i]
		if n >= 0 && contains(r.user, len(r.mem), user, n) {
			o := int(user - r.user)
			return r.mem[o : o+n : o+n], nil
		}
	}
	return nil, &AddressError{Space: FrontEnd, Addr: user, Len: n}
}

// Append appends the n bytes at guest-physical address gpa to the
// scatter/gather list dst, one element per region touched: a buffer may cross
// from one region into an adjacent one. It allocates only if dst lacks
// capacity. On error, an [*AddressError], dst is returned as it was.
func (m *Memory) Append(dst [][]byte, gpa uint64, n int) ([][]byte, error) {
	if b, err := m.sliceUpTo(gpa, n); err == nil && len(b) == n {
		return append(dst, b), nil
	}
	had := len(dst)
	for at, left := gpa, n; ; {
		b, err := m.sliceUpTo(at, left)
		if err != nil {
			return dst[:had], &AddressError{Space: GuestPhysical, Addr: gpa, Len: n}
		}
		dst = append(dst, b)
		if left -= len(b); left == 0 {
			return dst, nil
		}
		at += uint64(len(b))
	}
}

var errUnmapped = errors.New("not mapped")

// sliceUpTo returns the longest prefix of the n bytes at gpa that lies in one
// region; it is empty only if n is 0.
func (m *Memory) sliceUpTo(gpa uint64, n int) ([]byte, error) {
	for i := range m.regions {
		r := &m.regions[i]
		if n >= 0 && gpa >= r.gpa && gpa-r.gpa < uint64(len(r.mem)) {
			o := int(gpa - r.gpa)
			end := o + min(n, len(r.mem)-o)
			return r.mem[o:end:end], nil
		}
	}
	return nil, errUnmapped
}

// ReadAt copies the len(p) bytes at guest-physical address gpa to p, across
// adjacent regions. The error is an [*AddressError]; then p is unspecified.
func (m *Memory) ReadAt(p []byte, gpa uint64) error {
	for done := 0; done < len(p); {
		b, err := m.sliceUpTo(gpa+uint64(done), len(p)-done)
		if err != nil {
			return &AddressError{Space: GuestPhysical, Addr: gpa, Len: len(p)}
		}
		done += copy(p[done:], b)
	}
	return nil
}

// Regions is the number of regions of the table.
func (m *Memory) Regions() int { return len(m.regions) }

// Size is the sum of the sizes of all regions, in bytes.
func (m *Memory) Size() uint64 {
	var n uint64
	for i := range m.regions {
		n += uint64(len(m.regions[i].mem))
	}
	return n
}

// overlapping returns the error for the first two regions that share
// addresses, in either address space. It leaves regions sorted by
// guest-physical address.
func overlapping(regions []region) error {
	spaces := []struct {
		space AddressSpace
		base  func(region) uint64
	}{
		{FrontEnd, func(r region) uint64 { return r.user }},
		{GuestPhysical, func(r region) uint64 { return r.gpa }},
	}
	for _, s := range spaces {
		slices.SortFunc(regions, func(a, b region) int {
			if s.base(a) < s.base(b) {
				return -1
			}
			return 1
		})
		for i := 1; i < len(regions); i++ {
			prev := regions[i-1]
			if s.base(regions[i])-s.base(prev) < uint64(len(prev.mem)) {
				return &OverlapError{Space: s.space, Addr: s.base(regions[i])}
			}
		}
	}
	return nil
}
