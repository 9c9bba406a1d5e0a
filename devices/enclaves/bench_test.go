package enclaves_test

import (
	"encoding/binary"
	"io"
	"testing"

	"github.com/nitrolab/nitrolab/devices/enclaves"
	"github.com/nitrolab/nitrolab/devices/enclaves/enclavestest"
	"github.com/nitrolab/nitrolab/devices/pci/pcitest"
)

// BenchmarkCommand is one command from the register writes to the reply, as the
// driver does them, without a transport.
func BenchmarkCommand(b *testing.B) {
	for _, c := range []enclaves.Command{enclaves.SlotInfo, enclaves.SlotCount} {
		b.Run(c.String(), func(b *testing.B) {
			dev, err := enclaves.New(enclaves.Config{Hypervisor: enclavestest.NewHypervisor(ram...), CPUs: 4})
			if err != nil {
				b.Fatal(err)
			}
			defer dev.Close()
			p := pcitest.New(b, dev.Function())
			p.Enable()
			p.EnableMSIX()
			p.Quiet()
			p.WriteBAR(3, enclaves.RegVersion, 2, 1)
			p.WriteBAR(3, enclaves.RegEnable, 1, 1)
			p.Write32(3, enclaves.RegCommand, uint32(enclaves.SlotAlloc))
			request := binary.LittleEndian.AppendUint64(nil, p.Read64(3, enclaves.RegReceive+8))
			command := binary.LittleEndian.AppendUint32(nil, uint32(c))
			reply := make([]byte, enclaves.ReplySize)
			f := dev.Function()
			b.ReportAllocs()
			for b.Loop() {
				if f.WriteBAR(3, enclaves.RegSend, request) != nil || f.WriteBAR(3, enclaves.RegCommand, command) != nil ||
					f.ReadBAR(3, enclaves.RegReceive, reply) != nil {
					b.Fatal("access refused")
				}
			}
		})
	}
}

// BenchmarkAddMem gives away a parent of 16 GiB in pages of 2 MiB, in the order
// that is worst for the table, and frees it again.
func BenchmarkAddMem(b *testing.B) {
	const pages = 8192
	dev, err := enclaves.New(enclaves.Config{
		Hypervisor: enclavestest.NewHypervisor(enclaves.Region{Size: pages * enclaves.Granule}), CPUs: 4,
	})
	if err != nil {
		b.Fatal(err)
	}
	defer dev.Close()
	d := enclavestest.NewDriver(dev.Function())
	if err := d.Probe(); err != nil {
		b.Fatal(err)
	}
	defer d.Abandon()
	for b.Loop() {
		vm, err := d.CreateVM()
		if err != nil {
			b.Fatal(err)
		}
		for i := pages - 1; i >= 0; i-- {
			if err := vm.AddMemory(enclaves.Region{Addr: uint64(i) * enclaves.Granule, Size: enclaves.Granule}); err != nil {
				b.Fatal(err)
			}
		}
		if err := vm.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/pages, "ns/page")
}

// BenchmarkImageReader reads an image of 56 MiB out of 32 pages.
func BenchmarkImageReader(b *testing.B) {
	var regions []enclaves.Region
	for i := range uint64(32) {
		regions = append(regions, enclaves.Region{Addr: (31 - i) * enclaves.Granule, Size: enclaves.Granule})
	}
	r, size := enclaves.ImageReader(zeros{}, regions)
	p := make([]byte, 1<<20)
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		for off := int64(0); off < size; off += int64(len(p)) {
			if _, err := r.ReadAt(p, off); err != nil && err != io.EOF {
				b.Fatal(err)
			}
		}
	}
}

// zeros costs nothing, so that the benchmark measures the reader.
type zeros struct{}

func (zeros) ReadAt(p []byte, _ int64) (int, error) { return len(p), nil }
