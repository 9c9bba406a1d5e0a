package enclaves

import "context"

// A Region is a range of the parent's RAM: guest-physical address and size,
// both in bytes. The device hands out only regions that are aligned to
// [Granule], do not wrap around and overlap no other donated region.
type Region struct{ Addr, Size uint64 }

// A Hypervisor runs the enclaves of one parent.
type Hypervisor interface {
	// Launch starts an enclave from donated memory, in which the image lies
	// as [ImageReader] reads it. It is called on a goroutine of its own, and
	// returns when the machine runs, which need not have booted; the driver
	// gives up after 120 s. It returns soon after ctx ends.
	//
	// An error is reported to the driver as the errno that it wraps, see
	// [Errno]. The slot then stays as it was, so that the driver may try
	// again.
	Launch(ctx context.Context, e LaunchConfig) (Enclave, error)

	// Scrub zeroes the regions, in the order in which they were donated. It
	// is called when no enclave uses them and before the parent hears that
	// they are its own again. After an error the device keeps them.
	Scrub(regions []Region) error

	// HasRAM reports whether all of r, which is aligned and does not wrap
	// around, is RAM of the parent. It must not block, as the parent's CPU waits
	// in a register write, nor call the Device.
	HasRAM(r Region) bool
}

// A LaunchConfig is what an enclave is started with.
type LaunchConfig struct {
	SlotUID uint64
	CID     uint32   // at least 4, not 0xffffffff; 0 lets the hypervisor choose such a one
	Debug   bool     // debug mode
	Memory  []Region // in the order of SLOT_ADD_MEM
	CPUs    []uint32 // parent's CPU numbers, in the order in which they were added
}

// An Enclave is one that runs or ran. Its methods may be called from any
// goroutine.
type Enclave interface {
	// CID is its context id, the same for all its life.
	CID() uint32

	// Done is closed when it has ended, whatever the reason. Another may then
	// have its CID; memory and CPUs stay as they are until Stop.
	Done() <-chan struct{}

	// Stop ends it, waits until it is gone and frees what it used. The device
	// calls it for each enclave, also for one that ended by itself, and again
	// only if it failed.
	Stop() error
}
