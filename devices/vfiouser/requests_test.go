package vfiouser_test

import (
	"fmt"
	"os"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/nitrolab/nitrolab/devices/pci"
	vt "github.com/nitrolab/nitrolab/devices/vfiouser/vfiousertest"
)

// A request is one message and what comes of it.
type request struct {
	name    string
	command uint16
	payload []byte
	fds     []int
	want    []byte        // payload of the reply
	errno   syscall.Errno // of an error reply
}

// check sends r in both ways, with and without a reply, and makes sure that the
// conversation goes on.
func (r request) check(t *testing.T, c *vt.Client) {
	t.Helper()
	m := c.Call(r.command, r.payload, r.fds...)
	if got := syscall.Errno(m.Errno); got != r.errno || (m.Flags&vt.FlagError != 0) != (r.errno != 0) {
		t.Errorf("errno %d (%v), want %d (%v)", got, got, r.errno, r.errno)
	}
	if diff := cmp.Diff(r.want, append([]byte(nil), m.Payload...)); diff != "" {
		t.Errorf("reply (-want +got):\n%s", diff)
	}
	c.Send(r.command, vt.FlagNoReply, r.payload, r.fds...)
	c.Sync() // whose reply is the next message
}

// TestInfo is what a client learns of the device.
func TestInfo(t *testing.T) {
	checkLeaks(t)
	d := newDevice(t, nil)
	c := vt.Attach(t, d.f, nil)
	region := func(index, argsz uint32) []byte { return vt.U64(vt.U32(nil, argsz, 0, index, 0), 0, 0) }
	info := func(flags, index uint32, size uint64) []byte {
		return vt.U64(vt.U32(nil, 32, flags, index, 0), size, 0)
	}
	const einval = unix.EINVAL
	tests := []request{
		{"device", vt.GetInfo, vt.U32(nil, 16, 0, 0, 0), nil, vt.U32(nil, 16, 3, 9, 5), 0},
		{"device, more room than needed", vt.GetInfo, vt.U32(nil, 32, 0, 0, 0), nil, vt.U32(nil, 16, 3, 9, 5), 0},
		{"device, longer request", vt.GetInfo, make([]byte, 64), nil, nil, einval}, // argsz 0
		{"device, no room", vt.GetInfo, vt.U32(nil, 15, 0, 0, 0), nil, nil, einval},
		{"device, short request", vt.GetInfo, vt.U32(nil, 16, 0, 0), nil, nil, einval},
		{"device, empty request", vt.GetInfo, nil, nil, nil, einval},

		{"BAR 0", vt.GetRegionInfo, region(0, 32), nil, info(3, 0, 0x1000), 0},
		{"BAR 1", vt.GetRegionInfo, region(1, 32), nil, info(3, 1, 0x1000), 0},
		{"BAR 2, 64 bits", vt.GetRegionInfo, region(2, 32), nil, info(3, 2, 1<<34), 0},
		{"BAR 3, its upper half", vt.GetRegionInfo, region(3, 32), nil, info(0, 3, 0), 0},
		{"BAR 4, ports", vt.GetRegionInfo, region(4, 32), nil, info(3, 4, 0x100), 0},
		{"BAR 5, absent", vt.GetRegionInfo, region(5, 32), nil, info(0, 5, 0), 0},
		{"ROM", vt.GetRegionInfo, region(6, 32), nil, info(0, 6, 0), 0},
		{"configuration space", vt.GetRegionInfo, region(7, 32), nil, info(3, 7, 0x1000), 0},
		{"VGA", vt.GetRegionInfo, region(8, 32), nil, info(0, 8, 0), 0},
		{"room for capabilities", vt.GetRegionInfo, region(0, 4096), nil, info(3, 0, 0x1000), 0},
		{"no room for a region", vt.GetRegionInfo, region(0, 31), nil, nil, einval},
		{"region 9", vt.GetRegionInfo, region(9, 32), nil, nil, einval},
		{"last region", vt.GetRegionInfo, region(0xffffffff, 32), nil, nil, einval},
		{"half a region", vt.GetRegionInfo, region(0, 32)[:31], nil, nil, einval},

		{"ioeventfds", vt.GetRegionFDs, vt.U32(nil, 16, 0, 0, 0), nil, vt.U32(nil, 16, 0, 0, 0), 0},
		{"ioeventfds of region 9", vt.GetRegionFDs, vt.U32(nil, 16, 0, 9, 0), nil, nil, einval},
		{"ioeventfds with flags", vt.GetRegionFDs, vt.U32(nil, 16, 1, 0, 0), nil, nil, einval},

		{"INTx", vt.GetIRQInfo, vt.U32(nil, 16, 0, vt.INTx, 0), nil, vt.U32(nil, 16, 7, vt.INTx, 1), 0},
		{"MSI", vt.GetIRQInfo, vt.U32(nil, 16, 0, vt.MSI, 0), nil, vt.U32(nil, 16, 1, vt.MSI, 2), 0},
		{"MSI-X", vt.GetIRQInfo, vt.U32(nil, 16, 0, vt.MSIX, 0), nil, vt.U32(nil, 16, 1, vt.MSIX, 4), 0},
		{"ERR", vt.GetIRQInfo, vt.U32(nil, 16, 0, vt.Err, 0), nil, vt.U32(nil, 16, 1, vt.Err, 1), 0},
		{"REQ", vt.GetIRQInfo, vt.U32(nil, 16, 0, vt.Req, 0), nil, vt.U32(nil, 16, 1, vt.Req, 1), 0},
		{"interrupt index 5", vt.GetIRQInfo, vt.U32(nil, 16, 0, 5, 0), nil, nil, einval},
		{"no room for an interrupt", vt.GetIRQInfo, vt.U32(nil, 12, 0, 0, 0), nil, nil, einval},

		{"command 0", 0, nil, nil, nil, einval},
		{"DIRTY_PAGES", 14, make([]byte, 64), nil, nil, einval},
		{"DEVICE_FEATURE", vt.DeviceFeature, vt.U32(nil, 16, 1|1<<16, 0, 0), nil, nil, unix.ENOTTY},
		{"DEVICE_FEATURE, short", vt.DeviceFeature, vt.U32(nil, 16), nil, nil, einval},
		{"MIG_DATA_READ", 17, vt.U32(nil, 8, 8), nil, nil, einval},
		{"MIG_DATA_WRITE", 18, vt.U32(nil, 8, 8), nil, nil, einval},
		{"a message of the server's", vt.DMARead, vt.U64(nil, 0, 16), nil, nil, einval},
		{"command 19", 19, nil, nil, nil, einval},
		{"last command", 0xffff, make([]byte, 1000), nil, nil, einval},
		{"VERSION again", vt.Version, []byte{0, 0, 0, 0}, nil, nil, einval},
	}
	for _, r := range tests {
		t.Run(r.name, func(t *testing.T) { r.check(t, c) })
	}
}

// TestInfoOfLess: a device without what the other has.
func TestInfoOfLess(t *testing.T) {
	file, err := os.CreateTemp(t.TempDir(), "bar")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	if err := file.Truncate(0x10000); err != nil {
		t.Fatal(err)
	}
	checkLeaks(t)
	d := newDevice(t, func(c *pci.Config) {
		c.Express, c.INTx, c.MSI, c.MSIX = false, false, pci.MSIConfig{}, pci.MSIXConfig{}
		c.BARs[1] = pci.BAR{Size: 0x10000, File: file}
	})
	c := vt.Attach(t, d.f, nil)
	for i, want := range []uint32{0, 0, 0, 1, 1} {
		if got := c.Do(vt.GetIRQInfo, vt.U32(nil, 16, 0, uint32(i), 0)); !cmp.Equal(got[8:], vt.U32(nil, uint32(i), want)) {
			t.Errorf("index %d: %x, want %d interrupts", i, got, want)
		}
	}
	if errno := c.SetIRQs(vt.DataNone|vt.ActionTrigger, vt.INTx, 0, 0); errno != 0 {
		t.Errorf("disable INTx, which is not there: %v", errno)
	}
	if got := c.Do(vt.GetRegionInfo, vt.U64(vt.U32(nil, 32, 0, 7, 0), 0, 0)); !cmp.Equal(got[16:24], vt.U64(nil, 256)) {
		t.Errorf("configuration space: %x, want 256 bytes", got)
	}
	// A mappable BAR comes with its file, in one reply and without capabilities.
	m := c.Call(vt.GetRegionInfo, vt.U64(vt.U32(nil, 32, 0, 1, 0), 0, 0))
	if want := vt.U64(vt.U32(nil, 32, 7, 1, 0), 0x10000, 0); !cmp.Equal(want, m.Payload) || len(m.FDs) != 1 {
		t.Fatalf("mappable BAR: %x with %d descriptors, want %x with one", m.Payload, len(m.FDs), want)
	}
	if _, err := unix.Pwrite(m.FDs[0], []byte("hello"), 0x8000); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 5)
	if c.Read(1, 0x8000, p); string(p) != "hello" {
		t.Errorf("BAR reads %q", p)
	}
}

// TestUnexpectedDescriptors: they are refused with their message, and closed.
func TestUnexpectedDescriptors(t *testing.T) {
	event := vt.NewEvent(t)
	fds := func(n int) (l []int) {
		for range n {
			l = append(l, event.FD)
		}
		return l
	}
	read := vt.Access(vt.ConfigSpace, 0, 4)
	tests := []struct {
		command uint16
		payload []byte
		n       int
	}{
		{vt.GetInfo, vt.U32(nil, 16, 0, 0, 0), 1},
		{vt.GetRegionInfo, vt.U64(vt.U32(nil, 32, 0, 0, 0), 0, 0), 1},
		{vt.RegionRead, read, 1},
		{vt.RegionRead, read, 16},
		{vt.RegionRead, read, 17},
		{vt.RegionRead, read, 253}, // as many as Linux passes at once
		{vt.RegionWrite, append(read, 0, 0, 0, 0), 3},
		{vt.DeviceReset, nil, 1},
		{vt.DMAMap, vt.Mapping(0, 0x1000, 0, 3), 2},
		{vt.DMAUnmap, vt.U64(vt.U32(nil, 24, 0), 0, 0x1000), 1},
		{vt.SetIRQs, vt.IRQs(vt.DataEventFD|vt.ActionTrigger, vt.MSIX, 0, 1), 2},
		{vt.SetIRQs, vt.IRQs(vt.DataEventFD|vt.ActionTrigger, vt.MSIX, 0, 4), 3},
		{vt.SetIRQs, vt.IRQs(vt.DataEventFD|vt.ActionTrigger, vt.MSIX, 0, 17), 17},
		{vt.SetIRQs, vt.IRQs(vt.DataEventFD|vt.ActionTrigger, vt.MSIX, 0, 16), 17}, // as if the last were not there
		{99, nil, 5},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("command %d with %d", tt.command, tt.n), func(t *testing.T) {
			checkLeaks(t)
			d := newDevice(t, func(c *pci.Config) { c.MSIX.Vectors = 32 })
			c := vt.Attach(t, d.f, nil)
			before := held(t)
			request{"", tt.command, tt.payload, fds(tt.n), nil, unix.EINVAL}.check(t, c)
			if diff := cmp.Diff(before, held(t)); diff != "" {
				t.Errorf("left behind (-before +after):\n%s", diff)
			}
		})
	}
}
