package vfiouser_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nitrolab/nitrolab/devices/vfiouser/vfiousertest"
)

// BenchmarkRead is the round trip of a register read.
func BenchmarkRead(b *testing.B) {
	for _, n := range []int{4, 4096} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			c := vfiousertest.Attach(b, newDevice(b, nil).f, nil)
			p := make([]byte, n)
			times := make([]time.Duration, 0, 1<<20)
			b.ReportAllocs()
			for b.Loop() {
				start := time.Now()
				if errno := c.Read(0, 0, p); errno != 0 {
					b.Fatal(errno)
				}
				if len(times) < cap(times) {
					times = append(times, time.Since(start))
				}
			}
			b.StopTimer()
			slices.Sort(times)
			for _, p := range []int{0, 50, 99} {
				b.ReportMetric(float64(times[(len(times)-1)*p/100].Nanoseconds())/1000, fmt.Sprintf("p%d-us", p))
			}
		})
	}
}

// BenchmarkPost is a posted write with its share of draining: the last is followed by
// a read.
func BenchmarkPost(b *testing.B) {
	d := newDevice(b, nil)
	c := vfiousertest.Attach(b, d.f, nil)
	p := []byte{1, 2, 3, 4}
	before := d.writes.Load()
	b.ReportAllocs()
	n := uint64(0)
	for b.Loop() {
		c.Post(0, regScratch, p)
		n++
	}
	c.Sync()
	b.StopTimer()
	if got := d.writes.Load() - before; got != n {
		b.Fatalf("%d writes arrived, want %d", got, n)
	}
}

// BenchmarkPostMulti is one of 200 writes in a message, drained.
func BenchmarkPostMulti(b *testing.B) {
	d := newDevice(b, nil)
	c := vfiousertest.Attach(b, d.f, nil)
	writes := slices.Repeat([]vfiousertest.PostedWrite{{Region: 0, Off: regScratch, Data: []byte{1, 2, 3, 4}}}, 200)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%len(writes) == 0 {
			c.PostMulti(writes)
		}
	}
	c.Sync()
}

// BenchmarkInterrupt is from the device's call to the client that waits for it.
func BenchmarkInterrupt(b *testing.B) {
	d := newDevice(b, nil)
	c := vfiousertest.Attach(b, d.f, nil)
	event := c.EnableMSIX(1)[0]
	b.Run("delivery", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if !d.f.Interrupt(0) {
				b.Fatal("not delivered")
			}
			event.Wait()
		}
	})
	b.Run("doorbell to interrupt", func(b *testing.B) {
		b.ReportAllocs()
		p := []byte{0, 0, 0, 0}
		for b.Loop() {
			c.Post(0, regRaise, p)
			event.Wait()
		}
	})
}

// BenchmarkDMA copies between the function and guest memory, as the device sees it.
func BenchmarkDMA(b *testing.B) {
	d := newDevice(b, nil)
	c := vfiousertest.Attach(b, d.f, nil)
	ram := vfiousertest.NewRAM(b, 64<<20)
	c.MapAll(ram, 0)
	for _, n := range []int{64, 4096, 1 << 20} {
		p := make([]byte, n)
		run := func(name string, f func(iova uint64) error) {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				b.SetBytes(int64(n))
				b.ReportAllocs()
				iova := uint64(0)
				for b.Loop() {
					if err := f(iova); err != nil {
						b.Fatal(err)
					}
					iova = (iova + uint64(n)) % uint64(len(ram.Bytes))
				}
			})
		}
		run("read", func(iova uint64) error { return d.f.DMA().Read(iova, p) })
		run("write", func(iova uint64) error { return d.f.DMA().Write(iova, p) })
		copyOut := func(s [][]byte) error {
			at := 0
			for _, b := range s {
				at += copy(p[at:], b)
			}
			return nil
		}
		run("view", func(iova uint64) error { return d.f.DMA().View(iova, n, false, copyOut) })
	}
}

// BenchmarkMap is DMA_MAP and DMA_UNMAP of one page, as an IOMMU makes them.
func BenchmarkMap(b *testing.B) {
	c := vfiousertest.Attach(b, newDevice(b, nil).f, nil)
	ram := vfiousertest.NewRAM(b, 1<<20)
	b.ReportAllocs()
	for b.Loop() {
		c.Map(ram, 0xfff00000, 4096, 0x1000, 3)
		c.Unmap(0xfff00000, 4096)
	}
}
