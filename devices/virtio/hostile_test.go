package virtio_test

import (
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nitrolab/nitrolab/devices/guestmem"
	"github.com/nitrolab/nitrolab/devices/virtio"
	"github.com/nitrolab/nitrolab/devices/virtio/virtiotest"
)

// Descriptor flags, virtio 1.2 section 2.7.5.
const (
	fNext     = 1
	fWrite    = 2
	fIndirect = 4
)

// setDesc writes descriptor i of a table.
func setDesc(table []byte, i int, addr uint64, length uint32, flags, next uint16) {
	b := table[16*i : 16*i+16]
	binary.LittleEndian.PutUint64(b[0:], addr)
	binary.LittleEndian.PutUint32(b[8:], length)
	binary.LittleEndian.PutUint16(b[12:], flags)
	binary.LittleEndian.PutUint16(b[14:], next)
}

const (
	testSize  = 8
	testArena = 1 << 20
	buf       = virtiotest.Base + testArena/2 // some address for buffers
	tableOff  = testArena * 3 / 4             // where indirect tables go
)

func TestHostileDriver(t *testing.T) {
	const all = virtio.FeatureVersion1 | virtio.FeatureIndirectDesc | virtio.FeatureEventIdx
	tests := []struct {
		name     string
		features uint64
		spoil    func(d *virtiotest.Driver, desc, mem []byte)
		want     error
	}{
		{"avail index one too far", all, func(d *virtiotest.Driver, _, _ []byte) {
			d.SetAvail(testSize + 1)
		}, virtio.ErrAvailIndex},
		{"avail index backwards", all, func(d *virtiotest.Driver, _, _ []byte) {
			d.SetAvail(0xffff)
		}, virtio.ErrAvailIndex},
		{"head out of range", all, func(d *virtiotest.Driver, _, _ []byte) {
			d.Expose(testSize)
		}, virtio.ErrHead},
		{"head far out of range", all, func(d *virtiotest.Driver, _, _ []byte) {
			d.Expose(0xffff)
		}, virtio.ErrHead},
		{"self loop", all, func(d *virtiotest.Driver, desc, _ []byte) {
			setDesc(desc, 0, buf, 1, fNext, 0)
			d.Expose(0)
		}, virtio.ErrChainLong},
		{"loop over two", all, func(d *virtiotest.Driver, desc, _ []byte) {
			setDesc(desc, 0, buf, 1, fNext, 5)
			setDesc(desc, 5, buf, 1, fNext, 0)
			d.Expose(0)
		}, virtio.ErrChainLong},
		{"next out of range", all, func(d *virtiotest.Driver, desc, _ []byte) {
			setDesc(desc, 0, buf, 1, fNext, testSize)
			d.Expose(0)
		}, virtio.ErrNext},
		{"readable after writable", all, func(d *virtiotest.Driver, desc, _ []byte) {
			setDesc(desc, 0, buf, 1, fWrite|fNext, 1)
			setDesc(desc, 1, buf, 1, 0, 0)
			d.Expose(0)
		}, virtio.ErrOrder},
		{"readable after writable, both empty", all, func(d *virtiotest.Driver, desc, _ []byte) {
			setDesc(desc, 0, buf, 0, fWrite|fNext, 1)
			setDesc(desc, 1, buf, 0, 0, 0)
			d.Expose(0)
		}, virtio.ErrOrder},
		{"loop of empty descriptors", all, func(d *virtiotest.Driver, desc, _ []byte) {
			setDesc(desc, 0, buf, 0, fNext, 0)
			d.Expose(0)
		}, virtio.ErrChainLong},
		{"below memory", all, func(d *virtiotest.Driver, desc, _ []byte) {
			setDesc(desc, 0, virtiotest.Base-1, 2, 0, 0)
			d.Expose(0)
		}, virtio.ErrAddress},
		{"across the end of memory", all, func(d *virtiotest.Driver, desc, _ []byte) {
			setDesc(desc, 0, virtiotest.Base+testArena-1, 2, fWrite, 0)
			d.Expose(0)
		}, virtio.ErrAddress},
		{"address wraps around", all, func(d *virtiotest.Driver, desc, _ []byte) {
			setDesc(desc, 0, ^uint64(0), 0xffffffff, 0, 0)
			d.Expose(0)
		}, virtio.ErrAddress},
		{"huge length", all, func(d *virtiotest.Driver, desc, _ []byte) {
			setDesc(desc, 0, buf, 0xffffffff, fWrite, 0)
			d.Expose(0)
		}, virtio.ErrAddress},
		{"indirect not negotiated", virtio.FeatureVersion1, func(d *virtiotest.Driver, desc, mem []byte) {
			setDesc(mem[tableOff:], 0, buf, 1, 0, 0)
			setDesc(desc, 0, virtiotest.Base+tableOff, 16, fIndirect, 0)
			d.Expose(0)
		}, virtio.ErrIndirect},
		{"indirect with next", all, func(d *virtiotest.Driver, desc, mem []byte) {
			setDesc(mem[tableOff:], 0, buf, 1, 0, 0)
			setDesc(desc, 0, virtiotest.Base+tableOff, 16, fIndirect|fNext, 1)
			setDesc(desc, 1, buf, 1, 0, 0)
			d.Expose(0)
		}, virtio.ErrIndirect},
		{"indirect of odd length", all, func(d *virtiotest.Driver, desc, mem []byte) {
			setDesc(mem[tableOff:], 0, buf, 1, 0, 0)
			setDesc(desc, 0, virtiotest.Base+tableOff, 17, fIndirect, 0)
			d.Expose(0)
		}, virtio.ErrIndirect},
		{"indirect of length zero", all, func(d *virtiotest.Driver, desc, _ []byte) {
			setDesc(desc, 0, virtiotest.Base+tableOff, 0, fIndirect, 0)
			d.Expose(0)
		}, virtio.ErrIndirect},
		{"indirect shorter than a descriptor", all, func(d *virtiotest.Driver, desc, _ []byte) {
			setDesc(desc, 0, virtiotest.Base+tableOff, 8, fIndirect, 0)
			d.Expose(0)
		}, virtio.ErrIndirect},
		{"indirect nested", all, func(d *virtiotest.Driver, desc, mem []byte) {
			setDesc(mem[tableOff:], 0, virtiotest.Base+tableOff, 16, fIndirect, 0)
			setDesc(desc, 0, virtiotest.Base+tableOff, 16, fIndirect, 0)
			d.Expose(0)
		}, virtio.ErrIndirect},
		{"indirect next out of range", all, func(d *virtiotest.Driver, desc, mem []byte) {
			setDesc(mem[tableOff:], 0, buf, 1, fNext, 2)
			setDesc(desc, 0, virtiotest.Base+tableOff, 32, fIndirect, 0)
			d.Expose(0)
		}, virtio.ErrNext},
		{"indirect loop", all, func(d *virtiotest.Driver, desc, mem []byte) {
			setDesc(mem[tableOff:], 0, buf, 1, fNext, 0)
			setDesc(desc, 0, virtiotest.Base+tableOff, 32, fIndirect, 0)
			d.Expose(0)
		}, virtio.ErrChainLong},
		{"indirect table not in memory", all, func(d *virtiotest.Driver, desc, _ []byte) {
			setDesc(desc, 0, virtiotest.Base+testArena-16, 32, fIndirect, 0)
			d.Expose(0)
		}, virtio.ErrAddress},
		{"indirect with too many segments", all, func(d *virtiotest.Driver, desc, mem []byte) {
			const n = virtio.MaxSegments + 1
			for i := range n {
				setDesc(mem[tableOff:], i, buf, 1, fNext, uint16(i+1))
			}
			setDesc(mem[tableOff:], n-1, buf, 1, 0, 0)
			setDesc(desc, 0, virtiotest.Base+tableOff, 16*n, fIndirect, 0)
			d.Expose(0)
		}, virtio.ErrChainLong},
		{"head twice", all, func(d *virtiotest.Driver, desc, _ []byte) {
			setDesc(desc, 3, buf, 1, 0, 0)
			d.Expose(3)
			d.Expose(3)
		}, virtio.ErrInFlight},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			mem := make([]byte, testArena)
			d := virtiotest.New(t, testSize, virtiotest.Features(tt.features), virtiotest.Over(mem, virtiotest.Base))
			q := d.Queue()
			tt.spoil(d, d.Rings().Desc, mem)
			var c virtio.Chain
			var err error
			pops := 0
			for ok := true; ok && err == nil; pops++ {
				ok, err = q.Pop(&c)
			}
			var re *virtio.RingError
			if !errors.Is(err, tt.want) || !errors.As(err, &re) {
				t.Fatalf("Pop = %v, want a RingError of %q", err, tt.want)
			}
			if held := q.Held(); held != pops-1 {
				t.Errorf("%d chains held after %d good pops", held, pops-1)
			}
			if len(c.Out)+len(c.In) != 0 {
				t.Errorf("refused chain still holds %d segments", len(c.Out)+len(c.In))
			}
			// The driver repairs its ring; the queue stays broken.
			d.SetAvail(0)
			if _, again := q.Pop(&c); again != err {
				t.Errorf("second Pop = %v, want the same error", again)
			}
		})
	}
}

// TestLegalButUnusual are chains no driver of ours makes but the specification
// allows.
func TestLegalButUnusual(t *testing.T) {
	const all = virtio.FeatureVersion1 | virtio.FeatureIndirectDesc
	type lens struct{ out, outSegments, in, inSegments int }
	tests := []struct {
		name  string
		spoil func(d *virtiotest.Driver, desc, mem []byte)
		want  lens
	}{
		{"direct descriptors, then an indirect table", func(d *virtiotest.Driver, desc, mem []byte) {
			setDesc(mem[tableOff:], 0, buf, 2, fNext, 1)
			setDesc(mem[tableOff:], 1, buf, 4, fWrite, 0)
			setDesc(desc, 0, buf, 1, fNext, 7)
			setDesc(desc, 7, virtiotest.Base+tableOff, 32, fIndirect|fWrite, 9)
			d.Expose(0)
		}, lens{3, 2, 4, 1}},
		{"as many segments as possible", func(d *virtiotest.Driver, desc, mem []byte) {
			const n = virtio.MaxSegments
			for i := range n {
				setDesc(mem[tableOff:], i, buf, 1, fNext, uint16(i+1))
			}
			setDesc(mem[tableOff:], n-1, buf, 1, 0, 0)
			setDesc(desc, 0, virtiotest.Base+tableOff, 16*n, fIndirect, 0)
			d.Expose(0)
		}, lens{virtio.MaxSegments, virtio.MaxSegments, 0, 0}},
		{"every descriptor in one chain", func(d *virtiotest.Driver, desc, _ []byte) {
			for i := range testSize {
				setDesc(desc, i, buf, 1, fNext, uint16(i+1))
			}
			setDesc(desc, testSize-1, buf, 1, fWrite, 0)
			d.Expose(0)
		}, lens{testSize - 1, testSize - 1, 1, 1}},
		{"the last byte of memory, and unaligned", func(d *virtiotest.Driver, desc, _ []byte) {
			setDesc(desc, 2, virtiotest.Base+testArena-1, 1, fWrite, 0)
			d.Expose(2)
		}, lens{0, 0, 1, 1}},
		{"empty request, at no address", func(d *virtiotest.Driver, desc, _ []byte) {
			setDesc(desc, 2, ^uint64(0), 0, 0, 0)
			d.Expose(2)
		}, lens{0, 1, 0, 0}},
		{"empty buffers among others", func(d *virtiotest.Driver, desc, _ []byte) {
			setDesc(desc, 0, 0, 0, fNext, 1)
			setDesc(desc, 1, buf, 5, fNext, 2)
			setDesc(desc, 2, 0, 0, fWrite|fNext, 3)
			setDesc(desc, 3, buf, 6, fWrite, 0)
			d.Expose(0)
		}, lens{5, 2, 6, 2}},
		{"all of memory", func(d *virtiotest.Driver, desc, _ []byte) {
			setDesc(desc, 2, virtiotest.Base, testArena, 0, 0)
			d.Expose(2)
		}, lens{testArena, 1, 0, 0}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			mem := make([]byte, testArena)
			d := virtiotest.New(t, testSize, virtiotest.Features(all), virtiotest.Over(mem, virtiotest.Base))
			q := d.Queue()
			tt.spoil(d, d.Rings().Desc, mem)
			var c virtio.Chain
			mustPop(t, q, &c)
			if got := (lens{c.OutLen(), len(c.Out), c.InLen(), len(c.In)}); got != tt.want {
				t.Errorf("lengths %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestNewQueueRefuses(t *testing.T) {
	mem := guestmem.FromBytes(0, make([]byte, 4096))
	const n = 8
	page := make([]byte, 4096) // as aligned as any ring needs
	good := virtio.QueueConfig{
		Size: n, Memory: mem, Features: virtio.FeatureEventIdx,
		Desc: page[0:128], Avail: page[128:150], Used: page[256 : 256+70],
	}
	if _, err := virtio.NewQueue(good); err != nil {
		t.Fatalf("good queue: %v", err)
	}
	tests := []struct {
		name  string
		spoil func(*virtio.QueueConfig)
	}{
		{"size 0", func(c *virtio.QueueConfig) { c.Size = 0 }},
		{"negative size", func(c *virtio.QueueConfig) { c.Size = -8 }},
		{"size not a power of two", func(c *virtio.QueueConfig) { c.Size = 7 }},
		{"size too large", func(c *virtio.QueueConfig) { c.Size = 65536 }},
		{"table too short", func(c *virtio.QueueConfig) { c.Desc = c.Desc[:127] }},
		{"available ring too short", func(c *virtio.QueueConfig) { c.Avail = c.Avail[:21] }},
		{"used ring too short", func(c *virtio.QueueConfig) { c.Used = c.Used[:69] }},
		{"table misaligned", func(c *virtio.QueueConfig) { c.Desc = page[8:136] }},
		{"available ring misaligned", func(c *virtio.QueueConfig) { c.Avail = page[129:151] }},
		{"used ring misaligned", func(c *virtio.QueueConfig) { c.Used = page[258 : 258+70] }},
		{"no memory", func(c *virtio.QueueConfig) { c.Memory = nil }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := good
			tt.spoil(&cfg)
			if q, err := virtio.NewQueue(cfg); err == nil {
				t.Errorf("NewQueue = %v, want an error", q)
			}
		})
	}
}

// TestDescriptorsChangeMeanwhile lets the driver flip a descriptor between a
// good and a bad one while the device pops. What was checked must be what is
// used: a chain is either refused or wholly good.
func TestDescriptorsChangeMeanwhile(t *testing.T) {
	// Mapped rather than made: the race is the point, so keep it from the race
	// detector.
	mem, err := unix.Mmap(-1, 0, testArena, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Munmap(mem) })
	d := virtiotest.New(t, testSize, virtiotest.Over(mem, virtiotest.Base))
	desc := d.Rings().Desc

	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
			}
			setDesc(desc, 0, buf, 64, fNext, 1)
			setDesc(desc, 0, ^uint64(0)-32, 0xffffffff, fNext|fWrite, 0xffff)
			setDesc(desc, 1, buf, 64, fWrite, 0)
			setDesc(desc, 1, buf, 0, 0, 0)
		}
	}()
	defer func() { close(stop); <-stopped }()

	var good, bad int
	for deadline := time.Now().Add(100 * time.Millisecond); time.Now().Before(deadline); {
		q := d.Restart(d.Avail())
		d.Expose(0)
		var c virtio.Chain
		ok, err := q.Pop(&c)
		switch {
		case err != nil:
			bad++
			continue
		case !ok:
			t.Fatal("chain not seen")
		}
		good++
		for _, s := range append(c.Out, c.In...) {
			if len(s) > testArena {
				t.Fatalf("segment of %d bytes", len(s))
			}
			if len(s) > 0 {
				s[0]++ // faults if it is not mapped
			}
		}
	}
	t.Logf("%d chains accepted, %d refused", good, bad)
}
