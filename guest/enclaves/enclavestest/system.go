// Package enclavestest has a driver and a pool of huge pages that exist in
// memory only, with the rules and the error numbers of the Linux driver
// nitro_enclaves, so that whatever uses package enclaves can be tested without
// either.
package enclavestest

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"syscall"

	"github.com/nitrolab/nitrolab/guest/enclaves"
)

// A Config says what machine the System is.
type Config struct {
	// Pool are the CPUs for enclaves, ne_cpus. CPU n is a thread of core
	// n/ThreadsPerCore.
	Pool           []uint32
	ThreadsPerCore int // 0 is 2
	// Pages is the number of free huge pages by their size in bytes.
	Pages map[uint64]int
	// ImageOffset is where the driver says that images begin; 0 is [ImageOffset].
	ImageOffset uint64
	// MaxRegions bounds the memory regions of an enclave; 0 is no bound.
	MaxRegions int
	// Launch is the device behind the driver: it is asked to start an enclave.
	// An error, a syscall.Errno, is what NE_START_ENCLAVE fails with. Nil starts
	// everything.
	Launch func(*Enclave) error
}

// A System implements [enclaves.System]. It is safe for concurrent use.
type System struct {
	threads    int
	maxRegions int
	offset     uint64
	launch     func(*Enclave) error

	mu       sync.Mutex // protects what follows, and the state of all enclaves
	pool     []uint32
	used     map[uint32]bool
	free     map[uint64]int
	mapped   map[uint64][]byte // by address, hugetlb memory of this process
	nextAddr uint64
	nextSlot uint64
	nextCID  uint64
	closed   int // devices that were closed
	opened   int
	openErr  error
	enclaves []*Enclave
}

var _ enclaves.System = (*System)(nil)

// New makes a System.
func New(c Config) *System {
	s := &System{
		threads: cmp.Or(c.ThreadsPerCore, 2), offset: cmp.Or(c.ImageOffset, ImageOffset), maxRegions: c.MaxRegions, launch: c.Launch,
		pool: slices.Clone(c.Pool), used: make(map[uint32]bool), free: make(map[uint64]int),
		mapped: make(map[uint64][]byte), nextAddr: 1 << 40, nextSlot: 0x18a2f3c4d5e60001, nextCID: 16,
	}
	for size, n := range c.Pages {
		s.free[size] = n
	}
	return s
}

// FailOpen makes OpenDevice fail, as without a driver.
func (s *System) FailOpen(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.openErr = &os.PathError{Op: "open", Path: enclaves.DevicePath, Err: err}
}

// OpenDevice implements [enclaves.System].
func (s *System) OpenDevice() (enclaves.Device, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.openErr != nil {
		return nil, s.openErr
	}
	s.opened++
	return device{s}, nil
}

// MapPage implements [enclaves.System].
func (s *System) MapPage(size uint64) (*enclaves.Page, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.free[size] == 0 {
		return nil, fmt.Errorf("map huge page of %d MiB: %w", size>>20, syscall.ENOMEM)
	}
	s.free[size]--
	addr := s.nextAddr
	s.nextAddr += size
	b := make([]byte, size)
	s.mapped[addr] = b
	return enclaves.NewPage(b, addr, func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.mapped, addr)
		s.free[size]++
		return nil
	}), nil
}

// Enclaves are all slots that were ever taken, in their order.
func (s *System) Enclaves() []*Enclave {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.enclaves)
}

// FreePages is the number of free huge pages by their size in bytes.
func (s *System) FreePages() map[uint64]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.free)
}

// Leaks says what a caller has not given back: devices, slots, pages. It is ""
// if nothing is left.
func (s *System) Leaks() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	open := 0
	for _, e := range s.enclaves {
		if e.state != Closed {
			open++
		}
	}
	if s.opened == s.closed && open == 0 && len(s.mapped) == 0 && len(s.used) == 0 {
		return ""
	}
	return fmt.Sprintf("%d devices, %d slots, %d pages, %d CPUs", s.opened-s.closed, open, len(s.mapped), len(s.used))
}

type device struct{ s *System }

func (d device) Close() error {
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	d.s.closed++
	return nil
}

func (d device) CreateVM() (enclaves.VM, error) {
	s := d.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.used) == len(s.pool) {
		return nil, &enclaves.OpError{Op: "NE_CREATE_VM", Err: enclaves.ErrNoCPUsAvailInPool}
	}
	e := &Enclave{sys: s, slot: s.nextSlot, end: make(chan struct{})}
	s.nextSlot++
	s.enclaves = append(s.enclaves, e)
	return e, nil
}
