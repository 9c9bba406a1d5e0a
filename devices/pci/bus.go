package pci

// An InterruptKind is one of the ways in which a function interrupts.
type InterruptKind uint8

// The kinds, numbered as in VFIO (VFIO_PCI_INTX_IRQ_INDEX and so on).
const (
	INTx InterruptKind = iota
	MSI
	MSIX
)

// A Bus is what a transport offers to the [Function] that it carries. Its
// methods may be called from any goroutine.
type Bus interface {
	// Interrupt delivers message number vector of MSI or MSI-X, or asserts the
	// INTx line once (vector 0). False: nobody takes it now, because the driver
	// has not enabled that vector.
	Interrupt(kind InterruptKind, vector int) bool

	// Memory is what the IOMMU lets the function reach.
	Memory() Memory
}

// A Memory is the DMA window of a function: bus addresses (IOVA) that the guest
// mapped for it. Ranges may straddle mappings. Any error means that nothing of
// the range can be relied upon; a range that is not wholly mapped, or not with
// that permission, is a *guestmem.AddressError.
type Memory interface {
	// Read copies len(p) bytes from the guest.
	Read(iova uint64, p []byte) error

	// Write copies p to the guest.
	Write(iova uint64, p []byte) error

	// View calls f with the n bytes at iova as they lie in this process, in one
	// or more segments, without copying. Until f returns the range stays mapped
	// and an unmap by the guest waits. f must not block. The guest may change
	// the bytes at any time.
	View(iova uint64, n int, write bool, f func(segments [][]byte) error) error
}
