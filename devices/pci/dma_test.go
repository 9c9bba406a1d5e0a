package pci_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/devices/guestmem"
	"github.com/nitrolab/nitrolab/devices/pci"
	"github.com/nitrolab/nitrolab/devices/pci/pcitest"
)

func TestDMA(t *testing.T) {
	f := newFunction(t, everything())
	dma := f.DMA()
	try := func() []error {
		return []error{
			dma.Read(0x1000, make([]byte, 8)), dma.Write(0x1000, make([]byte, 8)),
			dma.View(0x1000, 8, true, func([][]byte) error { return nil }),
		}
	}
	all := func(when string, want error) {
		t.Helper()
		for i, err := range try() {
			if !errors.Is(err, want) {
				t.Errorf("%s: call %d: %v, want %v", when, i, err, want)
			}
		}
	}
	all("detached, not enabled", pci.ErrBusMaster)
	b := pcitest.New(t, f)
	mem := make([]byte, 64)
	b.Mem().Map(0x1000, mem)
	all("not enabled", pci.ErrBusMaster)
	b.SetConfig(pcitest.Command, 2, 3)
	all("only decoding", pci.ErrBusMaster)
	b.SetConfig(pcitest.Command, 2, 4)
	all("enabled", nil)
	f.Detach()
	all("detached", pci.ErrDetached)
	if err := f.Attach(b); err != nil {
		t.Fatal(err)
	}
	if err := f.Attach(b); !errors.Is(err, pci.ErrAttached) {
		t.Errorf("a second Attach: %v", err)
	}
	all("attached again", nil)

	if err := dma.Write(0x1004, []byte("data")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 4)
	if err := dma.Read(0x1004, got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("data", string(got)); diff != "" || string(mem[4:8]) != "data" {
		t.Errorf("read back %q, memory has %q", got, mem[4:8])
	}
	want := errors.New("mine")
	if err := dma.View(0x1004, 4, false, func(s [][]byte) error {
		if diff := cmp.Diff([][]byte{[]byte("data")}, s); diff != "" {
			t.Error(diff)
		}
		return want
	}); !errors.Is(err, want) {
		t.Errorf("View returned %v", err)
	}
	all("after an error of View's function", nil)
}

// TestMasterAbort checks the only bit of STATUS that this function sets by itself,
// and that writing 1 clears it while writing 0 does not.
func TestMasterAbort(t *testing.T) {
	f, b := start(t, everything())
	b.Mem().MapAs(0, make([]byte, 8), false, true)
	const abort = 1 << 13
	check := func(when string, want uint32) {
		t.Helper()
		if got := b.Config(pcitest.Status, 2) & 0xf900; got != want {
			t.Errorf("%s: STATUS has %#x, want %#x", when, got, want)
		}
	}
	unmapped := func(err error) {
		t.Helper()
		if _, ok := errors.AsType[*guestmem.AddressError](err); !ok {
			t.Errorf("unmapped: %v", err)
		}
	}
	unmapped(f.DMA().Write(0x5000, []byte{1}))
	check("after a posted write", 0)
	unmapped(f.DMA().Read(0, make([]byte, 1)))
	check("after a read of what may only be written", abort)
	b.SetConfig(pcitest.Status, 2, 0)
	check("after writing 0", abort)
	b.SetConfig(pcitest.Status, 2, 0xdfff)
	check("after writing 1 to the others", abort)
	b.SetConfig(pcitest.Status+1, 1, abort>>8)
	check("after writing 1", 0)
}

// TestDMAEnds checks that whatever takes the right to DMA away returns only when
// DMA that ran has ended, that none begins meanwhile, and that DMA inside DMA does
// not deadlock with that.
func TestDMAEnds(t *testing.T) {
	tests := []struct {
		name string
		end  func(*pci.Function, *pcitest.Bus)
		err  error
	}{
		{"bus master", func(_ *pci.Function, b *pcitest.Bus) { b.SetConfig(pcitest.Command, 2, 2) }, pci.ErrBusMaster},
		{"function level reset", func(_ *pci.Function, b *pcitest.Bus) { b.FLR() }, pci.ErrBusMaster},
		{"reset", func(f *pci.Function, _ *pcitest.Bus) { f.Reset() }, pci.ErrBusMaster},
		{"sleep", func(_ *pci.Function, b *pcitest.Bus) { b.Sleep(true) }, pci.ErrBusMaster},
		{"two at once", func(f *pci.Function, b *pcitest.Bus) {
			var wg sync.WaitGroup
			wg.Go(f.Reset)
			b.SetConfig(pcitest.Command, 2, 0)
			wg.Wait()
		}, pci.ErrBusMaster},
		{"detach", func(f *pci.Function, _ *pcitest.Bus) { f.Detach() }, pci.ErrDetached},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			f, b := start(t, everything())
			b.Mem().Map(0, make([]byte, 8))
			inside, leave := make(chan struct{}), make(chan struct{})
			var nested, outer error
			var wg sync.WaitGroup
			wg.Go(func() {
				outer = f.DMA().View(0, 8, true, func(s [][]byte) error {
					close(inside)
					select {
					case <-leave:
					case <-ctx.Done():
					}
					nested = f.DMA().Read(0, make([]byte, 1))
					s[0][0] = 1
					return nil
				})
			})
			<-inside
			ended := make(chan struct{})
			wg.Go(func() {
				test.end(f, b)
				close(ended)
			})
			// New DMA fails from some moment on, while the old one still runs.
			for f.DMA().Read(0, make([]byte, 1)) == nil {
				if ctx.Err() != nil {
					t.Fatal("DMA is still possible")
				}
			}
			select {
			case <-ended:
				t.Error("it returned while DMA ran")
			case <-time.After(20 * time.Millisecond): // long enough to catch one that does not wait
			}
			close(leave)
			wg.Wait()
			if !errors.Is(nested, test.err) {
				t.Errorf("DMA inside DMA: %v, want %v", nested, test.err)
			}
			if outer != nil {
				t.Errorf("the DMA that ran: %v", outer)
			}
		})
	}
}

// TestConcurrency is for the race detector: a device at work while its driver
// reconfigures it and transports come and go.
func TestConcurrency(t *testing.T) {
	f, b := start(t, everything())
	b.Mem().Map(0, make([]byte, 64))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			p := make([]byte, 16)
			for {
				select {
				case <-stop:
					return
				default:
				}
				f.Interrupt(3)
				f.SetINTx(false)
				_ = f.DMA().Read(0, p)
				_ = f.DMA().View(0, 8, false, func([][]byte) error { return nil })
				_ = f.BusMaster()
				_ = f.Command()
			}
		})
	}
	for i := range 300 {
		b.Enable()
		b.EnableMSIX()
		b.SetConfig(msixControl, 2, 0xc000)
		_ = b.Read64(msixBAR, msixPBA)
		b.SetConfig(msixControl, 2, 0x0000)
		b.EnableMSI(2)
		b.Write64(msixBAR, 3*16+8, uint64(i&1)<<32)
		f.UnmaskINTx()
		switch i % 4 {
		case 0:
			b.FLR()
		case 1:
			f.Reset()
		case 2:
			f.Detach()
			if err := f.Attach(b); err != nil {
				t.Error(err)
			}
		}
	}
	close(stop)
	wg.Wait()
}
