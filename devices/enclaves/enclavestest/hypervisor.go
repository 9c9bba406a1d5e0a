package enclavestest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"

	"github.com/nitrolab/nitrolab/devices/enclaves"
)

// firstCID is the first context id that a Hypervisor chooses; 16 is what real
// parents see first.
const firstCID = 16

// A Hypervisor implements enclaves.Hypervisor. Its methods may be called from any
// goroutine.
type Hypervisor struct {
	mu       sync.Mutex
	ram      []enclaves.Region
	onLaunch func(context.Context, enclaves.LaunchConfig) error
	onStop   func(*Enclave) error
	onScrub  func([]enclaves.Region) error
	enclaves []*Enclave
	scrubbed []enclaves.Region
	cid      uint32
	problems []error
}

var _ enclaves.Hypervisor = (*Hypervisor)(nil)

// NewHypervisor returns the hypervisor of a parent with that RAM.
func NewHypervisor(ram ...enclaves.Region) *Hypervisor {
	return &Hypervisor{ram: slices.Clone(ram), cid: firstCID}
}

// OnLaunch makes f part of each launch: it may wait, for ctx at the longest, and
// its error is that of the launch. Nil removes it.
func (h *Hypervisor) OnLaunch(f func(ctx context.Context, c enclaves.LaunchConfig) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.onLaunch = f
}

// OnStop makes f part of each stop, as OnLaunch.
func (h *Hypervisor) OnStop(f func(*Enclave) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.onStop = f
}

// OnScrub makes f part of each scrub, as OnLaunch.
func (h *Hypervisor) OnScrub(f func([]enclaves.Region) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.onScrub = f
}

// Launch implements enclaves.Hypervisor. It chooses CIDs from 16 on that no
// running enclave has, and refuses one that is asked for with EADDRINUSE.
func (h *Hypervisor) Launch(ctx context.Context, c enclaves.LaunchConfig) (enclaves.Enclave, error) {
	h.mu.Lock()
	hook := h.onLaunch
	h.mu.Unlock()
	if hook != nil {
		if err := hook(ctx, c); err != nil {
			return nil, err
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	e := &Enclave{Config: c, h: h, cid: c.CID, done: make(chan struct{})}
	for e.cid == 0 || c.CID == 0 && h.taken(e.cid) {
		e.cid = h.cid
		h.cid++
	}
	if h.taken(e.cid) {
		return nil, fmt.Errorf("launch: CID %d: %w", e.cid, syscall.EADDRINUSE)
	}
	for _, o := range h.enclaves {
		if !o.used() {
			continue
		}
		if overlap(o.Config.Memory, c.Memory) {
			h.problem("launch of slot %#x: memory is that of the enclave in slot %#x", c.SlotUID, o.Config.SlotUID)
		}
		for _, n := range c.CPUs {
			if slices.Contains(o.Config.CPUs, n) {
				h.problem("launch of slot %#x: CPU %d is that of the enclave in slot %#x", c.SlotUID, n, o.Config.SlotUID)
			}
		}
	}
	h.enclaves = append(h.enclaves, e)
	return e, nil
}

// taken reports whether a running enclave has that CID. Locked.
func (h *Hypervisor) taken(cid uint32) bool {
	return slices.ContainsFunc(h.enclaves, func(e *Enclave) bool { return e.cid == cid && !e.ended() })
}

// Scrub implements enclaves.Hypervisor.
func (h *Hypervisor) Scrub(regions []enclaves.Region) error {
	h.mu.Lock()
	hook := h.onScrub
	h.mu.Unlock()
	if hook != nil {
		if err := hook(regions); err != nil {
			return err
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.enclaves {
		if e.used() && overlap(e.Config.Memory, regions) {
			h.problem("scrub: the enclave in slot %#x was not stopped", e.Config.SlotUID)
		}
	}
	h.scrubbed = append(h.scrubbed, regions...)
	return nil
}

// HasRAM implements enclaves.Hypervisor. A region has to lie in one piece of the
// RAM.
func (h *Hypervisor) HasRAM(r enclaves.Region) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.ContainsFunc(h.ram, func(m enclaves.Region) bool {
		return r.Addr >= m.Addr && r.Addr-m.Addr <= m.Size && r.Size <= m.Size-(r.Addr-m.Addr)
	})
}

// Enclaves is all enclaves that were ever launched, in order.
func (h *Hypervisor) Enclaves() []*Enclave {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.enclaves)
}

// Enclave is the one launched last with that CID, or nil.
func (h *Hypervisor) Enclave(cid uint64) *Enclave {
	all := h.Enclaves()
	for _, e := range slices.Backward(all) {
		if uint64(e.cid) == cid {
			return e
		}
	}
	return nil
}

// Scrubbed is all regions that were ever scrubbed, in order.
func (h *Hypervisor) Scrubbed() []enclaves.Region {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.scrubbed)
}

// Err is everything that the device did and must never do: memory or CPUs given
// to two enclaves, memory scrubbed while in use, an enclave stopped twice, and at
// the end, if final, enclaves that were not stopped.
func (h *Hypervisor) Err(final bool) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	problems := slices.Clone(h.problems)
	for _, e := range h.enclaves {
		if final && e.used() {
			problems = append(problems, fmt.Errorf("the enclave in slot %#x was not stopped", e.Config.SlotUID))
		}
	}
	return errors.Join(problems...)
}

// problem is kept for Err. Locked.
func (h *Hypervisor) problem(format string, args ...any) {
	h.problems = append(h.problems, fmt.Errorf(format, args...))
}

// overlap reports whether any region of a shares a byte with one of b. Regions do
// not wrap around.
func overlap(a, b []enclaves.Region) bool {
	for _, x := range a {
		for _, y := range b {
			if x.Addr < y.Addr+y.Size && y.Addr < x.Addr+x.Size {
				return true
			}
		}
	}
	return false
}
