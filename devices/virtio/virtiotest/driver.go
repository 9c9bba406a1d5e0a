// Package virtiotest plays the driver's side of a split virtqueue over
// ordinary memory, so that device models are tested without a guest.
package virtiotest

import (
	"encoding/binary"
	"sync/atomic"
	"testing"

	"github.com/nitrolab/nitrolab/devices/guestmem"
	"github.com/nitrolab/nitrolab/devices/virtio"
)

// Base is the guest-physical address of a driver's memory unless Over says
// otherwise. It is not zero, so that a forgotten translation shows.
const Base uint64 = 0x4000_0000

// arena is the memory of a driver in bytes, unless Over gives some: enough for
// a queue of 256 buffers of 64 KiB and the largest ring.
const arena = 20 << 20

// An Option changes what New makes.
type Option func(*Driver)

// Features sets the negotiated features. By default there are none, which is
// what a legacy driver without indirect descriptors negotiates. With
// INDIRECT_DESC, Add puts chains of more than one descriptor into a table.
func Features(f uint64) Option { return func(d *Driver) { d.features = f } }

// Over puts rings and buffers into mem, which the device sees at gpa, a
// multiple of 4096. The caller resolves addresses, so Queue may not be used
// unless gpa is what a Memory made of mem would have.
func Over(mem []byte, gpa uint64) Option {
	return func(d *Driver) { d.mem, d.base = mem, gpa }
}

// A Driver owns one queue and its buffers. Its methods are for one goroutine,
// except Interrupts and Interrupted; the device may run in another one.
type Driver struct {
	t        testing.TB
	size     int
	features uint64
	base     uint64 // guest-physical address of mem[0]
	mem      []byte
	next     int           // offset in mem of memory that never was a buffer
	spare    map[int][]int // offsets of returned buffers, by size

	rings Rings
	queue *virtio.Queue

	free   []uint16          // descriptors not in use
	chains map[uint16]*chain // by head
	avail  uint16            // avail.idx
	seen   uint16            // used.idx up to which Used has returned elements
	noIntr bool

	interrupts atomic.Int64
	interrupt  chan struct{}
}

// Rings are the offsets of the parts of the ring from the driver's memory and
// their contents. A hostile test writes to them what it likes.
type Rings struct {
	DescOffset, AvailOffset, UsedOffset int
	Desc, Avail, Used                   []byte
}

// A chain is what one head stands for.
type chain struct {
	descs  []uint16
	in     [][]byte
	blocks []block
}

// A block is a piece of the driver's memory.
type block struct{ at, size int }

// New returns a driver with a queue of the given size, a power of two.
func New(t testing.TB, size int, opts ...Option) *Driver {
	t.Helper()
	d := &Driver{t: t, size: size, base: Base, chains: map[uint16]*chain{}, spare: map[int][]int{}, interrupt: make(chan struct{}, 1)}
	for _, o := range opts {
		o(d)
	}
	if d.mem == nil {
		d.mem = make([]byte, arena)
	}
	// The layout of a legacy driver: table and available ring together, the
	// used ring on the next page.
	a := virtio.DescBytes(size)
	u := (a + virtio.AvailBytes(size, d.features) + 4095) &^ 4095
	d.next = (u + virtio.UsedBytes(size, d.features) + 4095) &^ 4095
	if d.next > len(d.mem) {
		t.Fatalf("virtiotest: memory of %d bytes is too small for a queue of %d", len(d.mem), size)
	}
	d.rings = Rings{
		DescOffset: 0, AvailOffset: a, UsedOffset: u,
		Desc:  d.mem[0:a:a],
		Avail: d.mem[a : a+virtio.AvailBytes(size, d.features)],
		Used:  d.mem[u : u+virtio.UsedBytes(size, d.features)],
	}
	for i := size - 1; i >= 0; i-- {
		d.free = append(d.free, uint16(i))
	}
	return d
}

// Queue is the device's side. It is the same queue at every call.
func (d *Driver) Queue() *virtio.Queue {
	d.t.Helper()
	if d.queue == nil {
		d.Restart(0)
	}
	return d.queue
}

// Restart makes a new device side that begins at available index next, as a
// transport does after a stop.
func (d *Driver) Restart(next uint16) *virtio.Queue {
	d.t.Helper()
	q, err := virtio.NewQueue(virtio.QueueConfig{
		Size: d.size,
		Desc: d.rings.Desc, Avail: d.rings.Avail, Used: d.rings.Used,
		Memory:    guestmem.FromBytes(d.base, d.mem),
		Features:  d.features,
		Next:      next,
		Interrupt: d.raise,
	})
	if err != nil {
		d.t.Fatalf("virtiotest: %v", err)
	}
	d.queue = q
	return q
}

func (d *Driver) raise() error {
	d.interrupts.Add(1)
	select {
	case d.interrupt <- struct{}{}:
	default:
	}
	return nil
}

// Interrupts is the number of interrupts so far.
func (d *Driver) Interrupts() int { return int(d.interrupts.Load()) }

// Interrupted is ready to receive after an interrupt; several interrupts make
// it ready once. For tests whose device runs in another goroutine.
func (d *Driver) Interrupted() <-chan struct{} { return d.interrupt }

// Rings gives access to the raw ring.
func (d *Driver) Rings() Rings { return d.rings }

// SuppressInterrupts sets or clears the available ring's NO_INTERRUPT flag,
// which means something without EVENT_IDX only.
func (d *Driver) SuppressInterrupts(on bool) {
	d.noIntr = on
	d.storeAvail()
}

// WantsKick reports whether the device asked to be notified of chains added
// since available index old (virtio 1.2, 2.7.10).
func (d *Driver) WantsKick(old uint16) bool {
	if d.features&virtio.FeatureEventIdx == 0 {
		return guestmem.LoadAcquire(d.rings.Used, 0)&1 == 0
	}
	guestmem.LoadAcquire(d.rings.Used, 0)
	event := guestmem.Load16(d.rings.Used, 4+8*d.size)
	return d.avail-event-1 < d.avail-old
}

// Avail is the available index.
func (d *Driver) Avail() uint16 { return d.avail }

// Add makes one chain available: the contents of out as device-readable
// buffers, then device-writable ones of the lengths in. It does not notify.
func (d *Driver) Add(out [][]byte, in []int) (head uint16) {
	d.t.Helper()
	head = d.Prepare(out, in)
	d.Expose(head)
	return head
}

// Prepare is Add without making the chain available, for tests that spoil it
// first.
func (d *Driver) Prepare(out [][]byte, in []int) (head uint16) {
	d.t.Helper()
	n := len(out) + len(in)
	if n == 0 {
		d.t.Fatal("virtiotest: chain without buffers")
	}
	c := &chain{}
	var descs []desc
	for _, b := range out {
		mem, addr := d.alloc(c, len(b))
		copy(mem, b)
		descs = append(descs, desc{addr: addr, len: uint32(len(b))})
	}
	for _, l := range in {
		mem, addr := d.alloc(c, l)
		clear(mem)
		c.in = append(c.in, mem)
		descs = append(descs, desc{addr: addr, len: uint32(l), flags: descWrite})
	}
	if n > 1 && d.features&virtio.FeatureIndirectDesc != 0 {
		table, addr := d.alloc(c, descSize*n)
		for i := range descs {
			descs[i].put(table, i, i+1, i+1 == n)
		}
		descs = []desc{{addr: addr, len: uint32(len(table)), flags: descIndirect}}
	}
	if len(descs) > len(d.free) {
		d.t.Fatalf("virtiotest: queue full: %d descriptors wanted, %d free", len(descs), len(d.free))
	}
	for range descs {
		c.descs = append(c.descs, d.free[len(d.free)-1])
		d.free = d.free[:len(d.free)-1]
	}
	for i, x := range descs {
		last := i+1 == len(descs)
		next := 0
		if !last {
			next = int(c.descs[i+1])
		}
		x.put(d.rings.Desc, int(c.descs[i]), next, last)
	}
	d.chains[c.descs[0]] = c
	return c.descs[0]
}

// Expose puts head on the available ring, whether Prepare made it or not.
func (d *Driver) Expose(head uint16) {
	entry := 4 + 2*(int(d.avail)&(d.size-1))
	binary.LittleEndian.PutUint16(d.rings.Avail[entry:], head)
	d.avail++
	d.storeAvail()
}

// SetAvail sets avail.idx to whatever idx.
func (d *Driver) SetAvail(idx uint16) {
	d.avail = idx
	d.storeAvail()
}

func (d *Driver) storeAvail() {
	v := uint32(d.avail) << 16
	if d.noIntr {
		v |= 1
	}
	guestmem.StoreRelease(d.rings.Avail, 0, v)
}

// alloc returns n bytes of memory and their guest-physical address. They
// belong to c until the device returns it.
func (d *Driver) alloc(c *chain, n int) ([]byte, uint64) {
	d.t.Helper()
	size := (n + 15) &^ 15
	at := d.next
	if s := d.spare[size]; len(s) > 0 {
		at, d.spare[size] = s[len(s)-1], s[:len(s)-1]
	} else if d.next += size; d.next > len(d.mem) {
		d.t.Fatalf("virtiotest: no memory for a buffer of %d bytes", n)
	}
	c.blocks = append(c.blocks, block{at, size})
	return d.mem[at : at+n : at+n], d.base + uint64(at)
}

// release takes back what c occupies.
func (d *Driver) release(head uint16, c *chain) {
	d.free = append(d.free, c.descs...)
	for _, b := range c.blocks {
		d.spare[b.size] = append(d.spare[b.size], b.at)
	}
	delete(d.chains, head)
}
