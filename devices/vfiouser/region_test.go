package vfiouser_test

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	vt "github.com/nitrolab/nitrolab/devices/vfiouser/vfiousertest"
)

// TestRegions reads and writes registers of all sizes, with and without a reply.
func TestRegions(t *testing.T) {
	checkLeaks(t)
	d := newDevice(t, nil)
	c := vt.Attach(t, d.f, nil)
	for _, region := range []uint32{0, 4} {
		for n := 1; n <= 24; n++ {
			for _, off := range []uint64{0, 1, 0x20, 0x25} {
				want := bytes.Repeat([]byte{byte(region + 16*uint32(n))}, n)
				want[0] = byte(off)
				if n%2 == 0 {
					c.Post(region, off, want)
				} else if errno := c.Write(region, off, want); errno != 0 {
					t.Fatalf("write of %d bytes at %d:%#x: %v", n, region, off, errno)
				}
				got := make([]byte, n)
				if errno := c.Read(region, off, got); errno != 0 || !bytes.Equal(got, want) {
					t.Errorf("read of %d bytes at %d:%#x: %x, %v; want %x", n, region, off, got, errno, want)
				}
			}
		}
	}
}

// TestRegionBounds: what leaves a region is refused, and nothing is done.
func TestRegionBounds(t *testing.T) {
	checkLeaks(t)
	d := newDevice(t, nil)
	c := vt.Attach(t, d.f, nil)
	before := d.writes.Load()
	tests := []struct {
		region uint32
		off    uint64
		n      int
	}{
		{0, barSize - 3, 4},
		{0, barSize, 1},
		{0, math.MaxUint64, 1},
		{0, math.MaxUint64 - 3, 8},
		{0, 1 << 63, 4},
		{0, 0, barSize + 1},
		{2, 1<<34 - 7, 8},
		{3, 0, 1}, // upper half of BAR 2
		{4, 0xff, 2},
		{5, 0, 1}, // absent
		{6, 0, 4}, // ROM
		{7, 4094, 4},
		{7, 4096, 1},
		{7, 1 << 32, 4},
		{7, math.MaxUint64 - 1, 4},
		{7, 1, 4096},
		{8, 0, 1}, // VGA
		{9, 0, 1},
		{math.MaxUint32, 0, 1},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%d at %d:%#x", tt.n, tt.region, tt.off), func(t *testing.T) {
			p := make([]byte, tt.n)
			if errno := c.Read(tt.region, tt.off, p); errno != unix.EINVAL {
				t.Errorf("read: %v, want EINVAL", errno)
			}
			if errno := c.Write(tt.region, tt.off, p); errno != unix.EINVAL {
				t.Errorf("write: %v, want EINVAL", errno)
			}
			c.Post(tt.region, tt.off, p)
			if tt.n <= 8 {
				c.PostMulti([]vt.PostedWrite{{Region: tt.region, Off: tt.off, Data: p}})
			}
			c.Sync() // no reply came
		})
	}
	if got := d.writes.Load() - before; got != 0 {
		t.Errorf("%d writes reached the device", got)
	}
}

// TestRegionSizes: counts that do not fit the message.
func TestRegionSizes(t *testing.T) {
	checkLeaks(t)
	c := vt.Attach(t, newDevice(t, nil).f, nil)
	for _, r := range []request{
		{"read of nothing", vt.RegionRead, vt.Access(0, 0, 0), nil, nil, unix.EINVAL},
		{"read of too much", vt.RegionRead, vt.Access(2, 0, 1<<20+1), nil, nil, unix.EINVAL},
		{"read of 4 GiB", vt.RegionRead, vt.Access(2, 0, math.MaxUint32), nil, nil, unix.EINVAL},
		{"short read", vt.RegionRead, vt.Access(0, 0, 4)[:15], nil, nil, unix.EINVAL},
		{"write of nothing", vt.RegionWrite, vt.Access(0, 0, 0), nil, nil, unix.EINVAL},
		{"write without data", vt.RegionWrite, vt.Access(0, 0, 4), nil, nil, unix.EINVAL},
		{"write with less data", vt.RegionWrite, append(vt.Access(0, 0, 4), 1, 2, 3), nil, nil, unix.EINVAL},
		{"write with more data", vt.RegionWrite, append(vt.Access(0, 0, 4), 1, 2, 3, 4, 5), nil, nil, unix.EINVAL},
		{"write of 4 GiB", vt.RegionWrite, append(vt.Access(0, 0, math.MaxUint32), 1, 2, 3, 4), nil, nil, unix.EINVAL},
		{"short write", vt.RegionWrite, vt.Access(0, 0, 4)[:12], nil, nil, unix.EINVAL},
		{"writes, none", vt.RegionWriteMulti, vt.U64(nil, 0), nil, vt.U64(nil, 0), 0},
		{"writes without a number", vt.RegionWriteMulti, nil, nil, nil, unix.EINVAL},
		{"writes, fewer than said", vt.RegionWriteMulti, append(vt.U64(nil, 2), make([]byte, 24)...), nil, nil, unix.EINVAL},
		{"writes, more than said", vt.RegionWriteMulti, append(vt.U64(nil, 1), make([]byte, 25)...), nil, nil, unix.EINVAL},
		{"writes, number overflows", vt.RegionWriteMulti, append(vt.U64(nil, math.MaxUint64/24+1), make([]byte, 24)...), nil, nil, unix.EINVAL},
		{"writes, size overflows", vt.RegionWriteMulti, append(append(vt.U64(nil, 1<<61+1), vt.Access(0, 0, 4)...), make([]byte, 8)...), nil, nil, unix.EINVAL},
		{"write of 9 bytes", vt.RegionWriteMulti, append(append(vt.U64(nil, 1), vt.Access(0, 0, 9)...), make([]byte, 8)...), nil, nil, unix.EINVAL},
		{"write of 0 bytes", vt.RegionWriteMulti, append(append(vt.U64(nil, 1), vt.Access(0, 0, 0)...), make([]byte, 8)...), nil, nil, unix.EINVAL},
		{"one write", vt.RegionWriteMulti, append(append(vt.U64(nil, 1), vt.Access(0, 0, 4)...), make([]byte, 8)...), nil, vt.U64(nil, 1), 0},
	} {
		t.Run(r.name, func(t *testing.T) { r.check(t, c) })
	}
	// The largest there is, in both directions.
	p := bytes.Repeat([]byte{0xee}, 1<<20)
	if errno := c.Read(2, 1<<33, p); errno != 0 || slices.Max(p) != 0 {
		t.Errorf("read of 1 MiB: %v, largest byte %#x", errno, slices.Max(p))
	}
	if errno := c.Write(2, 1<<33, p); errno != 0 {
		t.Errorf("write of 1 MiB: %v", errno)
	}
}

// TestWriteMulti: the writes of one message happen in their order, among others.
func TestWriteMulti(t *testing.T) {
	d := newDevice(t, nil)
	d.writeLog = []string{}
	c := vt.Attach(t, d.f, nil)
	c.Post(0, 0, []byte{1})
	w := func(region uint32, off uint64, data ...byte) vt.PostedWrite {
		return vt.PostedWrite{Region: region, Off: off, Data: data}
	}
	c.PostMulti([]vt.PostedWrite{w(0, 8, 2, 2), w(0, 0, 3), w(4, 0, 9), w(0, 16, 4, 4, 4, 4, 4, 4, 4, 4)})
	c.PostMulti([]vt.PostedWrite{w(0, 1, 5), w(0, barSize, 6), w(0, 2, 7)}) // the second is refused
	c.Post(0, 4, []byte{8})
	c.Sync()
	want := []string{"0 01", "8 0202", "0 03", "10 0404040404040404", "1 05", "4 08"}
	if diff := cmp.Diff(want, d.writeLog); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
}

// TestConfigSpace: in one go as QEMU reads it, and no write is ever an error.
func TestConfigSpace(t *testing.T) {
	checkLeaks(t)
	d := newDevice(t, nil)
	c := vt.Attach(t, d.f, nil)
	whole := make([]byte, 4096)
	if errno := c.Read(vt.ConfigSpace, 0, whole); errno != 0 {
		t.Fatal(errno)
	}
	want := make([]byte, 4096)
	if err := d.f.ReadConfig(0, want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, whole); diff != "" {
		t.Errorf("configuration space (-want +got):\n%s", diff)
	}
	for off := 0; off < 4096; off++ {
		n := min(1+off%5, 4096-off)
		if errno := c.Write(vt.ConfigSpace, uint64(off), bytes.Repeat([]byte{0xff}, n)); errno != 0 {
			t.Fatalf("write of %d bytes at %#x: %v", n, off, errno)
		}
		if off >= 0x100 {
			off += 6
		}
	}
	if errno := c.Write(vt.ConfigSpace, 0, make([]byte, 4096)); errno != 0 {
		t.Errorf("write of all: %v", errno)
	}
	if id := c.Config(0, 4); id != 0xefa01d0f {
		t.Errorf("id is %#x after all that", id)
	}
}

// TestReset: by message and by the guest.
func TestReset(t *testing.T) {
	d := newDevice(t, nil)
	c := vt.Attach(t, d.f, nil)
	c.WriteBAR(0, regScratch, 4, 0x1234)
	c.Reset()
	if got := d.resets.Load(); got != 1 {
		t.Errorf("%d resets, want 1", got)
	}
	if got := c.Config(4, 2); got != 0 {
		t.Errorf("COMMAND is %#x after a reset", got)
	}
	c.SetConfig(4, 2, 6)
	if got := c.ReadBAR(0, regScratch, 4); got != 0 {
		t.Errorf("register is %#x after a reset", got)
	}
	c.SetConfig(c.Capability(0x10)+8, 2, 0x8000) // function level reset, as Linux asks for it
	if got := d.resets.Load(); got != 2 {
		t.Errorf("%d resets, want 2", got)
	}
}
