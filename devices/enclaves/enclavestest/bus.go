package enclavestest

import (
	"errors"

	"github.com/nitrolab/nitrolab/devices/enclaves"
	"github.com/nitrolab/nitrolab/devices/pci"
)

// bus is a Driver as the transport of its function.
type bus Driver

// Interrupt implements pci.Bus: ne_reply_handler and ne_event_handler.
func (b *bus) Interrupt(kind pci.InterruptKind, vector int) bool {
	if kind != pci.MSIX {
		return false
	}
	b.irq.Lock()
	defer b.irq.Unlock()
	if !b.ready {
		b.early++
		return true
	}
	c := b.replied
	if vector == enclaves.VectorEvent {
		c = b.event
	}
	select {
	case c <- struct{}{}:
	default:
	}
	return true
}

// Memory implements pci.Bus: the device has no business there.
func (b *bus) Memory() pci.Memory { return noMemory{} }

type noMemory struct{}

var errDMA = errors.New("the Nitro Enclaves device does no DMA")

func (noMemory) Read(uint64, []byte) error  { return errDMA }
func (noMemory) Write(uint64, []byte) error { return errDMA }
func (noMemory) View(uint64, int, bool, func([][]byte) error) error {
	return errDMA
}
