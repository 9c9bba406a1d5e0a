package pci_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/devices/pci"
	"github.com/nitrolab/nitrolab/devices/pci/pcitest"
)

// doe starts a function with one mailbox.
func doe(t testing.TB, d pci.DOE) (*pci.Function, *pcitest.Bus, *pcitest.DOE) {
	t.Helper()
	f, b := start(t, pci.Config{
		Express:  true,
		BARs:     [6]pci.BAR{{Size: 4096}},
		MSIX:     pci.MSIXConfig{Vectors: 4, PBA: 0x800},
		Extended: []pci.ExtendedCapability{pci.SerialNumber(1), &d},
	})
	return f, b, b.DOE(b.Extended(pci.ExtDOE))
}

func deadline(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// works checks that the mailbox is idle and answers.
func works(t *testing.T, d *pcitest.DOE) {
	t.Helper()
	if s := d.Reg(pcitest.DOEStatus) &^ pcitest.DOEInterruptStatus; s != 0 {
		t.Errorf("status is %#x, want idle", s)
	}
	got, err := d.Exchange(deadline(t), 1, 1, []byte("ping"))
	if err != nil || string(got) != "ping" {
		t.Errorf("exchange: %q, %v", got, err)
	}
}

func TestDOEExchange(t *testing.T) {
	_, _, d := doe(t, pci.DOE{MaxObject: 64, Protocols: []pci.DOEProtocol{echo(1)}})
	for n := 0; n <= 56; n++ {
		payload := bytes.Repeat([]byte{0xa5}, n)
		got, err := d.Exchange(deadline(t), 1, 1, payload)
		want := append([]byte{}, payload...)
		for len(want)%4 != 0 {
			want = append(want, 0)
		}
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes: %x, %v", n, got, err)
		}
	}
	if got, err := d.Exchange(deadline(t), 1, 1, make([]byte, 57)); !errors.Is(err, pcitest.ErrDiscarded) {
		t.Errorf("more than MaxObject: %x, %v", got, err)
	}
	works(t, d)
}

// TestDOELargest sends the largest object there is, whose length reads as 0.
func TestDOELargest(t *testing.T) {
	size := 0
	f, _, d := doe(t, pci.DOE{Offset: 0x200, MaxObject: 1 << 20, Protocols: []pci.DOEProtocol{
		{Vendor: 1, Type: 1, Handle: func(x *pci.Exchange) { size = len(x.Request); _ = x.Respond(nil) }},
	}})
	var w [4]byte
	for _, v := range pcitest.Object(1, 1, make([]byte, 1<<20-8)) {
		binary.LittleEndian.PutUint32(w[:], v)
		if err := f.WriteConfig(0x210, w[:]); err != nil {
			t.Fatal(err)
		}
	}
	d.Send()
	if words := d.Receive(); len(words) != 2 || size != 1<<20-8 {
		t.Errorf("the handler got %d bytes, the answer has %d words", size, len(words))
	}
}

func TestDOEDiscovery(t *testing.T) {
	_, _, d := doe(t, pci.DOE{Protocols: []pci.DOEProtocol{echo(1), echo(2), {Vendor: 0xbeef, Type: 0xfe, Handle: func(x *pci.Exchange) { x.Discard() }}}})
	want := []pci.DOEProtocol{{Vendor: 1, Type: 0}, {Vendor: 1, Type: 1}, {Vendor: 1, Type: 2}, {Vendor: 0xbeef, Type: 0xfe}}
	if diff := cmp.Diff(want, d.Protocols(deadline(t)), cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".Handle" }, cmp.Ignore())); diff != "" {
		t.Errorf("protocols (-want +got):\n%s", diff)
	}
	// The bytes of the trace in spdm-emu: index 0 is discovery itself.
	tests := []struct {
		index byte
		want  []byte
	}{
		{0, []byte{1, 0, 0, 1}},
		{1, []byte{1, 0, 1, 2}},
		{3, []byte{0xef, 0xbe, 0xfe, 0}},
		{4, []byte{0xff, 0xff, 0xff, 0}},
		{255, []byte{0xff, 0xff, 0xff, 0}},
	}
	for _, test := range tests {
		got, err := d.Exchange(deadline(t), 1, 0, []byte{test.index, 2, 0, 0})
		if err != nil || !bytes.Equal(got, test.want) {
			t.Errorf("index %d: %x, %v, want %x", test.index, got, err, test.want)
		}
	}
	for _, n := range []int{0, 8} {
		if _, err := d.Exchange(deadline(t), 1, 0, make([]byte, n)); !errors.Is(err, pcitest.ErrDiscarded) {
			t.Errorf("request of %d bytes: %v", n, err)
		}
	}
	_, _, alone := doe(t, pci.DOE{})
	if n := len(alone.Protocols(deadline(t))); n != 1 {
		t.Errorf("a mailbox without protocols has %d, want discovery", n)
	}
}

// TestDOEDiscard sends what has to be dropped silently.
func TestDOEDiscard(t *testing.T) {
	object := func(kind uint8, length uint32, words int) []uint32 {
		o := make([]uint32, words)
		o[0] = 1 | uint32(kind)<<16
		if words > 1 {
			o[1] = length
		}
		return o
	}
	tests := []struct {
		name  string
		words []uint32
	}{
		{"nothing", nil},
		{"one word", object(1, 0, 1)},
		{"length too small", object(1, 3, 4)},
		{"length too large", object(1, 5, 4)},
		{"length 0, which is 2^18", object(1, 0, 4)},
		{"length 1", object(1, 1, 2)},
		{"type unknown", object(9, 4, 4)},
		{"vendor unknown", []uint32{0x10002, 2}},
		{"too long", object(1, 100, 100)},
		{"far too long", object(1, 1000, 1000)},
		{"too long with a length that fits", object(1, 16, 17)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, b, d := doe(t, pci.DOE{MaxObject: 64, Interrupt: true, Vector: 1, Protocols: []pci.DOEProtocol{echo(1)}})
			b.EnableMSIX()
			d.SetReg(pcitest.DOEControl, pcitest.DOEInterruptEnable)
			d.Send(test.words...)
			if s := d.Reg(pcitest.DOEStatus); s != 0 {
				t.Errorf("status is %#x", s)
			}
			delivered(t, b, pci.MSIX)
			works(t, d)
		})
	}
	// Reserved bits of the header do not count.
	_, _, d := doe(t, pci.DOE{Protocols: []pci.DOEProtocol{echo(1)}})
	d.Send(0xff010001, 0xfffc0003, 7)
	if diff := cmp.Diff([]uint32{0x00010001, 3, 7}, d.Receive()); diff != "" {
		t.Errorf("reserved bits (-want +got):\n%s", diff)
	}
}

// TestDOEErrors makes each error there is, and checks that nothing but an abort
// ends it.
func TestDOEErrors(t *testing.T) {
	hold := func(x *pci.Exchange) {}
	tests := []struct {
		name string
		err  func(*pcitest.DOE)
	}{
		{"read of nothing", func(d *pcitest.DOE) { d.SetReg(pcitest.DOERead, 0) }},
		{"read beyond the end", func(d *pcitest.DOE) {
			d.Send(pcitest.Object(1, 1, nil)...)
			for range 3 {
				d.SetReg(pcitest.DOERead, 0)
			}
		}},
		{"go on top of an answer", func(d *pcitest.DOE) {
			d.Send(pcitest.Object(1, 1, nil)...)
			d.Send(pcitest.Object(1, 1, nil)...)
		}},
		{"go while busy", func(d *pcitest.DOE) {
			d.Send(pcitest.Object(1, 2, nil)...)
			d.Send(pcitest.Object(1, 1, nil)...)
		}},
		{"handler says so", func(d *pcitest.DOE) { d.Send(pcitest.Object(1, 3, nil)...) }},
		{"answer too long", func(d *pcitest.DOE) { d.Send(pcitest.Object(1, 4, nil)...) }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var tooLong error
			_, b, d := doe(t, pci.DOE{MaxObject: 64, Interrupt: true, Vector: 1, Protocols: []pci.DOEProtocol{
				echo(1), {Vendor: 1, Type: 2, Handle: hold},
				{Vendor: 1, Type: 3, Handle: func(x *pci.Exchange) { x.Fail() }},
				{Vendor: 1, Type: 4, Handle: func(x *pci.Exchange) { tooLong = x.Respond(make([]byte, 57)) }},
			}})
			b.EnableMSIX()
			test.err(d)
			if test.name == "answer too long" && !errors.Is(tooLong, pci.ErrObjectSize) {
				t.Errorf("Respond: %v", tooLong)
			}
			if s := d.Reg(pcitest.DOEStatus) &^ pcitest.DOEInterruptStatus; s != pcitest.DOEError {
				t.Errorf("status is %#x, want Error alone", s)
			}
			if _, err := d.Exchange(deadline(t), 1, 1, nil); !errors.Is(err, pcitest.ErrDOE) {
				t.Errorf("an exchange in the error state: %v", err)
			}
			if v := d.Reg(pcitest.DOERead); v != 0 {
				t.Errorf("read mailbox has %#x", v)
			}
			d.SetReg(pcitest.DOEStatus, pcitest.DOEError) // not clearable
			if s := d.Reg(pcitest.DOEStatus); s&pcitest.DOEError == 0 {
				t.Errorf("status is %#x", s)
			}
			d.SetReg(pcitest.DOEControl, pcitest.DOEAbort)
			works(t, d)
		})
	}
}

// TestDOEWords checks that the mailboxes take whole words alone, and the other
// registers single bytes.
func TestDOEWords(t *testing.T) {
	f, b, d := doe(t, pci.DOE{Interrupt: true, Protocols: []pci.DOEProtocol{echo(1)}})
	at := b.Extended(pci.ExtDOE)
	for _, w := range pcitest.Object(1, 1, []byte("data")) {
		b.SetConfig(at+pcitest.DOEWrite, 1, w)
		b.SetConfig(at+pcitest.DOEWrite, 2, w)
		b.SetConfig(at+pcitest.DOEWrite+1, 3, w)
		b.SetConfig(at+pcitest.DOEWrite, 4, w)
	}
	b.SetConfig(at+pcitest.DOEControl, 1, pcitest.DOEInterruptEnable)
	b.SetConfig(at+pcitest.DOEControl+3, 1, pcitest.DOEGo>>24) // keeps Interrupt Enable
	if v := d.Reg(pcitest.DOEControl); v != pcitest.DOEInterruptEnable {
		t.Errorf("control is %#x, want Interrupt Enable, and Go never to be seen", v)
	}
	if v := b.Config(at+pcitest.DOERead+2, 2); v != 1 {
		t.Errorf("upper half of the first word is %#x", v)
	}
	b.SetConfig(at+pcitest.DOERead, 2, 0)
	b.SetConfig(at+pcitest.DOERead+3, 1, 0)
	if diff := cmp.Diff(pcitest.Object(1, 1, []byte("data")), d.Receive()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if v := d.Reg(pcitest.DOEWrite); v != 0 {
		t.Errorf("write mailbox reads %#x", v)
	}
	b.SetConfig(at+pcitest.DOEControl, 4, 0)
	if v := d.Reg(pcitest.DOEControl); v != 0 {
		t.Errorf("control is %#x", v)
	}
	// One write of both mailboxes and Go has an effect word by word.
	d.SetReg(pcitest.DOEStatus, pcitest.DOEInterruptStatus)
	if err := f.WriteConfig(at+pcitest.DOEStatus, []byte{0, 0, 0, 0, 1, 0, 1, 0}); err != nil {
		t.Fatal(err)
	}
	d.Send(2)
	if n := len(d.Receive()); n != 2 {
		t.Errorf("answer of %d words", n)
	}
}

// TestDOEAsync answers on another goroutine, while the mailbox is busy.
func TestDOEAsync(t *testing.T) {
	exchanges := make(chan *pci.Exchange, 1)
	f, b, d := doe(t, pci.DOE{Interrupt: true, Vector: 2, Protocols: []pci.DOEProtocol{
		echo(1), {Vendor: 1, Type: 2, Handle: func(x *pci.Exchange) { exchanges <- x }},
	}})
	b.EnableMSIX()
	ask := func() *pci.Exchange {
		t.Helper()
		d.Send(pcitest.Object(1, 2, []byte("question"))...)
		if s := d.Reg(pcitest.DOEStatus) &^ pcitest.DOEInterruptStatus; s != pcitest.DOEBusy {
			t.Fatalf("status is %#x, want Busy", s)
		}
		return <-exchanges
	}
	over := func(x *pci.Exchange) {
		t.Helper()
		select {
		case <-x.Done():
		default:
			t.Error("Done is not closed")
		}
		if err := x.Respond(nil); !errors.Is(err, pci.ErrExchangeOver) {
			t.Errorf("Respond: %v", err)
		}
		x.Fail()
		x.Discard()
	}

	x := ask()
	if string(x.Request) != "question" || x.Vendor != 1 || x.Type != 2 {
		t.Errorf("the handler got %#x/%d %q", x.Vendor, x.Type, x.Request)
	}
	d.SetReg(pcitest.DOEWrite, 0xbad) // is not taken
	d.SetReg(pcitest.DOEControl, pcitest.DOEInterruptEnable)
	errs := make(chan error)
	go func() { errs <- x.Respond([]byte("answer")) }()
	b.Wait(deadline(t), pci.MSIX, 2, 1)
	if err := <-errs; err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(pcitest.Object(1, 2, []byte("answer")), d.Receive()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	over(x)
	works(t, d)

	x = ask()
	d.SetReg(pcitest.DOEControl, pcitest.DOEAbort)
	over(x)
	works(t, d)

	x = ask()
	x.Discard()
	over(x)
	works(t, d)

	x = ask()
	b.FLR()
	over(x)
	works(t, d)

	x = ask()
	f.Reset()
	over(x)
	works(t, d)
}

// TestDOEInterrupt walks through the conditions of section 6.30.3.
func TestDOEInterrupt(t *testing.T) {
	var last *pci.Exchange
	d4 := pci.DOE{Interrupt: true, Vector: 3, Protocols: []pci.DOEProtocol{
		echo(1), {Vendor: 1, Type: 2, Handle: func(x *pci.Exchange) { last = x }},
	}}
	_, b, d := doe(t, d4)
	if v := d.Reg(4); v != 7 {
		t.Errorf("capabilities %#x, want interrupt support and message 3", v)
	}
	b.EnableMSIX()
	status := func(want uint32) {
		t.Helper()
		if got := d.Reg(pcitest.DOEStatus) & pcitest.DOEInterruptStatus; got != want {
			t.Errorf("Interrupt Status is %#x, want %#x", got, want)
		}
	}
	clearStatus := func() { d.SetReg(pcitest.DOEStatus, pcitest.DOEInterruptStatus) }

	works(t, d) // polled: the status is set, but nothing sent
	status(pcitest.DOEInterruptStatus)
	delivered(t, b, pci.MSIX)
	clearStatus()
	status(0)

	d.SetReg(pcitest.DOEControl, pcitest.DOEInterruptEnable)
	works(t, d)
	works(t, d) // not cleared in between: one message
	delivered(t, b, pci.MSIX, 3)
	d.SetReg(pcitest.DOEStatus, 0)
	status(pcitest.DOEInterruptStatus)
	clearStatus()
	status(0)
	works(t, d)
	delivered(t, b, pci.MSIX, 3)
	clearStatus()

	d.SetReg(pcitest.DOERead, 0) // Error
	delivered(t, b, pci.MSIX, 3)
	clearStatus()
	d.SetReg(pcitest.DOERead, 0) // it is set already
	d.Send(pcitest.Object(1, 1, nil)...)
	delivered(t, b, pci.MSIX)
	d.SetReg(pcitest.DOEControl, pcitest.DOEInterruptEnable|pcitest.DOEAbort)
	delivered(t, b, pci.MSIX) // was not busy
	status(0)

	d.Send(pcitest.Object(1, 2, nil)...)
	d.SetReg(pcitest.DOEControl, pcitest.DOEInterruptEnable|pcitest.DOEAbort) // Busy goes away
	delivered(t, b, pci.MSIX, 3)
	clearStatus()
	d.Send(pcitest.Object(1, 2, nil)...)
	last.Discard()
	delivered(t, b, pci.MSIX, 3)

	d.SetReg(pcitest.DOEControl, 0) // enabled while the status is set
	d.SetReg(pcitest.DOEControl, pcitest.DOEInterruptEnable)
	delivered(t, b, pci.MSIX, 3)
	d.SetReg(pcitest.DOEControl, pcitest.DOEInterruptEnable)
	delivered(t, b, pci.MSIX)

	_, _, silent := doe(t, pci.DOE{Protocols: []pci.DOEProtocol{echo(1)}})
	silent.SetReg(pcitest.DOEControl, pcitest.DOEInterruptEnable)
	works(t, silent)
	if c, s := silent.Reg(pcitest.DOEControl), silent.Reg(pcitest.DOEStatus); c|s|silent.Reg(4) != 0 {
		t.Errorf("a mailbox without interrupt: control %#x, status %#x", c, s)
	}
}

// TestDOENeverINTx: the mailbox's interrupt is a message or nothing.
func TestDOENeverINTx(t *testing.T) {
	_, b := start(t, everything())
	d := b.DOE(b.Extended(pci.ExtDOE))
	d.SetReg(pcitest.DOEControl, pcitest.DOEInterruptEnable)
	works(t, d)
	delivered(t, b, pci.INTx)
	if v := b.Config(pcitest.Status, 2) & 8; v != 0 {
		t.Error("INTx is asserted")
	}
}
