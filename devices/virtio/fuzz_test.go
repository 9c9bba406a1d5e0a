package virtio_test

import (
	"testing"

	"github.com/nitrolab/nitrolab/devices/guestmem"
	"github.com/nitrolab/nitrolab/devices/virtio"
	"github.com/nitrolab/nitrolab/devices/virtio/virtiotest"
)

// FuzzQueue pops, pushes and unpops over memory of any content. Nothing may
// panic or loop. (That a segment lies in the memory is Go's own bounds check.)
func FuzzQueue(f *testing.F) {
	const (
		memory    = 16 << 10 // more than the largest ring, of 256
		ringBytes = 8
	)
	const all = virtio.FeatureVersion1 | virtio.FeatureIndirectDesc | virtio.FeatureEventIdx
	// Four descriptors at 0, the available ring at 64: a chain of three, and
	// a table that names itself.
	mem := make([]byte, 64+ringBytes)
	setDesc(mem, 0, virtiotest.Base+0x1000, 7, fNext, 1)
	setDesc(mem, 1, virtiotest.Base+0x1100, 100, fNext|fWrite, 2)
	setDesc(mem, 2, virtiotest.Base+0x1200, 100, fWrite, 0)
	setDesc(mem, 3, virtiotest.Base, 64, fIndirect, 0)
	copy(mem[64:], []byte{0, 0, 2, 0, 0, 0, 3, 0})
	for _, fs := range featureSets {
		f.Add(uint8(2), fs.features, uint16(0), mem)
		f.Add(uint8(2), fs.features, uint16(1), mem)
	}
	f.Add(uint8(5), uint64(all), uint16(0xffff), []byte{})

	f.Fuzz(func(t *testing.T, order uint8, features uint64, next uint16, content []byte) {
		mem := make([]byte, memory)
		copy(mem, content)
		n := 1 << (order % 9)
		a := virtio.DescBytes(n)
		u := (a + virtio.AvailBytes(n, features) + 3) &^ 3
		q, err := virtio.NewQueue(virtio.QueueConfig{
			Size: n, Desc: mem[:a], Avail: mem[a : a+virtio.AvailBytes(n, features)],
			Used:   mem[u : u+virtio.UsedBytes(n, features)],
			Memory: guestmem.FromBytes(virtiotest.Base, mem), Features: features, Next: next,
		})
		if err != nil {
			t.Fatal(err)
		}
		var c virtio.Chain
		for pops := 0; ; pops++ {
			ok, err := q.Pop(&c)
			if err != nil || !ok {
				break
			}
			// The used ring is memory too, so a buffer may be the available
			// ring; the device below writes no buffer, hence the bound.
			if pops == n {
				t.Fatalf("more than %d chains from one available index", n)
			}
			if len(c.Out)+len(c.In) == 0 || len(c.Out)+len(c.In) > virtio.MaxSegments {
				t.Fatalf("%d segments", len(c.Out)+len(c.In))
			}
			for _, s := range append(append([][]byte{}, c.Out...), c.In...) {
				if cap(s) > memory {
					t.Fatalf("segment of %d bytes in memory of %d", cap(s), memory)
				}
			}
			if q.Held() > n {
				t.Fatalf("%d chains held", q.Held())
			}
			switch pops % 3 {
			case 0:
				if err := q.Unpop(c.Head); err != nil {
					t.Fatal(err)
				}
				if ok, err := q.Pop(&c); !ok || err != nil {
					t.Fatalf("Pop after Unpop = %v, %v", ok, err)
				}
			case 1:
				if err := q.Push(c.Head, uint32(c.InLen())); err != nil {
					t.Fatal(err)
				}
			}
			if err := q.Notify(); err != nil {
				t.Fatal(err)
			}
		}
	})
}
