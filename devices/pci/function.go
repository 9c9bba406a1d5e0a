package pci

import (
	"sync"
	"sync/atomic"
)

// A Function is one PCI Express function. See the package comment for which
// methods are for whom.
type Function struct {
	// Immutable after New.
	bars      [numBARs]BAR
	intx      bool
	force     bool // Config.ForceBusMaster
	reset     func()
	onCommand func(old, now Command)
	windows   []registerWindow
	mailboxes []*mailbox

	// mu protects what follows. It is held while the Bus is asked to deliver an
	// interrupt, so that a message is either delivered or pending, and never
	// while a handler or hook runs.
	mu        sync.Mutex
	space     *space
	power     power
	express   express
	msi       msi
	msix      msix
	level     bool // of INTx, as the device wants it
	line      bool // of INTx, as the Bus was told
	resetting bool // until the device is reset, too

	bus    atomic.Pointer[attachment]
	master atomic.Bool // the driver allows DMA
	gate   gate        // open while master and attached
	dma    dma
}

// An attachment is a Bus as long as it carries the function.
type attachment struct {
	bus    Bus
	memory Memory
}

// New returns a function that is not attached. The error is a [*ConfigError] that
// names the field.
func New(cfg Config) (*Function, error) {
	f := &Function{
		bars: cfg.BARs, intx: cfg.INTx, force: cfg.ForceBusMaster,
		reset: cfg.Reset, onCommand: cfg.OnCommand,
	}
	f.dma.f = f
	f.gate.init()
	if cfg.Class > 1<<24-1 {
		return nil, invalid("Class", "%#x, want 24 bits", cfg.Class)
	}
	for i := range cfg.BARs {
		if err := cfg.BARs[i].check(i, &cfg.BARs); err != nil {
			return nil, err
		}
	}
	size := extendedBase
	if cfg.Express {
		size = extendedEnd
	} else if len(cfg.Extended) > 0 {
		return nil, invalid("Extended", "needs Express")
	}
	f.space = newSpace(size)
	layOutHeader(f.space, &cfg)
	layOutBARs(f.space, &cfg.BARs)
	standard, err := f.standardBlocks(&cfg)
	if err != nil {
		return nil, err
	}
	if err := layOutStandard(f.space, standard); err != nil {
		return nil, err
	}
	extended, err := f.extendedBlocks(&cfg)
	if err != nil {
		return nil, err
	}
	if err := layOutExtended(f.space, extended); err != nil {
		return nil, err
	}
	f.space.freeze()
	f.mu.Lock()
	f.settleGate()
	f.mu.Unlock()
	return f, nil
}

// Attach connects the function to the transport that carries it, which takes over
// the state as it is. Until Detach no other can.
//
// The Function calls bus.Interrupt with its own lock held: it must not call back,
// nor wait for a lock that is held by somebody who calls the Function.
func (f *Function) Attach(bus Bus) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.bus.CompareAndSwap(nil, &attachment{bus, bus.Memory()}) {
		return ErrAttached
	}
	f.line = false // the new bus knows nothing
	f.settleGate()
	f.settleInterrupts()
	return nil
}

// Detach ends Attach. When it returns no DMA runs and the Bus is not called any
// more. Registers keep their values; interrupts stay pending.
func (f *Function) Detach() {
	f.mu.Lock()
	f.bus.Store(nil)
	f.settleGate()
	f.mu.Unlock()
	f.gate.drain()
}

// ConfigSize is the size of the configuration space in bytes: 4096 or 256.
func (f *Function) ConfigSize() int { return len(f.space.bytes) }

// BAR describes base address register i, from 0 to 5.
func (f *Function) BAR(i int) BARInfo {
	if i < 0 || i >= numBARs {
		return BARInfo{}
	}
	b := &f.bars[i]
	return BARInfo{Size: b.Size, Is64: b.Is64, Prefetchable: b.Prefetchable, IO: b.IO, File: b.File}
}

// Command is COMMAND as the driver set it.
func (f *Function) Command() Command {
	f.mu.Lock()
	defer f.mu.Unlock()
	return Command(f.space.get16(regCommand))
}
