package pci_test

import (
	"bytes"
	"sync"
	"testing"

	"github.com/nitrolab/nitrolab/devices/pci"
)

// everything is a function with all that a function can have.
func everything() pci.Config {
	return pci.Config{
		VendorID: 0x1d0f, DeviceID: 0xabcd, SubsystemVendorID: 0x1234, SubsystemID: 0x5678,
		Class: 0x120001, Revision: 0x42,
		BARs: [6]pci.BAR{
			0: {Size: 1 << 14},
			1: {Size: 64, IO: true},
			2: {Size: 1 << 33, Is64: true, Prefetchable: true},
			4: {Size: 1 << 12, Is64: true},
		},
		INTx:            true,
		MSI:             pci.MSIConfig{Vectors: 8, Masking: true},
		MSIX:            pci.MSIXConfig{Vectors: 70, BAR: 4, Table: 0, PBA: 0x800},
		Express:         true,
		Link:            pci.Link{Speed: 5, Width: 16},
		PowerManagement: true,
		Capabilities: []pci.Capability{
			pci.VendorCapability([]byte{1, 2, 3, 4, 5}),
			{ID: 0x0d, Offset: 0xf0, Data: []byte{0xaa, 0xbb}, Writable: []byte{0x0f}},
		},
		Extended: []pci.ExtendedCapability{
			pci.SerialNumber(0x0123456789abcdef),
			pci.DVSEC{VendorID: 0x1d0f, ID: 0x7, Revision: 3, Data: []byte{0x50, 0x01, 9, 9, 9, 9}, Writable: []byte{0, 0, 0xff}},
			&pci.DOE{Offset: 0x150, Interrupt: true, Vector: 5, Protocols: []pci.DOEProtocol{echo(1), echo(2)}},
			pci.RawExtended{ID: 0x1b, Version: 2, Data: make([]byte, 8), Writable: []byte{0, 0, 1}},
		},
	}
}

// echo answers data objects of a PCI-SIG type with themselves.
func echo(kind uint8) pci.DOEProtocol {
	return pci.DOEProtocol{Vendor: pci.DOEVendorPCISIG, Type: kind, Handle: func(x *pci.Exchange) { _ = x.Respond(x.Request) }}
}

func newFunction(t testing.TB, cfg pci.Config) *pci.Function {
	t.Helper()
	f, err := pci.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// readAll returns the whole configuration space, as QEMU reads it.
func readAll(t testing.TB, f *pci.Function) []byte {
	t.Helper()
	p := make([]byte, f.ConfigSize())
	if err := f.ReadConfig(0, p); err != nil {
		t.Fatal(err)
	}
	return p
}

// An access is one call of a Handler.
type access struct {
	Write bool
	Off   uint64
	Data  []byte
}

// A ram is a Handler that stores and, if recording, remembers accesses.
type ram struct {
	mu       sync.Mutex
	mem      []byte
	record   bool
	accesses []access
}

func (r *ram) ReadBAR(off uint64, p []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	copy(p, r.mem[off:])
	if r.record {
		r.accesses = append(r.accesses, access{false, off, bytes.Clone(p)})
	}
}

func (r *ram) WriteBAR(off uint64, p []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	copy(r.mem[off:], p)
	if r.record {
		r.accesses = append(r.accesses, access{true, off, bytes.Clone(p)})
	}
}
