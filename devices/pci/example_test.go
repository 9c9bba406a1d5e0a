package pci_test

import (
	"context"
	"encoding/binary"
	"net"
	"sync"
	"sync/atomic"

	"github.com/nitrolab/nitrolab/devices/pci"
	"github.com/nitrolab/nitrolab/devices/vfiouser"
)

// A copier is a DMA engine. Its driver writes the bus address of a descriptor
// (source, destination: 64 bits each; size, status: 32) to register 0, then rings
// register 8, at most 64 times ahead. The engine copies, writes status 1 for done
// or 2 for failed, counts in register 8 and raises vector 0.
type copier struct {
	f    *pci.Function
	desc [8]byte // register 0
	jobs chan job
	done atomic.Uint32

	mu   sync.Mutex // held while a job runs, so that Reset can wait for that
	life uint64     // counts resets; jobs of an earlier one are void
	buf  [64 << 10]byte
}

type job struct{ life, desc uint64 }

func (c *copier) ReadBAR(off uint64, p []byte) {
	if off == 8 && len(p) == 4 {
		binary.LittleEndian.PutUint32(p, c.done.Load())
	}
}

func (c *copier) WriteBAR(off uint64, p []byte) {
	if off < 8 {
		copy(c.desc[off:], p)
	} else if off == 8 {
		select { // never block: the guest's CPU stands still meanwhile
		case c.jobs <- job{c.life, binary.LittleEndian.Uint64(c.desc[:])}:
		default:
		}
	}
}

// reset is called with DMA off, so that a job that runs fails soon.
func (c *copier) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.life++
	c.done.Store(0)
}

func (c *copier) run(j job) {
	c.mu.Lock()
	defer c.mu.Unlock()
	dma, d, status := c.f.DMA(), make([]byte, 24), []byte{1, 0, 0, 0}
	if j.life != c.life || dma.Read(j.desc, d) != nil {
		return
	}
	from, to := binary.LittleEndian.Uint64(d[0:]), binary.LittleEndian.Uint64(d[8:])
	for left := int(binary.LittleEndian.Uint32(d[16:])); left > 0 && status[0] == 1; {
		b := c.buf[:min(left, len(c.buf))]
		if dma.Read(from, b) != nil || dma.Write(to, b) != nil {
			status[0] = 2
		}
		from, to, left = from+uint64(len(b)), to+uint64(len(b)), left-len(b)
	}
	if dma.Write(j.desc+20, status) == nil {
		c.done.Add(1)
		c.f.Interrupt(0)
	}
}

func newCopier() (c *copier, err error) {
	c = &copier{jobs: make(chan job, 64)}
	c.f, err = pci.New(pci.Config{
		VendorID: 0x1234, DeviceID: 0xc0de, Class: 0x080100, Express: true, Reset: c.reset,
		BARs: [6]pci.BAR{0: {Size: 4096, Handler: c}, 1: {Size: 4096}},
		MSIX: pci.MSIXConfig{Vectors: 1, BAR: 1, Table: 0, PBA: 0x800},
	})
	return c, err
}

// serve carries c to the QEMU at the other end of conn, until that closes it.
func (c *copier) serve(ctx context.Context, conn *net.UnixConn) error {
	var wg sync.WaitGroup
	wg.Go(func() {
		for j := range c.jobs {
			c.run(j)
		}
	})
	defer wg.Wait()
	defer close(c.jobs)
	return vfiouser.Serve(ctx, conn, c.f, nil)
}
