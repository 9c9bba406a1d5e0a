//go:build amd64 || arm64

package guestmem

import (
	"fmt"
	"sync/atomic"
	"unsafe"
)

// The functions below are the ordered accesses that rings in guest RAM need.
// virtio 1.x rings, and legacy rings of the guests nitrolab boots, are
// little-endian; so are the two hosts it is built for, hence no byte swaps and
// the build constraint.
//
// sync/atomic has no 16-bit operations. Ring indices are 16-bit halves of
// naturally aligned 32-bit words, which is what LoadAcquire and StoreRelease
// work on. A StoreRelease is never overtaken by a later LoadAcquire: that is
// the store-load ordering the event suppression of a virtqueue relies on
// (virtio 1.2, 2.7.7 and 2.7.10). Go compiles them to XCHG and MOV on amd64 and
// to SWPAL (or LDAXR and STLXR) and LDAR on arm64. Load16 and Store16 are single
// 16-bit accesses without ordering of their own: a Load16 stays behind an
// earlier LoadAcquire and a Store16 before a later StoreRelease.
//
// All panic if the access does not lie in b or is not aligned, which is a
// mistake of the caller: ring addresses are checked when a queue is made.

// LoadAcquire returns the 32-bit word at b[off], ordered before every later
// access of this goroutine and after every earlier StoreRelease.
func LoadAcquire(b []byte, off int) uint32 {
	return atomic.LoadUint32((*uint32)(word(b, off, 4)))
}

// StoreRelease writes the 32-bit word at b[off], ordered after every earlier
// access and before every later LoadAcquire of this goroutine.
//
// It swaps because a store is not enough in a build with the race detector,
// whose runtime stores with release order only.
func StoreRelease(b []byte, off int, v uint32) {
	atomic.SwapUint32((*uint32)(word(b, off, 4)), v)
}

// Load16 returns the 16-bit word at b[off] by one load.
//
//go:norace
func Load16(b []byte, off int) uint16 { return *(*uint16)(word(b, off, 2)) }

// Store16 writes the 16-bit word at b[off] by one store.
//
//go:norace
func Store16(b []byte, off int, v uint16) { *(*uint16)(word(b, off, 2)) = v }

// Aligned reports whether the first byte of b lies at a multiple of n, which is
// a power of two, in this process. Mappings begin at pages, so for n up to the
// page size and mapped guest RAM this is the alignment the guest chose.
func Aligned(b []byte, n uintptr) bool {
	return uintptr(unsafe.Pointer(unsafe.SliceData(b)))&(n-1) == 0
}

// word returns the address of the size bytes at b[off].
func word(b []byte, off int, size uintptr) unsafe.Pointer {
	// Not b[off:off+size], which may reach into the capacity.
	if off < 0 || off > len(b)-int(size) {
		panic(fmt.Sprintf("guestmem: %d-byte word at offset %d of %d bytes", size, off, len(b)))
	}
	p := unsafe.Add(unsafe.Pointer(unsafe.SliceData(b)), off)
	if uintptr(p)&(size-1) != 0 {
		panic(fmt.Sprintf("guestmem: %d-byte word at misaligned address %#x", size, uintptr(p)))
	}
	return p
}
