package vfiouser_test

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	vt "github.com/nitrolab/nitrolab/devices/vfiouser/vfiousertest"
)

// TestIRQsRefused: what changes nothing.
func TestIRQsRefused(t *testing.T) {
	file, err := os.CreateTemp(t.TempDir(), "not an eventfd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	pipe, err := pipeEnd(t)
	if err != nil {
		t.Fatal(err)
	}
	event := vt.NewEvent(t)
	const maskFD = vt.DataEventFD | vt.ActionMask
	one := []int{event.FD}
	tests := []struct {
		name                       string
		flags, index, start, count uint32
		data                       []byte
		fds                        []int
	}{
		{"no flags", 0, vt.MSIX, 0, 1, nil, nil},
		{"no action", vt.DataNone, vt.MSIX, 0, 1, nil, nil},
		{"no data", vt.ActionTrigger, vt.MSIX, 0, 1, nil, nil},
		{"two kinds of data", vt.DataNone | vt.DataBool | vt.ActionTrigger, vt.MSIX, 0, 1, []byte{1}, nil},
		{"two actions", vt.DataNone | vt.ActionMask | vt.ActionUnmask, vt.INTx, 0, 1, nil, nil},
		{"unknown flag", assign | 0x40, vt.MSIX, 0, 1, nil, one},
		{"index 5", assign, 5, 0, 1, nil, one},
		{"last index", assign, 0xffffffff, 0, 1, nil, one},
		{"vector 4", assign, vt.MSIX, 4, 1, nil, one},
		{"vectors 3 and 4", assign, vt.MSIX, 3, 2, nil, []int{event.FD, event.FD}},
		{"range overflows", trigger, vt.MSIX, 0xffffffff, 2, nil, nil},
		{"count overflows", trigger, vt.MSIX, 1, 0xffffffff, nil, nil},
		{"all there are and more", trigger, vt.MSIX, 0, 0x80000000, nil, nil},
		{"disable from 1", trigger, vt.MSIX, 1, 0, nil, nil},
		{"no eventfds for no vectors", assign, vt.MSIX, 0, 0, nil, nil},
		{"no booleans", vt.DataBool | vt.ActionTrigger, vt.MSIX, 0, 0, nil, nil},
		{"mask of nothing", vt.DataNone | vt.ActionMask, vt.INTx, 0, 0, nil, nil},
		{"booleans are missing", vt.DataBool | vt.ActionTrigger, vt.MSIX, 0, 2, []byte{1}, nil},
		{"booleans are too many", vt.DataBool | vt.ActionTrigger, vt.MSIX, 0, 2, []byte{1, 1, 1}, nil},
		{"mask of MSI-X", vt.DataNone | vt.ActionMask, vt.MSIX, 0, 1, nil, nil},
		{"unmask of MSI", vt.DataNone | vt.ActionUnmask, vt.MSI, 0, 1, nil, nil},
		{"resample of MSI-X", vt.DataEventFD | vt.ActionUnmask, vt.MSIX, 0, 1, nil, one},
		{"mask by eventfd", maskFD, vt.INTx, 0, 1, nil, one},
		{"descriptor without need", trigger, vt.MSIX, 0, 1, nil, one},
		{"descriptor with booleans", vt.DataBool | vt.ActionTrigger, vt.MSIX, 0, 1, []byte{1}, one},
		{"one descriptor for two", assign, vt.MSIX, 0, 2, nil, one},
		{"two descriptors for one", assign, vt.MSIX, 0, 1, nil, []int{event.FD, event.FD}},
		{"a file", assign, vt.MSIX, 0, 1, nil, []int{int(file.Fd())}},
		{"a pipe", assign, vt.MSIX, 0, 2, nil, []int{event.FD, pipe}},
		{"resample is a file", vt.DataEventFD | vt.ActionUnmask, vt.INTx, 0, 1, nil, []int{int(file.Fd())}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			checkLeaks(t)
			d := newDevice(t, nil)
			c := vt.Attach(t, d.f, nil)
			e := c.EnableMSIX(4)
			before := held(t)
			payload := append(vt.IRQs(tt.flags, tt.index, tt.start, tt.count), tt.data...)
			request{"", vt.SetIRQs, payload, tt.fds, nil, unix.EINVAL}.check(t, c)
			if after := held(t); after != before {
				t.Errorf("left behind: %+v before, %+v after", before, after)
			}
			for v := range e {
				d.f.Interrupt(v)
			}
			if got := counts(e); got != [4]int{1, 1, 1, 1} {
				t.Errorf("signals %v, want the vectors as before", got)
			}
		})
	}
	t.Run("argsz", func(t *testing.T) {
		c := vt.Attach(t, newDevice(t, nil).f, nil)
		request{"", vt.SetIRQs, vt.U32(nil, 19, trigger, vt.MSIX, 0, 0), nil, nil, unix.EINVAL}.check(t, c)
		request{"", vt.SetIRQs, vt.U32(nil, 20, trigger, vt.MSIX, 0), nil, nil, unix.EINVAL}.check(t, c)
	})
}

// pipeEnd returns the writing end of a pipe.
func pipeEnd(t *testing.T) (int, error) {
	t.Helper()
	var p [2]int
	err := unix.Pipe2(p[:], unix.O_CLOEXEC)
	t.Cleanup(func() { _, _ = unix.Close(p[0]), unix.Close(p[1]) })
	return p[1], err
}
