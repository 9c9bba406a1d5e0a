package pci_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/nitrolab/nitrolab/devices/pci"
	"github.com/nitrolab/nitrolab/devices/pci/pcitest"
)

// An op is one access of a fuzzed sequence: its bytes are offset (16 bits), a
// length with the write bit, and the data of a write.
type op struct {
	off   int
	n     int
	write bool
	data  []byte
}

// ops cuts input into accesses of 0 to 63 bytes.
func ops(input []byte) (list []op) {
	for len(input) >= 3 {
		o := op{off: int(binary.LittleEndian.Uint16(input)), n: int(input[2] & 63), write: input[2]&0x80 != 0}
		input = input[3:]
		if o.write {
			o.data = make([]byte, o.n)
			input = input[copy(o.data, input):]
		}
		list = append(list, o)
	}
	return list
}

// encode is the inverse of ops.
func encode(list ...op) (input []byte) {
	for _, o := range list {
		input = binary.LittleEndian.AppendUint16(input, uint16(o.off))
		if o.write {
			input = append(append(input, byte(len(o.data))|0x80), o.data...)
		} else {
			input = append(input, byte(o.n))
		}
	}
	return input
}

func set(off int, data ...byte) op { return op{off: off, write: true, data: data} }

// FuzzConfig lets a driver write anything to configuration space, and checks after
// each write what may never change.
func FuzzConfig(f *testing.F) {
	f.Add(encode(set(4, 7, 4), set(msixControl, 0, 0xc0), op{off: 0, n: 63}, set(msixControl, 0, 0x80)))
	f.Add(encode(set(4, 7), set(msiControl, 0x31, 0), set(msiMask, 0xff), set(msiMask, 0)))
	f.Add(encode(set(0x50, 0xff, 0xff), set(0x44, 3), set(0x44, 0), set(0x44, 2)))
	f.Add(encode(set(0x10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), op{off: 0xffe, n: 4}))
	f.Add(encode(set(0x160, 1, 0, 1, 0), set(0x160, 2, 0, 0, 0), set(0x158, 2, 0, 0, 0x80), op{off: 0x150, n: 24}, set(0x164, 0, 0, 0, 0)))
	f.Fuzz(func(t *testing.T, input []byte) {
		fn := newFunction(t, everything())
		fresh := readAll(t, fn)
		b := pcitest.New(t, fn)
		standard, extended := walkStandard(t, fresh), walkExtended(t, fresh)
		for i, o := range ops(input) {
			p := make([]byte, o.n)
			access := fn.ReadConfig
			if o.write {
				p, access = o.data, fn.WriteConfig
			}
			if err := access(o.off, p); (err == nil) != (o.off+len(p) <= len(fresh)) {
				t.Fatalf("%#x+%d: %v", o.off, len(p), err)
			}
			fn.Interrupt(i)
			c := readAll(t, fn)
			if !bytes.Equal(c[:4], fresh[:4]) || !bytes.Equal(c[8:12], fresh[8:12]) || !bytes.Equal(c[0x2c:0x30], fresh[0x2c:0x30]) {
				t.Fatalf("identity changed: %x", c[:0x40])
			}
			if len(walkStandard(t, c)) != len(standard) || len(walkExtended(t, c)) != len(extended) {
				t.Fatal("a capability list changed")
			}
			master := c[4]&4 != 0 && c[0x44]&3 == 0
			if master != fn.BusMaster() || master != (fn.DMA().Read(0, nil) == nil) {
				t.Fatalf("COMMAND %#x, power state %d, but BusMaster %v", c[4], c[0x44]&3, fn.BusMaster())
			}
			for _, v := range b.Delivered() {
				if v.Kind != pci.INTx && !master || v.Number >= fn.Interrupts(v.Kind) {
					t.Fatalf("delivered %+v, bus master %v", v, master)
				}
			}
		}
		fn.Reset()
		if c := readAll(t, fn); !bytes.Equal(c, fresh) {
			t.Fatal("a reset does not bring everything back")
		}
	})
}

// strict is a Handler that checks the promises that handlers rely on.
type strict struct {
	t    *testing.T
	size uint64
	mem  []byte
}

func (s *strict) check(off uint64, p []byte) {
	n := uint64(len(p))
	if n != 1 && n != 2 && n != 4 && n != 8 || off%n != 0 || off >= s.size || n > s.size-off {
		s.t.Fatalf("handler got %#x+%d", off, n)
	}
}

func (s *strict) ReadBAR(off uint64, p []byte)  { s.check(off, p); copy(p, s.mem[off:]) }
func (s *strict) WriteBAR(off uint64, p []byte) { s.check(off, p); copy(s.mem[off:], p) }

// FuzzBAR makes any accesses to a BAR that holds registers and the tables of
// MSI-X, and compares what is read with a plain array.
func FuzzBAR(f *testing.F) {
	f.Add(uint8(0), encode(set(0, 1, 2, 3), op{off: 0, n: 4}, op{off: 4090, n: 6}, op{off: 4090, n: 7}))
	f.Add(uint8(0), encode(set(0x80c, 0), set(0x808, 1, 2, 3, 4, 1, 0, 0, 0), op{off: 0x7ff, n: 40}))
	f.Add(uint8(0), encode(op{off: 0xbfc, n: 24}, set(0xc00, 255, 255, 255, 255, 255, 255, 255, 255, 255), op{off: 0xc00, n: 9}))
	f.Add(uint8(3), encode(op{off: 0, n: 1}))
	f.Fuzz(func(t *testing.T, bar uint8, input []byte) {
		h := &strict{t: t, size: 4096, mem: make([]byte, 4096)}
		fn := newFunction(t, pci.Config{
			BARs: [6]pci.BAR{{Size: 4096, Handler: h}},
			MSIX: pci.MSIXConfig{Vectors: 64, Table: 0x800, PBA: 0xc00},
		})
		b := pcitest.New(t, fn)
		b.Enable()
		b.EnableMSIX()
		tables := func(i int) bool { return i >= 0x800 && i < 0xc08 }
		model := make([]byte, 4096)
		for i, o := range ops(input) {
			fn.Interrupt(i & 63)
			p := make([]byte, o.n)
			access := fn.ReadBAR
			if o.write {
				p, access = o.data, fn.WriteBAR
			}
			inside := bar == 0 && o.off+len(p) <= 4096
			if err := access(int(bar), uint64(o.off), p); (err == nil) != inside && len(p) > 0 {
				t.Fatalf("BAR %d, %#x+%d: %v", bar, o.off, len(p), err)
			}
			if !inside {
				continue
			}
			for k, v := range p {
				switch at := o.off + k; {
				case tables(at):
				case o.write:
					model[at] = v
				case v != model[at]:
					t.Fatalf("byte %#x is %#x, want %#x", at, v, model[at])
				}
			}
		}
		// Whatever was done to the table: unmasked, nothing stays pending.
		for v := range uint64(64) {
			b.Write32(0, 0x800+16*v+12, 0)
		}
		if v := b.Read64(0, 0xc00); v != 0 {
			t.Fatalf("pending bits %#x with nothing masked", v)
		}
		for i := range model {
			if !tables(i) && h.mem[i] != model[i] {
				t.Fatalf("the handler has %#x at %#x, want %#x", h.mem[i], i, model[i])
			}
		}
	})
}

// FuzzDOE makes any accesses to a mailbox. Afterwards an abort has to make it work.
func FuzzDOE(f *testing.F) {
	ask := []op{set(0x10, 1, 0, 1, 0), set(0x10, 3, 0, 0, 0), set(0x10, 'a', 'b', 'c', 'd'), set(8, 2, 0, 0, 0x80)}
	f.Add(encode(ask...))
	f.Add(encode(append(ask, set(0x14, 0, 0, 0, 0), set(0x14, 0, 0, 0, 0), op{off: 0x14, n: 4}, set(0x14, 0, 0, 0, 0), set(0x14, 0, 0, 0, 0))...))
	f.Add(encode(append(ask, ask...)...))
	f.Add(encode(set(0x10, 1, 0, 2, 0), set(0x10, 2, 0, 0, 0), set(8, 0, 0, 0, 0x80), set(0x10, 0, 0, 0, 0), set(8, 0, 0, 0, 0x80), set(8, 1)))
	f.Add(encode(set(0x10, 1, 0, 3, 0), set(0x10, 2, 0, 0, 0), set(8, 0, 0, 0, 0x80), set(0xc, 2)))
	f.Add(encode(set(0xc, 0, 0, 0, 0, 1, 0, 0, 0), set(0x10, 3, 0, 0, 0), set(0x10, 0, 0, 0, 0), set(0xb, 0x80), op{off: 4, n: 20}))
	f.Fuzz(func(t *testing.T, input []byte) {
		var held []*pci.Exchange
		limit := 64
		_, b, d := doe(t, pci.DOE{MaxObject: limit, Interrupt: true, Protocols: []pci.DOEProtocol{
			echo(1),
			{Vendor: 1, Type: 2, Handle: func(x *pci.Exchange) {
				if len(x.Request) > limit-8 || len(x.Request)%4 != 0 {
					t.Fatalf("request of %d bytes", len(x.Request))
				}
				held = append(held, x)
			}},
			{Vendor: 1, Type: 3, Handle: func(x *pci.Exchange) { _ = x.Respond(make([]byte, 2*len(x.Request))) }},
		}})
		fn, at := b.Function(), b.Extended(pci.ExtDOE)
		for i, o := range ops(input) {
			off := at + 4 + o.off%(0x18-4)
			if o.write {
				_ = fn.WriteConfig(off, o.data)
			} else {
				_ = fn.ReadConfig(off, make([]byte, o.n))
			}
			if i%5 == 4 && len(held) > 0 {
				_ = held[0].Respond(held[0].Request)
				held = held[1:]
			}
			s := d.Reg(pcitest.DOEStatus)
			if bits := s &^ pcitest.DOEInterruptStatus; bits&(bits-1) != 0 {
				t.Fatalf("status %#x: more than one of Busy, Error and Ready", s)
			}
			if v := d.Reg(pcitest.DOERead); s&pcitest.DOEReady == 0 && v != 0 {
				t.Fatalf("status %#x, but there is %#x to read", s, v)
			}
		}
		d.SetReg(pcitest.DOEControl, pcitest.DOEAbort)
		works(t, d)
		for _, x := range held {
			if err := x.Respond(nil); err == nil {
				t.Fatal("an exchange outlived the abort")
			}
		}
		works(t, d)
	})
}
