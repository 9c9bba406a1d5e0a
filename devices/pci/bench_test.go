package pci_test

import (
	"testing"

	"github.com/nitrolab/nitrolab/devices/pci"
	"github.com/nitrolab/nitrolab/devices/pci/pcitest"
)

func benchFunction(b *testing.B) (*pci.Function, *pcitest.Bus) {
	cfg := everything()
	cfg.BARs[0].Handler = &ram{mem: make([]byte, 1<<14)}
	f, bus := start(b, cfg)
	bus.Mem().Map(0x1000, make([]byte, 1<<16))
	bus.Quiet()
	return f, bus
}

func BenchmarkInterrupt(b *testing.B) {
	kinds := []struct {
		name   string
		enable func(*pcitest.Bus)
	}{
		{"MSIX", func(b *pcitest.Bus) { b.EnableMSIX() }},
		{"MSI", func(b *pcitest.Bus) { b.EnableMSI(3) }},
		{"INTx", func(*pcitest.Bus) {}},
	}
	for _, k := range kinds {
		b.Run(k.name, func(b *testing.B) {
			f, bus := benchFunction(b)
			k.enable(bus)
			b.ReportAllocs()
			for b.Loop() {
				if !f.Interrupt(3) {
					b.Fatal("not delivered")
				}
				if k.name == "INTx" {
					f.SetINTx(false)
				}
			}
		})
	}
	b.Run("pending", func(b *testing.B) {
		f, bus := benchFunction(b)
		bus.EnableMSIX()
		bus.Mask(pci.MSIX, 3, true)
		b.ReportAllocs()
		for b.Loop() {
			if f.Interrupt(3) {
				b.Fatal("delivered")
			}
		}
	})
}

func BenchmarkReadBAR(b *testing.B) {
	f, _ := benchFunction(b)
	p := make([]byte, 4)
	b.ReportAllocs()
	for b.Loop() {
		if err := f.ReadBAR(0, 0x40, p); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWriteBAR(b *testing.B) {
	f, _ := benchFunction(b)
	p := make([]byte, 4)
	b.ReportAllocs()
	for b.Loop() {
		if err := f.WriteBAR(0, 0x40, p); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkConfig(b *testing.B) {
	f, _ := benchFunction(b)
	p := []byte{7, 0}
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := f.ReadConfig(4, p); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("write", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := f.WriteConfig(4, p); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkDMA(b *testing.B) {
	f, _ := benchFunction(b)
	dma := f.DMA()
	for _, n := range []int{64, 4096, 65536} {
		p := make([]byte, n)
		for name, call := range map[string]func(uint64, []byte) error{"read": dma.Read, "write": dma.Write} {
			b.Run(name+"/"+sizeName(n), func(b *testing.B) {
				b.SetBytes(int64(n))
				b.ReportAllocs()
				for b.Loop() {
					if err := call(0x1000, p); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func sizeName(n int) string {
	switch n {
	case 64:
		return "64B"
	case 4096:
		return "4KiB"
	}
	return "64KiB"
}
