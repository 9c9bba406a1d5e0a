package guestmem

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// BenchmarkWindow copies through a window of 512 MiB, in the layout of a q35 guest
// (no IOMMU) and of one with a strict IOMMU, which maps pages one by one and anywhere.
func BenchmarkWindow(b *testing.B) {
	const ram = 64 << 20
	fd, err := unix.MemfdCreate("guestmem-test", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err == nil {
		err = unix.Ftruncate(fd, ram)
	}
	if err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seal)
	}
	if err != nil {
		b.Fatal(err)
	}
	defer unix.Close(fd)
	whole := newWindow(b, rw(0, ram, 0, fd))
	pages := newWindow(b)
	for i := range uint64(ram >> 12) {
		if err := pages.Map(rw(i<<12, 0x1000, (i*4099%(ram>>12))<<12, fd)); err != nil {
			b.Fatal(err)
		}
	}
	for _, size := range []int{16, 4096, 128 << 10, 1 << 20} {
		p := make([]byte, size)
		for name, w := range map[string]*Window{"RAM": whole, "pages": pages} {
			run := func(op string, f func(iova uint64) error) {
				b.Run(fmt.Sprintf("%s/%s/%d", op, name, size), func(b *testing.B) {
					b.ReportAllocs()
					b.SetBytes(int64(size))
					iova := uint64(0)
					for b.Loop() {
						if err := f(iova); err != nil {
							b.Fatal(err)
						}
						if iova += uint64(size); iova+uint64(size) > ram {
							iova = 0
						}
					}
				})
			}
			run("Read", func(iova uint64) error { return w.Read(iova, p) })
			run("Write", func(iova uint64) error { return w.Write(iova, p) })
			if size == 4096 {
				run("View", func(iova uint64) error {
					return w.View(iova, size, true, func([][]byte) error { return nil })
				})
			}
		}
	}
	// What a guest with a strict IOMMU does for each request.
	for _, mapped := range []int{16, 2048, 60000} {
		b.Run(fmt.Sprintf("Map and Unmap/of %d", mapped), func(b *testing.B) {
			w := newWindow(b)
			for i := range uint64(mapped) {
				if err := w.Map(Mapping{IOVA: i << 13, Size: 0x1000, FD: -1}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := w.Map(rw(0x1000, 0x1000, 0, fd)); err != nil {
					b.Fatal(err)
				}
				if err := w.Unmap(0x1000, 0x1000); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
