package vfiousertest

import (
	"testing"

	"golang.org/x/sys/unix"
)

// RAM is memory of a guest, as QEMU has it: a sealed memfd.
type RAM struct {
	FD    int
	Bytes []byte // mapped
}

// NewRAM returns size bytes of guest memory, until the end of the test. Its name in
// /proc/self/maps is "vfiouser-test-ram".
func NewRAM(t testing.TB, size int) *RAM {
	t.Helper()
	fd, err := unix.MemfdCreate("vfiouser-test-ram", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err == nil {
		err = unix.Ftruncate(fd, int64(size))
	}
	if err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_GROW|unix.F_SEAL_SHRINK|unix.F_SEAL_SEAL)
	}
	if err != nil {
		t.Fatal(err)
	}
	b, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = unix.Munmap(b)
		_ = unix.Close(fd)
	})
	return &RAM{fd, b}
}

// Permissions of a mapping.
const (
	MapRead  = 1
	MapWrite = 2
)

// Mapping is the payload of DMA_MAP.
func Mapping(iova, size, off uint64, flags uint32) []byte {
	return U64(U32(nil, 32, flags), off, iova, size)
}

// Map lets the function reach size bytes of ram from off on, at iova.
func (c *Client) Map(ram *RAM, iova, size, off uint64, flags uint32) {
	c.t.Helper()
	if got := c.Do(DMAMap, Mapping(iova, size, off, flags), ram.FD); len(got) != 0 {
		c.t.Fatalf("vfiousertest: DMA_MAP reply has a payload: %x", got)
	}
}

// MapAll maps all of ram at iova, for reading and writing.
func (c *Client) MapAll(ram *RAM, iova uint64) {
	c.t.Helper()
	c.Map(ram, iova, uint64(len(ram.Bytes)), 0, MapRead|MapWrite)
}

// Unmap takes a range away. When it returns the function does not touch it any more.
func (c *Client) Unmap(iova, size uint64) {
	c.t.Helper()
	ask := U64(U32(nil, 24, 0), iova, size)
	if got := c.Do(DMAUnmap, ask); string(got) != string(ask) {
		c.t.Fatalf("vfiousertest: DMA_UNMAP reply %x, want the request", got)
	}
}

// UnmapAll takes everything away.
func (c *Client) UnmapAll() {
	c.t.Helper()
	c.Do(DMAUnmap, U64(U32(nil, 24, 2), 0, 0))
}
