package virtio_test

import (
	"testing"

	"github.com/nitrolab/nitrolab/devices/virtio"
	"github.com/nitrolab/nitrolab/devices/virtio/virtiotest"
)

// cycle is the device's share of one request: a chain of three segments taken,
// returned and signalled. The driver's share is one index.
func cycle(tb testing.TB, features uint64) func() {
	tb.Helper()
	d := virtiotest.New(tb, 256, virtiotest.Features(features))
	q := d.Queue()
	head := d.Prepare([][]byte{make([]byte, 64)}, []int{4096, 4096})
	var c virtio.Chain
	return func() {
		d.Expose(head)
		if ok, err := q.Pop(&c); !ok || err != nil {
			tb.Fatal(ok, err)
		}
		if err := q.Push(c.Head, 1); err != nil {
			tb.Fatal(err)
		}
		if err := q.Notify(); err != nil {
			tb.Fatal(err)
		}
	}
}

func TestNoAllocation(t *testing.T) {
	for _, fs := range featureSets {
		t.Run(fs.name, func(t *testing.T) {
			if n := testing.AllocsPerRun(1000, cycle(t, fs.features)); n != 0 {
				t.Errorf("%v allocations per chain, want none", n)
			}
		})
	}
}

func BenchmarkPopPush(b *testing.B) {
	for _, fs := range featureSets {
		b.Run(fs.name, func(b *testing.B) {
			f := cycle(b, fs.features)
			b.ReportAllocs()
			for b.Loop() {
				f()
			}
		})
	}
}
