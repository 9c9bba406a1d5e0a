package pcitest

import (
	"context"
	"slices"
	"sync"
	"testing"

	"github.com/nitrolab/nitrolab/devices/pci"
)

// A Bus carries one function. Its methods fail the test where a driver's access
// would be outside the function; they are for the test's goroutine, except for
// those that pci.Bus has.
type Bus struct {
	t testing.TB
	f *pci.Function
	m *Memory

	mu      sync.Mutex
	masked  map[Vector]bool
	counts  map[Vector]int
	order   []Vector
	changed chan struct{} // closed at the next interrupt
	record  bool
}

// A Vector is one interrupt.
type Vector struct {
	Kind   pci.InterruptKind
	Number int
}

// New attaches f to a new Bus until the test ends. Nothing is enabled yet and no
// memory is mapped.
func New(t testing.TB, f *pci.Function) *Bus {
	t.Helper()
	b := &Bus{
		t: t, f: f, m: &Memory{}, record: true,
		masked: map[Vector]bool{}, counts: map[Vector]int{}, changed: make(chan struct{}),
	}
	if err := f.Attach(b); err != nil {
		t.Fatalf("pcitest: %v", err)
	}
	t.Cleanup(f.Detach)
	return b
}

// Mem is the memory that the function reaches.
func (b *Bus) Mem() *Memory { return b.m }

// Memory implements pci.Bus.
func (b *Bus) Memory() pci.Memory { return b.m }

// Interrupt implements pci.Bus. It refuses vectors that are masked with Mask.
func (b *Bus) Interrupt(kind pci.InterruptKind, vector int) bool {
	v := Vector{kind, vector}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.masked[v] {
		return false
	}
	b.counts[v]++
	if b.record {
		b.order = append(b.order, v)
		close(b.changed)
		b.changed = make(chan struct{})
	}
	return true
}

// Mask makes the Bus refuse a vector, as if nobody had said yet where it goes, or
// take it again.
func (b *Bus) Mask(kind pci.InterruptKind, vector int, refuse bool) {
	b.mu.Lock()
	b.masked[Vector{kind, vector}] = refuse
	b.mu.Unlock()
	if !refuse {
		b.f.Unmasked(kind, vector, 1)
	}
}

// Count is how often a vector was delivered.
func (b *Bus) Count(kind pci.InterruptKind, vector int) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.counts[Vector{kind, vector}]
}

// Delivered returns the vectors delivered since the last call, in their order.
func (b *Bus) Delivered() []Vector {
	b.mu.Lock()
	defer b.mu.Unlock()
	order := b.order
	b.order = nil
	return slices.Clip(order)
}

// Wait returns when a vector was delivered n times in all, or fails the test when
// ctx ends.
func (b *Bus) Wait(ctx context.Context, kind pci.InterruptKind, vector, n int) {
	b.t.Helper()
	for {
		b.mu.Lock()
		count, changed := b.counts[Vector{kind, vector}], b.changed
		b.mu.Unlock()
		if count >= n {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			b.t.Fatalf("pcitest: interrupt %d of kind %d came %d times, want %d: %v", vector, kind, count, n, ctx.Err())
		}
	}
}

// Quiet stops the record that Delivered and Wait are made of, so that an interrupt
// allocates nothing: for benchmarks.
func (b *Bus) Quiet() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.record = false
}

// Function is what the Bus carries.
func (b *Bus) Function() *pci.Function { return b.f }
