package enclaves

import (
	"context"
	"io"
)

// DevicePath is the file of the driver.
const DevicePath = "/dev/nitro_enclaves"

// Values of uapi/linux/nitro_enclaves.h, and limits of the driver.
const (
	// EIFImage is the only flag of [VM.ImageLoadInfo], NE_EIF_IMAGE.
	EIFImage uint64 = 1
	// DebugMode is the only flag of [VM.Start], NE_ENCLAVE_DEBUG_MODE.
	DebugMode uint64 = 1
	// DefaultMemoryRegion are the flags of [VM.SetUserMemoryRegion].
	DefaultMemoryRegion uint64 = 0

	// MinMemory is what an enclave has at least, in bytes.
	MinMemory = 64 << 20
	// RegionAlignment is what address and size of a region are multiples of.
	RegionAlignment = 2 << 20
)

// A System is what starting an enclave takes from the operating system. [Linux]
// is the real one.
type System interface {
	// OpenDevice opens the driver's file. An error is that of the open.
	OpenDevice() (Device, error)
	// MapPage maps one zeroed huge page of size bytes, which is one of
	// [PageSizes]. It fails if there is no free page of that size.
	MapPage(size uint64) (*Page, error)
}

// A Device is the driver, opened.
type Device interface {
	// CreateVM takes a slot (NE_CREATE_VM). The VM does not need the Device to
	// stay open.
	CreateVM() (VM, error)
	io.Closer
}

// A MemoryRegion is struct ne_user_memory_region.
type MemoryRegion struct {
	Flags uint64 // [DefaultMemoryRegion]
	Size  uint64 // bytes
	Addr  uint64 // in this process
}

// A StartInfo is struct ne_enclave_start_info.
type StartInfo struct {
	Flags uint64 // [DebugMode] or 0
	// CID is the wanted one, 0 for any; and the one that the enclave got.
	CID uint64
}

// A VM is one slot with the enclave in it. Its methods are the ioctls of the
// enclave's descriptor; errors are [*OpError]. Close may be called while another
// method runs.
type VM interface {
	// SlotUID is the slot's number, unique on the host and never 0.
	SlotUID() uint64
	// AddVCPU gives the enclave a CPU of the pool, any free one for id 0, and
	// returns its id (NE_ADD_VCPU).
	AddVCPU(id uint32) (uint32, error)
	// ImageLoadInfo is where in the enclave's memory the image of the kind
	// flags begins, in bytes (NE_GET_IMAGE_LOAD_INFO).
	ImageLoadInfo(flags uint64) (offset uint64, err error)
	// SetUserMemoryRegion gives the enclave memory (NE_SET_USER_MEMORY_REGION).
	// Regions lie in the enclave's memory in the order of the calls.
	SetUserMemoryRegion(MemoryRegion) error
	// Start starts the enclave (NE_START_ENCLAVE). It returns when the machine
	// runs, long before the system in it does.
	Start(StartInfo) (StartInfo, error)
	// Wait returns nil once the enclave has ended by itself, or the cause of
	// the end of ctx. One call at a time; what was started must be closed
	// nevertheless.
	Wait(ctx context.Context) error
	// Close ends the enclave if it runs and gives its slot, CPUs and memory
	// back. It waits for the device, two minutes at most.
	io.Closer
}

// A Page is one mapped huge page.
type Page struct {
	// Bytes is its memory. Once the page is donated the content is no longer
	// that of the enclave.
	Bytes []byte
	// Addr is the address of Bytes.
	Addr  uint64
	unmap func() error
}

// NewPage makes a page that unmap frees; for implementations of [System].
func NewPage(b []byte, addr uint64, unmap func() error) *Page {
	return &Page{Bytes: b, Addr: addr, unmap: unmap}
}

// Unmap frees the page. The Page must not be used afterwards; a second call does
// nothing.
func (p *Page) Unmap() error {
	unmap := p.unmap
	if unmap == nil {
		return nil
	}
	p.Bytes, p.unmap = nil, nil
	return unmap()
}
