package vfiouser_test

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/devices/pci"
	"github.com/nitrolab/nitrolab/devices/vfiouser/vfiousertest"
)

// TestQEMUTrace plays what QEMU 11.1.3 was seen to send, byte for byte, and expects
// the replies it was seen to be content with.
func TestQEMUTrace(t *testing.T) {
	checkLeaks(t)
	file, err := os.Open("testdata/qemu-11.1.3-reset.trace")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	// The device of the recording.
	d := newDevice(t, func(c *pci.Config) { c.BARs[2], c.BARs[4], c.MSI = pci.BAR{}, pci.BAR{}, pci.MSIConfig{} })
	c := vfiousertest.Serve(t, d.f, nil)
	ram := vfiousertest.NewRAM(t, 512<<20)
	event := vfiousertest.NewEvent(t)

	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		switch text := lines.Text(); text[0] {
		case '>':
			count, message, _ := strings.Cut(text[2:], " ")
			b := unhex(t, message)
			fds := []int{event.FD}
			if binary.LittleEndian.Uint16(b[2:]) == vfiousertest.DMAMap {
				fds = []int{ram.FD}
			}
			if count == "0" {
				fds = nil
			}
			if !c.Raw(b, fds...) {
				t.Fatalf("line %d: server is gone", n)
			}
		case '<':
			want := unhex(t, text[2:])
			m, err := c.Receive()
			if err != nil {
				t.Fatalf("line %d: %v", n, err)
			}
			got := append(vfiousertest.Header(m.ID, m.Command, len(m.Payload), m.Flags), m.Payload...)
			if m.Command == vfiousertest.RegionRead {
				got = got[:32]
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("line %d: reply (-want +got):\n%s", n, diff)
			}
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	if got := d.resets.Load(); got != 3 {
		t.Errorf("device was reset %d times, want 3", got)
	}
	// INTx is up after all that, and memory is where QEMU left it.
	c.SetConfig(4, 2, uint32(pci.CommandBusMaster))
	d.f.SetINTx(true)
	if got := event.Count(); got != 1 {
		t.Errorf("INTx was signalled %d times, want once", got)
	}
	copy(ram.Bytes[0x100000:], "guest")
	p := make([]byte, 5)
	if err := d.f.DMA().Read(0x100000, p); err != nil || string(p) != "guest" {
		t.Errorf("DMA read %q, %v", p, err)
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestLinuxMSIX is how a Linux driver's MSI-X comes about, as QEMU passes it on with
// and without NORESIZE in the interrupt's flags, and how it goes again.
func TestLinuxMSIX(t *testing.T) {
	const (
		set  = vfiousertest.DataEventFD | vfiousertest.ActionTrigger
		none = vfiousertest.DataNone | vfiousertest.ActionTrigger
	)
	for _, resize := range []bool{true, false} {
		t.Run(fmt.Sprintf("resize %t", resize), func(t *testing.T) {
			checkLeaks(t)
			d := newDevice(t, nil)
			c := vfiousertest.Attach(t, d.f, nil)
			intx := c.Vectors(vfiousertest.INTx, 0, 1)[0]
			control := c.Capability(0x11) + 2
			e := []*vfiousertest.Event{vfiousertest.NewEvent(t), vfiousertest.NewEvent(t)}
			irqs := func(flags, index, start, count uint32, events ...*vfiousertest.Event) {
				t.Helper()
				if errno := c.SetIRQs(flags, index, start, count, events...); errno != 0 {
					t.Fatal(errno)
				}
			}
			c.SetConfig(control, 2, 0xc007)
			irqs(none, vfiousertest.INTx, 0, 0)
			irqs(set, vfiousertest.MSIX, 0, 1) // on, without a vector
			c.SetConfig(control, 2, 0x8007)
			if d.f.Interrupt(0) {
				t.Error("an interrupt was delivered to nobody")
			}
			if resize {
				irqs(set, vfiousertest.MSIX, 0, 1, e[0])
				irqs(set, vfiousertest.MSIX, 1, 1, e[1])
			} else {
				irqs(none, vfiousertest.MSIX, 0, 0)
				irqs(set, vfiousertest.MSIX, 0, 1, e[0])
				irqs(none, vfiousertest.MSIX, 0, 0)
				irqs(set, vfiousertest.MSIX, 0, 2, e...)
			}
			// What was raised before there was anybody to hear it comes now.
			if got := e[0].Count(); got != 1 {
				t.Errorf("vector 0: %d signals, want the one that was pending", got)
			}
			for v, want := range []bool{true, true, false, false} {
				if got := d.f.Interrupt(v); got != want {
					t.Errorf("Interrupt(%d) = %t, want %t", v, got, want)
				}
			}
			if e[0].Count() != 1 || e[1].Count() != 1 || intx.Count() != 0 {
				t.Error("signals went astray")
			}
			c.SetConfig(control, 2, 0)
			irqs(none, vfiousertest.MSIX, 0, 0)
			irqs(set, vfiousertest.INTx, 0, 1, intx)
			if d.f.Interrupt(0); intx.Count() != 1 || e[0].Count() != 0 {
				t.Error("INTx did not come back")
			}
		})
	}
}
