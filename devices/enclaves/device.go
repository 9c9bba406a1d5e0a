package enclaves

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/nitrolab/nitrolab/devices/pci"
)

// A Device is one Nitro Enclaves device. Its methods may be called from any
// goroutine.
type Device struct {
	cfg Config
	log *slog.Logger
	fn  *pci.Function

	watchers sync.WaitGroup // one goroutine for each enclave
	late     sync.WaitGroup // one for each timer of a life
	quit     chan struct{}  // ends watchers of enclaves that could not be stopped
	quitOnce sync.Once

	mu      sync.Mutex
	regs    registers
	power   power
	life    *life         // nil unless power is on
	table   table         // its slots belong to a running command or takeDown too
	running chan struct{} // nil unless a goroutine executes a command; then closed at its end
	down    *takeDown     // nil unless everything is being taken down
	faults  Faults
	closed  bool
}

// power is what RegEnable shows.
type power uint8

const (
	off       power = iota // reads 0; there is no slot
	on                     // reads 1
	disabling              // reads 1; slots are being taken down, or could not be
)

// life is one period from RegEnable going to 1 until it is written 0. As there
// are no slots when it begins, no vector is raised before its first command.
type life struct {
	ctx  context.Context // ends with it
	end  context.CancelFunc
	late []*time.Timer // what later holds back
}

// New makes the device. It does nothing until a driver enables it.
func New(c Config) (*Device, error) {
	cfg, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	d := &Device{cfg: cfg, log: cfg.Log, quit: make(chan struct{}), faults: cfg.Faults.clone()}
	d.table = table{
		maxSlots:   cfg.MaxSlots,
		maxRegions: cfg.MaxRegions,
		minMemory:  cfg.MinMemory,
		newUID:     cfg.NewSlotUID,
		hasRAM:     cfg.Hypervisor.HasRAM,
		cpus:       cpus{owner: make([]*slot, cfg.CPUs), threads: cfg.ThreadsPerCore},
	}
	pc := pci.Config{
		VendorID:       VendorID,
		DeviceID:       DeviceID,
		Class:          Class,
		MSIX:           pci.MSIXConfig{Vectors: Vectors, BAR: VectorBAR, Table: 0, PBA: 0x800},
		Express:        true,
		ForceBusMaster: cfg.ForceBusMaster,
		Reset:          d.reset,
	}
	pc.BARs[VectorBAR] = pci.BAR{Size: BARSize}
	pc.BARs[RegisterBAR] = pci.BAR{Size: BARSize, Handler: (*registerBAR)(d)}
	if d.fn, err = pci.New(pc); err != nil {
		return nil, fmt.Errorf("new enclaves device: %w", err)
	}
	return d, nil
}

// Function is what a transport carries. It outlives Close, as a device that
// cannot be enabled.
func (d *Device) Function() *pci.Function { return d.fn }

// A SlotStatus is a slot as the device sees it.
type SlotStatus struct {
	UID     uint64
	State   State
	CID     uint32 // 0 before the enclave started
	Debug   bool
	Regions int
	Memory  uint64 // bytes
	CPUs    []uint32
}

// Slots is all slots, in the order in which they were allocated.
func (d *Device) Slots() []SlotStatus {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make([]SlotStatus, 0, len(d.table.slots))
	for _, s := range d.table.slots {
		all = append(all, SlotStatus{
			UID:     s.uid,
			State:   s.state,
			CID:     s.cid,
			Debug:   s.flags&FlagDebug != 0,
			Regions: len(s.regions),
			Memory:  s.size,
			CPUs:    slices.Clone(s.cpus),
		})
	}
	return all
}
