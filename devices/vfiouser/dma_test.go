package vfiouser_test

import (
	"bytes"
	"errors"
	"math"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/nitrolab/nitrolab/devices/guestmem"
	"github.com/nitrolab/nitrolab/devices/pci"
	"github.com/nitrolab/nitrolab/devices/vfiouser"
	vt "github.com/nitrolab/nitrolab/devices/vfiouser/vfiousertest"
)

const ramSize = 1 << 20

// mapped reports whether the function reaches the byte at iova.
func mapped(d *device, iova uint64) bool { return d.f.DMA().Read(iova, make([]byte, 1)) == nil }

// TestDMA: the function reaches what is mapped, as it is mapped, and nothing else.
func TestDMA(t *testing.T) {
	checkLeaks(t)
	d := newDevice(t, nil)
	c := vt.Attach(t, d.f, nil)
	ram := vt.NewRAM(t, ramSize)
	if mapped(d, 0) {
		t.Error("memory is reached before it is mapped")
	}
	c.Map(ram, 0, 0x80000, 0, vt.MapRead|vt.MapWrite)
	c.Map(ram, 0xffff0000, 0x1000, 0x90000, vt.MapRead)
	c.Map(ram, 0xffff1000, 0x1000, 0xa0000, vt.MapRead|vt.MapWrite)
	c.Do(vt.DMAMap, vt.Mapping(0xfffc0000, 0x4000, 0, vt.MapRead)) // ROM

	dma := d.f.DMA()
	if err := dma.Write(0x1000, []byte("to the guest")); err != nil || !bytes.HasPrefix(ram.Bytes[0x1000:], []byte("to the guest")) {
		t.Errorf("guest has %q, %v", ram.Bytes[0x1000:0x100c], err)
	}
	copy(ram.Bytes[0x90ffe:], "ab")
	copy(ram.Bytes[0xa0000:], "cd")
	p := make([]byte, 4)
	if err := dma.Read(0xffff0ffe, p); err != nil || string(p) != "abcd" {
		t.Errorf("read across two mappings: %q, %v", p, err)
	}
	for _, tt := range []struct {
		name string
		err  error
		want error
	}{
		{"write to what is read-only", dma.Write(0xffff0000, p), guestmem.ErrPermission},
		{"write into what is read-only", dma.View(0xffff0ffe, 4, true, nil), guestmem.ErrPermission},
		{"read of ROM", dma.Read(0xfffc0000, p), guestmem.ErrNoMemory},
		{"read of nothing", dma.Read(0x80000, p), nil},
		{"read beyond the end", dma.Read(0x7fffe, p), nil},
	} {
		var ae *guestmem.AddressError
		if !errors.As(tt.err, &ae) || !errors.Is(ae.Err, tt.want) {
			t.Errorf("%s: %v, want an AddressError of %v", tt.name, tt.err, tt.want)
		}
	}
	c.SetConfig(4, 2, uint32(pci.CommandMemory))
	if err := dma.Read(0, p); !errors.Is(err, pci.ErrBusMaster) {
		t.Errorf("read without bus mastering: %v", err)
	}
	c.SetConfig(4, 2, uint32(pci.CommandMemory|pci.CommandBusMaster))

	// The layout changes as a whole, the way firmware does it.
	for range 20 {
		c.Unmap(0, 0x80000)
		if mapped(d, 0) || mapped(d, 0x7ffff) {
			t.Error("unmapped memory is reached")
		}
		c.Map(ram, 0, 0x20000, 0, 3)
		c.Map(ram, 0x20000, 0x60000, 0x20000, 3)
		if got := held(t).Mappings; got != 2 { // the client's own, and one of the whole file
			t.Errorf("%d mappings of the file, want 2", got)
		}
	}
	c.Unmap(0x10000, math.MaxUint64-0xffff) // covers many and parts
	if !mapped(d, 0xffff) || mapped(d, 0x10000) || mapped(d, 0xffff1000) {
		t.Error("an unmap of more than one mapping did too much or too little")
	}
	c.Unmap(0x100000000, 0x7fffff00000000) // none
	c.Unmap(0x4000, 0x1000)                // a part
	if !mapped(d, 0x3fff) || mapped(d, 0x4000) || !mapped(d, 0x5000) {
		t.Error("an unmap of a part did too much or too little")
	}
	c.UnmapAll()
	if mapped(d, 0) {
		t.Error("memory is reached after everything was unmapped")
	}
	c.MapAll(ram, 0)
	c.Close()
	if err := c.Result(); err != nil {
		t.Error(err)
	}
	if err := dma.Read(0, p); !errors.Is(err, pci.ErrDetached) {
		t.Errorf("read without a client: %v", err)
	}
	if got := held(t).Mappings; got != 1 {
		t.Errorf("%d mappings of the file, want the client's", got)
	}
}

// TestDMARefused: what changes nothing, and what is no reason to refuse.
func TestDMARefused(t *testing.T) {
	unsealed, err := unix.MemfdCreate("vfiouser-test-ram", unix.MFD_CLOEXEC)
	if err == nil {
		err = unix.Ftruncate(unsealed, ramSize)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(unsealed) })
	checkLeaks(t)
	d := newDevice(t, nil)
	c := vt.Attach(t, d.f, nil)
	ram := vt.NewRAM(t, ramSize)
	fd, event := []int{ram.FD}, vt.NewEvent(t)
	c.Map(ram, 0x100000, 0x10000, 0, vt.MapRead)
	unmap := func(flags uint32, iova, size uint64) []byte { return vt.U64(vt.U32(nil, 24, flags), iova, size) }
	argsz := vt.Mapping(0, 0x1000, 0, 3)
	argsz[0] = 31
	short := unmap(0, 0, 0x1000)
	short[0] = 23
	before := held(t)
	for _, r := range []request{
		{"no permission", vt.DMAMap, vt.Mapping(0, 0x1000, 0, 0), fd, nil, unix.EINVAL},
		{"unknown permission", vt.DMAMap, vt.Mapping(0, 0x1000, 0, 7), fd, nil, unix.EINVAL},
		{"argsz", vt.DMAMap, argsz, fd, nil, unix.EINVAL},
		{"short", vt.DMAMap, vt.Mapping(0, 0x1000, 0, 3)[:31], fd, nil, unix.EINVAL},
		{"nothing", vt.DMAMap, vt.Mapping(0, 0, 0, 3), fd, nil, unix.EINVAL},
		{"wraps around", vt.DMAMap, vt.Mapping(math.MaxUint64-0xfff, 0x2000, 0, 3), fd, nil, unix.EINVAL},
		{"offset wraps around", vt.DMAMap, vt.Mapping(0, 0x1000, math.MaxUint64-0xfff, 3), fd, nil, unix.EINVAL},
		{"more than the file", vt.DMAMap, vt.Mapping(0, 0x1000, ramSize-0xfff, 3), fd, nil, unix.EINVAL},
		{"everything", vt.DMAMap, vt.Mapping(0, math.MaxUint64, 0, 3), fd, nil, unix.EINVAL},
		{"overlap", vt.DMAMap, vt.Mapping(0x10f000, 0x2000, 0, 1), fd, nil, unix.EEXIST},
		{"overlap without memory", vt.DMAMap, vt.Mapping(0x10f000, 0x2000, 0, 1), nil, nil, unix.EEXIST},
		{"same again", vt.DMAMap, vt.Mapping(0x100000, 0x10000, 0, 1), fd, nil, 0},
		{"file that may shrink", vt.DMAMap, vt.Mapping(0, 0x1000, 0, 3), []int{unsealed}, nil, unix.EINVAL},
		{"eventfd", vt.DMAMap, vt.Mapping(0, 0x1000, 0, 3), []int{event.FD}, nil, unix.EINVAL},

		{"unmap nothing", vt.DMAUnmap, unmap(0, 0x2000, 0), nil, nil, unix.EINVAL},
		{"unmap all, and a range", vt.DMAUnmap, unmap(2, 0, 0x1000), nil, nil, unix.EINVAL},
		{"unmap all, and an address", vt.DMAUnmap, unmap(2, 0x1000, 0), nil, nil, unix.EINVAL},
		{"unmap with a dirty bitmap", vt.DMAUnmap, unmap(1, 0, 0x1000), nil, nil, unix.EINVAL},
		{"unmap with an unknown flag", vt.DMAUnmap, unmap(4, 0, 0x1000), nil, nil, unix.EINVAL},
		{"unmap, argsz", vt.DMAUnmap, short, nil, nil, unix.EINVAL},
		{"unmap, short", vt.DMAUnmap, unmap(0, 0, 0x1000)[:23], nil, nil, unix.EINVAL},
		{"unmap what is not mapped", vt.DMAUnmap, unmap(0, 0x2000, 0x1000), nil, unmap(0, 0x2000, 0x1000), 0},
		{"unmap, wraps around", vt.DMAUnmap, unmap(0, 0x110000, math.MaxUint64), nil, unmap(0, 0x110000, math.MaxUint64), 0},
	} {
		t.Run(r.name, func(t *testing.T) {
			r.check(t, c)
			if !mapped(d, 0x100000) || !mapped(d, 0x10ffff) || mapped(d, 0x110000) || mapped(d, 0) {
				t.Error("mappings changed")
			}
			if after := held(t); after != before {
				t.Errorf("left behind: %+v before, %+v after", before, after)
			}
		})
	}
	t.Run("file that may shrink, on demand", func(t *testing.T) {
		d := newDevice(t, nil)
		c := vt.Attach(t, d.f, &vfiouser.Config{AllowUnsealedMemory: true})
		c.Do(vt.DMAMap, vt.Mapping(0, 0x1000, 0, 3), unsealed)
		if !mapped(d, 0) {
			t.Error("not mapped")
		}
	})
}

// TestUnmapWaits: the reply to an unmap comes after the last access.
func TestUnmapWaits(t *testing.T) {
	d := newDevice(t, nil)
	c := vt.Attach(t, d.f, nil)
	ram := vt.NewRAM(t, ramSize)
	c.MapAll(ram, 0)
	inside, release := make(chan struct{}), make(chan struct{})
	var left bool
	var view sync.WaitGroup
	view.Go(func() {
		err := d.f.DMA().View(0x1000, 16, true, func(s [][]byte) error {
			close(inside)
			<-release
			s[0][0] = 1
			left = true // read by the test after the reply
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	<-inside
	id := c.Send(vt.DMAUnmap, 0, vt.U64(vt.U32(nil, 24, 0), 0, ramSize))
	for mapped(d, 0) { // until the server is at it
	}
	close(release)
	c.Reply(id, vt.DMAUnmap)
	view.Wait()
	if !left || ram.Bytes[0x1000] != 1 {
		t.Error("reply came before the access ended")
	}
}

// TestPipelinedMaps: QEMU sends changes of the memory layout without waiting, and
// wants the replies in their order.
func TestPipelinedMaps(t *testing.T) {
	d := newDevice(t, nil)
	c := vt.Attach(t, d.f, nil)
	ram := vt.NewRAM(t, ramSize)
	var ids []uint16
	for i := range uint64(100) {
		ids = append(ids, c.Send(vt.DMAMap, 0, vt.Mapping(i<<20, ramSize, 0, 3), ram.FD))
		if i%3 == 0 {
			ids = append(ids, c.Send(vt.DMAUnmap, 0, vt.U64(vt.U32(nil, 24, 0), i<<20, ramSize)))
		}
	}
	for i, n := uint64(0), 0; i < 100; i++ {
		c.Reply(ids[n], vt.DMAMap)
		if n++; i%3 == 0 {
			c.Reply(ids[n], vt.DMAUnmap)
			n++
		}
	}
	for i := range uint64(100) {
		if got := mapped(d, i<<20); got != (i%3 != 0) {
			t.Errorf("mapping %d: %t", i, got)
		}
	}
}
