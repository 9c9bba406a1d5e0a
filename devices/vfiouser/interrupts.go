package vfiouser

import (
	"sync"

	"github.com/nitrolab/nitrolab/devices/internal/eventfd"
	"github.com/nitrolab/nitrolab/devices/pci"
)

// interrupts are where interrupts of a function go: an eventfd for each vector that
// the client has given one for. Interrupt is for any goroutine, the rest for that of
// Serve.
type interrupts struct {
	f       *pci.Function
	signals [numIRQs][]eventfd.Signal // immutable length
	intx    struct {
		sync.Mutex // held while the line is asserted, so that a mask takes effect at once
		masked     bool
	}
	resample resampler
}

func newInterrupts(f *pci.Function) *interrupts {
	i := &interrupts{f: f}
	i.resample.handled = i.unmask
	for _, k := range []pci.InterruptKind{pci.INTx, pci.MSI, pci.MSIX} {
		i.signals[k] = make([]eventfd.Signal, f.Interrupts(k))
	}
	i.signals[irqErr] = make([]eventfd.Signal, 1)
	i.signals[irqReq] = make([]eventfd.Signal, 1)
	return i
}

// count is how many interrupts an index has, which must be less than numIRQs.
func (i *interrupts) count(index uint32) uint32 { return uint32(len(i.signals[index])) }

// Interrupt implements pci.Bus.
func (i *interrupts) Interrupt(kind pci.InterruptKind, vector int) bool {
	if kind > pci.MSIX || vector < 0 || vector >= len(i.signals[kind]) {
		return false
	}
	if kind == pci.INTx {
		i.intx.Lock()
		defer i.intx.Unlock()
		if i.intx.masked {
			return false // unmask makes the function try again
		}
	}
	// An eventfd that cannot be written, which the client can bring about, is one
	// that nobody listens to.
	sent, err := i.signals[kind][vector].Raise()
	return sent && err == nil
}

// mask holds INTx back.
func (i *interrupts) mask() {
	i.intx.Lock()
	defer i.intx.Unlock()
	i.intx.masked = true
}

// unmask lets INTx out again, at once if the function still asserts it: the client
// has not heard anything since it masked the line, or since it took the last one.
func (i *interrupts) unmask() {
	i.intx.Lock()
	i.intx.masked = false
	i.intx.Unlock()
	i.f.UnmaskINTx()
}

// disable takes all eventfds of an index away.
func (i *interrupts) disable(index uint32) {
	for v := range i.signals[index] {
		i.signals[index][v].Close()
	}
	if index == irqINTx {
		i.resample.close()
		i.intx.Lock()
		defer i.intx.Unlock()
		i.intx.masked = false
	}
}

// close takes all eventfds away.
func (i *interrupts) close() {
	for index := range i.signals {
		i.disable(uint32(index))
	}
}
