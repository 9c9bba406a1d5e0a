package enclaves_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/devices/enclaves"
	"github.com/nitrolab/nitrolab/devices/enclaves/enclavestest"
	"github.com/nitrolab/nitrolab/devices/pci"
	"github.com/nitrolab/nitrolab/devices/pci/pcitest"
)

// newBus is a rig whose function is on a bus instead of a driver; enabled, with
// its interrupts.
func newBus(t *testing.T, edit func(*enclaves.Config)) (*rig, *pcitest.Bus) {
	t.Helper()
	r := newRig(t, edit)
	b := pcitest.New(t, r.dev.Function())
	b.Enable()
	b.EnableMSIX()
	return r, b
}

func TestIdentity(t *testing.T) {
	_, b := newBus(t, nil)
	if got := b.Config(0, 4); got != 0xe4c11d0f {
		t.Errorf("id %#x", got)
	}
	if got := b.Config(8, 4) >> 8; got != 0x088000 {
		t.Errorf("class %#x", got)
	}
	var sizes [6]uint32
	for i := range sizes {
		off := pcitest.BAR0 + 4*i
		old := b.Config(off, 4)
		b.SetConfig(off, 4, 0xffffffff)
		sizes[i] = b.Config(off, 4)
		b.SetConfig(off, 4, old)
	}
	if diff := cmp.Diff([6]uint32{0xfffff000, 0, 0, 0xfffff000, 0, 0}, sizes); diff != "" {
		t.Errorf("32-bit memory BARs 0 and 3 of 4 KiB: %s", diff)
	}
	at := b.Capability(pci.CapMSIX)
	if got := b.Config(at+2, 2) & 0x7ff; got != 1 {
		t.Errorf("MSI-X table size field %d, want 1: two vectors", got)
	}
	if table, pba := b.Config(at+4, 4), b.Config(at+8, 4); table != 0 || pba != 0x800 {
		t.Errorf("MSI-X table at %#x, pending bits at %#x", table, pba)
	}
	if b.Capability(pci.CapExpress) == 0 {
		t.Error("no PCI Express capability")
	}
}

func TestConfigSpaceSize(t *testing.T) {
	r := newRig(t, nil)
	if got := r.dev.Function().ConfigSize(); got != 4096 {
		t.Errorf("%d bytes", got)
	}
}

// bar is the register BAR of a bus.
type bar struct{ *pcitest.Bus }

func (b bar) read(off uint64, n int) uint64     { return b.ReadBAR(enclaves.RegisterBAR, off, n) }
func (b bar) write(off uint64, n int, v uint64) { b.WriteBAR(enclaves.RegisterBAR, off, n, v) }

func (b bar) on() {
	b.write(enclaves.RegVersion, 2, 1)
	b.write(enclaves.RegEnable, 1, 1)
}

func TestHandshake(t *testing.T) {
	type step struct {
		off  uint64
		n    int
		v    uint64
		want uint64 // read back
	}
	for _, tt := range []struct {
		name  string
		steps []step
	}{
		{"stock driver", []step{{0, 1, 0, 0}, {2, 2, 1, 1}, {0, 1, 1, 1}, {0, 1, 0, 0}}},
		{"once more", []step{{2, 2, 1, 1}, {0, 1, 1, 1}, {0, 1, 0, 0}, {0, 1, 1, 1}}},
		{"no version", []step{{0, 1, 1, 0}}},
		{"version 0", []step{{2, 2, 0, 0}, {0, 1, 1, 0}}},
		{"newer driver", []step{{2, 2, 7, 1}, {0, 1, 1, 1}}},
		{"version while enabled", []step{{2, 2, 1, 1}, {0, 1, 1, 1}, {2, 2, 0, 1}}},
		{"enable with other values", []step{{2, 2, 1, 1}, {0, 1, 2, 0}, {0, 1, 0xff, 0}, {0, 1, 1, 1}, {0, 1, 2, 1}}},
		{"enable with 2 bytes", []step{{2, 2, 1, 1}, {0, 2, 1, 0}}},
		{"all with 4 bytes", []step{{0, 4, 0x10001, 0}}},
		{"all with 8 bytes", []step{{0, 8, 0x10001, 0}}},
		{"version with 1 byte", []step{{2, 1, 1, 0}}},
		{"other bytes", []step{{1, 1, 1, 0}, {0xc, 4, 1, 0}, {8, 4, 1, 0}, {8, 8, 1, 0}, {0x100, 4, 1, 0}, {0x1ec, 4, 1, 0}, {0x1f0, 8, 1, 0}, {0xff8, 8, 1, 0}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, p := newBus(t, nil)
			b := bar{p}
			for i, s := range tt.steps {
				b.write(s.off, s.n, s.v)
				if got := b.read(s.off, s.n); got != s.want {
					t.Errorf("step %d: %#x reads %#x, want %#x", i, s.off, got, s.want)
				}
			}
			if v := b.Delivered(); len(v) > 0 {
				t.Errorf("interrupts %v without a command", v)
			}
		})
	}
}

func TestSendBuffer(t *testing.T) {
	_, p := newBus(t, nil)
	b := bar{p}
	want := make([]byte, enclaves.SendSize)
	// Every width at every place, which the bus splits where not aligned.
	for _, n := range []int{1, 2, 4, 8} {
		for at := 0; at+n <= len(want); at++ {
			v := uint64(n)*0x0123456789abcdef + uint64(at)*0x1111111111111111
			b.write(enclaves.RegSend+uint64(at), n, v)
			var le [8]byte
			binary.LittleEndian.PutUint64(le[:], v)
			copy(want[at:at+n], le[:])
		}
		got := make([]byte, len(want))
		for at := range got {
			got[at] = byte(b.read(enclaves.RegSend+uint64(at), 1))
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("writes of %d bytes: got\n%x, want\n%x", n, got, want)
		}
	}
	if got, want := b.read(enclaves.RegSend+8, 8), binary.LittleEndian.Uint64(want[8:]); got != want {
		t.Errorf("reads %#x, want %#x", got, want)
	}
	for off := uint64(enclaves.RegReceive); off < enclaves.BARSize; off += 8 {
		if got := b.read(off, 8); got != 0 {
			t.Errorf("%#x at %#x", got, off)
		}
	}
}

// Handlers of other transports might not split accesses as pci does.
func TestAccessAcrossRegisters(t *testing.T) {
	r := newRig(t, nil)
	h := r.dev.RegisterHandler()
	h.WriteBAR(2, []byte{1, 0, 4, 0, 0, 0})                           // VERSION and COMMAND
	h.WriteBAR(enclaves.RegSend-4, []byte{1, 2, 3, 4, 5, 6, 7, 8})    // into SEND_DATA
	h.WriteBAR(enclaves.RegReceive-4, []byte{1, 2, 3, 4, 5, 6, 7, 8}) // out of it
	h.WriteBAR(enclaves.RegSend, bytes.Repeat([]byte{1}, enclaves.SendSize+1))
	h.WriteBAR(^uint64(0), []byte{1, 2})
	h.WriteBAR(enclaves.BARSize, []byte{1})
	h.WriteBAR(0, nil)
	h.ReadBAR(0, nil)
	all := bytes.Repeat([]byte{0xee}, 2*enclaves.BARSize)
	h.ReadBAR(0, all)
	for i, v := range all {
		if v != 0 {
			t.Fatalf("%#x at %#x", v, i)
		}
	}
	h.ReadBAR(^uint64(0)-3, all[:8])
}

func TestCounters(t *testing.T) {
	r, p := newBus(t, nil)
	b := bar{p}
	b.on()
	for i := range 5 {
		b.write(enclaves.RegCommand, 4, uint64(enclaves.SlotCount))
		if got := b.read(enclaves.RegEvents, 4); got != uint64(i+1) {
			t.Errorf("after %d commands %#x", i+1, got)
		}
	}
	if got := b.read(enclaves.RegCommand, 4); got != 0 {
		t.Errorf("COMMAND reads %#x", got)
	}
	for _, n := range []int{1, 2} { // no commands
		b.write(enclaves.RegCommand, n, uint64(enclaves.SlotCount))
	}
	b.write(enclaves.RegEvents, 4, 0)
	if got := b.read(enclaves.RegEvents, 4); got != 5 {
		t.Errorf("after a write %#x", got)
	}
	// The counter wraps without reaching the events.
	for range 1<<16 - 4 {
		b.write(enclaves.RegCommand, 4, uint64(enclaves.SlotCount))
	}
	if got := b.read(enclaves.RegEvents, 4); got != 1 {
		t.Errorf("after 65537 commands %#x", got)
	}
	if got := b.Count(pci.MSIX, enclaves.VectorReply); got != 1<<16+1 {
		t.Errorf("%d interrupts", got)
	}
	b.write(enclaves.RegCommand, 4, 0) // fails
	b.write(enclaves.RegEnable, 1, 0)
	b.write(enclaves.RegEnable, 1, 1)
	if got, rc := b.read(enclaves.RegEvents, 4), b.read(enclaves.RegReceive, 4); got != 0 || rc != 0 {
		t.Errorf("after another enable %#x, rc %#x", got, rc)
	}
	if len(r.hyp.Enclaves()) > 0 {
		t.Error("an enclave")
	}
}

func TestOffExecutesNothing(t *testing.T) {
	r, p := newBus(t, nil)
	b := bar{p}
	b.write(enclaves.RegCommand, 4, uint64(enclaves.SlotAlloc))
	b.on()
	b.write(enclaves.RegEnable, 1, 0)
	b.write(enclaves.RegCommand, 4, uint64(enclaves.SlotAlloc))
	if s := r.dev.Slots(); len(s) > 0 {
		t.Errorf("slots %v", s)
	}
	if v := b.Delivered(); len(v) > 0 {
		t.Errorf("interrupts %v", v)
	}
	if got := b.read(enclaves.RegEvents, 4); got != 0 {
		t.Errorf("counters %#x", got)
	}
}

// A request has no length: bytes that were not written are those of the last.
func TestStaleRequest(t *testing.T) {
	r, p := newBus(t, nil)
	b := bar{p}
	b.on()
	b.write(enclaves.RegCommand, 4, uint64(enclaves.SlotAlloc))
	uid := b.read(enclaves.RegReceive+8, 8)
	b.write(enclaves.RegSend, 8, uid)
	b.write(enclaves.RegSend+8, 8, 2*mib)
	b.write(enclaves.RegSend+16, 8, 4*mib)
	b.write(enclaves.RegCommand, 4, uint64(enclaves.SlotAddMem))
	b.write(enclaves.RegSend+8, 8, 8*mib) // the size stays
	b.write(enclaves.RegCommand, 4, uint64(enclaves.SlotAddMem))
	if s := r.dev.Slots()[0]; s.Memory != 8*mib || s.Regions != 2 {
		t.Errorf("slot %+v", s)
	}
}

func TestVectorBARIsSafe(t *testing.T) {
	_, p := newBus(t, nil)
	for off := uint64(0); off < enclaves.BARSize; off += 8 {
		p.Write64(enclaves.VectorBAR, off, ^uint64(0))
		p.Read64(enclaves.VectorBAR, off)
	}
	bar{p}.on()
	if got := (bar{p}).read(enclaves.RegEnable, 1); got != 1 {
		t.Errorf("enable reads %d", got)
	}
}

func FuzzRegisters(f *testing.F) {
	probe := []byte{
		1, 3, 0, 0, 1, 0, // write BAR 3, offset 0, 1 byte: 0
		1, 3, 2, 0, 2, 1,
		1, 3, 0, 0, 1, 1,
		1, 3, 4, 0, 4, 4, // SLOT_ALLOC
		0, 3, 8, 1, 8, 0,
		1, 3, 4, 0, 4, 10,
	}
	f.Add(probe)
	f.Add([]byte{1, 0, 0, 0, 4, 255, 1, 0, 0, 8, 8, 1, 0, 0, 255, 15, 1, 0})
	f.Fuzz(func(t *testing.T, ops []byte) {
		hyp := enclavestest.NewHypervisor(ram...)
		dev, err := enclaves.New(enclaves.Config{Hypervisor: hyp, CPUs: 4})
		if err != nil {
			t.Fatal(err)
		}
		b := pcitest.New(t, dev.Function())
		b.Enable()
		b.EnableMSIX()
		commands := 0
		for ; len(ops) >= 6; ops = ops[6:] {
			i, n := int(ops[1]%6), int(ops[4])
			off, v := uint64(binary.LittleEndian.Uint16(ops[2:])), ops[5]
			p := bytes.Repeat([]byte{v}, n)
			if i == enclaves.RegisterBAR && v < 16 { // small numbers mean something
				clear(p[min(1, n):])
			}
			if ops[0]&1 == 0 {
				err = dev.Function().ReadBAR(i, off, p)
			} else {
				if i == enclaves.RegisterBAR && off <= 4 && off+uint64(n) >= 8 {
					commands++ // at most
				}
				err = dev.Function().WriteBAR(i, off, p)
			}
			size := uint64(enclaves.BARSize)
			if i != 0 && i != 3 {
				size = 0
			}
			if inside := off+uint64(n) <= size; inside != (err == nil) {
				t.Fatalf("BAR %d, %#x+%d: %v", i, off, n, err)
			}
			if ops[0]&0x80 != 0 {
				b.FLR()
			}
		}
		if err := dev.Close(); err != nil {
			t.Fatal(err)
		}
		if err := hyp.Err(true); err != nil {
			t.Fatal(err)
		}
		if got := b.Count(pci.MSIX, enclaves.VectorReply); got > commands {
			t.Fatalf("%d replies to %d commands", got, commands)
		}
		if got := b.Count(pci.MSIX, enclaves.VectorEvent); got > 0 {
			t.Fatalf("%d events of no enclave", got)
		}
	})
}
