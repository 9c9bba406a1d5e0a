package pcitest

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/nitrolab/nitrolab/devices/pci"
)

// A DOE drives one mailbox as a driver does.
type DOE struct {
	b  *Bus
	at int
}

// Registers of a mailbox and their bits.
const (
	DOEControl = 0x08
	DOEStatus  = 0x0c
	DOEWrite   = 0x10
	DOERead    = 0x14

	DOEAbort           = 1 << 0
	DOEInterruptEnable = 1 << 1
	DOEGo              = 1 << 31

	DOEBusy            = 1 << 0
	DOEInterruptStatus = 1 << 1
	DOEError           = 1 << 2
	DOEReady           = 1 << 31
)

// Why an exchange has no answer.
var (
	ErrDOE       = errors.New("pcitest: the mailbox is in its error state")
	ErrDiscarded = errors.New("pcitest: the object was discarded")
)

// DOE returns the mailbox at an offset in configuration space, such as
// Extended(pci.ExtDOE).
func (b *Bus) DOE(at int) *DOE {
	b.t.Helper()
	return &DOE{b, b.must("DOE", at)}
}

// Reg reads a register.
func (d *DOE) Reg(off int) uint32 { d.b.t.Helper(); return d.b.Config(d.at+off, 4) }

// SetReg writes a register.
func (d *DOE) SetReg(off int, v uint32) { d.b.t.Helper(); d.b.SetConfig(d.at+off, 4, v) }

// Object is the words of a data object with a correct length.
func Object(vendor uint16, kind uint8, payload []byte) []uint32 {
	words := []uint32{uint32(vendor) | uint32(kind)<<16, uint32(2+(len(payload)+3)/4) & (1<<18 - 1)}
	for len(payload) > 0 {
		var w [4]byte
		payload = payload[copy(w[:], payload):]
		words = append(words, binary.LittleEndian.Uint32(w[:]))
	}
	return words
}

// Send writes words and says Go.
func (d *DOE) Send(words ...uint32) {
	d.b.t.Helper()
	for _, w := range words {
		d.SetReg(DOEWrite, w)
	}
	d.SetReg(DOEControl, d.Reg(DOEControl)|DOEGo)
}

// Receive reads the object that is ready.
func (d *DOE) Receive() (words []uint32) {
	d.b.t.Helper()
	for d.Reg(DOEStatus)&DOEReady != 0 {
		words = append(words, d.Reg(DOERead))
		d.SetReg(DOERead, 0)
	}
	return words
}

// Exchange sends one object and returns the payload of the answer, padding
// included. It waits while the mailbox is busy, until ctx ends.
func (d *DOE) Exchange(ctx context.Context, vendor uint16, kind uint8, payload []byte) ([]byte, error) {
	d.b.t.Helper()
	d.Send(Object(vendor, kind, payload)...)
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for {
		switch status := d.Reg(DOEStatus); {
		case status&DOEError != 0:
			return nil, ErrDOE
		case status&DOEReady != 0:
			return d.payload(vendor, kind), nil
		case status&DOEBusy == 0:
			return nil, ErrDiscarded
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// payload receives an object and checks its header.
func (d *DOE) payload(vendor uint16, kind uint8) []byte {
	d.b.t.Helper()
	words := d.Receive()
	if want := uint32(vendor) | uint32(kind)<<16; len(words) < 2 || words[0] != want || words[1] != uint32(len(words))&(1<<18-1) {
		d.b.t.Fatalf("pcitest: answer of %d words with header %#x, want vendor %#04x, type %d and that length", len(words), words[:min(2, len(words))], vendor, kind)
	}
	var p []byte
	for _, w := range words[2:] {
		p = binary.LittleEndian.AppendUint32(p, w)
	}
	return p
}

// Protocols asks the discovery protocol for all that the mailbox answers, beginning
// with itself.
func (d *DOE) Protocols(ctx context.Context) (all []pci.DOEProtocol) {
	d.b.t.Helper()
	for index := byte(0); ; {
		p, err := d.Exchange(ctx, pci.DOEVendorPCISIG, pci.DOETypeDiscovery, []byte{index, 0, 0, 0})
		if err != nil || len(p) != 4 || len(all) > 255 {
			d.b.t.Fatalf("pcitest: DOE discovery, index %d: answer %x, %v", index, p, err)
		}
		all = append(all, pci.DOEProtocol{Vendor: binary.LittleEndian.Uint16(p), Type: p[2]})
		if index = p[3]; index == 0 {
			return all
		}
	}
}
