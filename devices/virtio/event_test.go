package virtio_test

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nitrolab/nitrolab/devices/guestmem"
	"github.com/nitrolab/nitrolab/devices/virtio"
	"github.com/nitrolab/nitrolab/devices/virtio/virtiotest"
)

func TestNoInterruptFlag(t *testing.T) {
	d := virtiotest.New(t, 8)
	q := d.Queue()
	var c virtio.Chain
	for i, suppressed := range []bool{false, true, true, false} {
		d.SuppressInterrupts(suppressed)
		before := d.Interrupts()
		d.Add([][]byte{{1}}, nil)
		mustPop(t, q, &c)
		mustPush(t, q, c.Head, 0)
		mustNotify(t, q)
		want := 1
		if suppressed {
			want = 0
		}
		if got := d.Interrupts() - before; got != want {
			t.Errorf("step %d, suppressed=%v: %d interrupts, want %d", i, suppressed, got, want)
		}
		if got := len(d.Used()); got != 1 {
			t.Errorf("step %d: %d elements used, want 1", i, got)
		}
	}
}

// TestUsedEvent checks the threshold at every position of the 16-bit index,
// its wrap-around included.
func TestUsedEvent(t *testing.T) {
	d := virtiotest.New(t, 8, virtiotest.Features(virtio.FeatureEventIdx))
	q := d.Queue()
	var c virtio.Chain
	batch := func(n int) (interrupts int) {
		before := d.Interrupts()
		for range n {
			d.Add([][]byte{{1}}, nil)
			mustPop(t, q, &c)
			mustPush(t, q, c.Head, 0)
		}
		mustNotify(t, q)
		return d.Interrupts() - before
	}
	if got := batch(1); got != 1 {
		t.Fatalf("first batch: %d interrupts, want 1 whatever the event index", got)
	}
	d.Used()
	used := uint16(1)
	for round := range 3 * 65536 / 12 {
		// Wanted at the third of the coming elements: not after two, but
		// after four, once.
		d.SetUsedEvent(used + 2)
		if got := batch(2); got != 0 {
			t.Fatalf("round %d: %d interrupts before the event", round, got)
		}
		if got := batch(2); got != 1 {
			t.Fatalf("round %d: %d interrupts at the event, want 1", round, got)
		}
		if got := batch(4); got != 0 {
			t.Fatalf("round %d: %d interrupts after the event, want none", round, got)
		}
		d.Used()
		used += 8
	}
}

func TestAvailEvent(t *testing.T) {
	for _, fs := range featureSets {
		t.Run(fs.name, func(t *testing.T) {
			d := virtiotest.New(t, 8, virtiotest.Features(fs.features))
			q := d.Queue()
			mustBeEmpty(t, q)
			old := d.Avail()
			d.Add([][]byte{{1}}, nil)
			if !d.WantsKick(old) {
				t.Error("the device saw an empty queue and wants no notification")
			}
			// The device has not looked yet: a second chain needs no second
			// notification, if the ring can say so.
			old = d.Avail()
			d.Add([][]byte{{2}}, nil)
			if got, want := d.WantsKick(old), fs.features&virtio.FeatureEventIdx == 0; got != want {
				t.Errorf("second notification wanted: %v, want %v", got, want)
			}
			var c virtio.Chain
			mustPop(t, q, &c)
			mustPop(t, q, &c)
			mustBeEmpty(t, q)
			old = d.Avail()
			d.Add([][]byte{{3}}, nil)
			if !d.WantsKick(old) {
				t.Error("the device saw an empty queue again and wants no notification")
			}
		})
	}
}

// TestUnpop is a stop with chains in flight and a start from where it stopped.
func TestUnpop(t *testing.T) {
	for _, fs := range featureSets {
		t.Run(fs.name, func(t *testing.T) {
			d := virtiotest.New(t, 8, virtiotest.Features(fs.features))
			q := d.Queue()
			var heads []uint16
			for i := range 4 {
				heads = append(heads, d.Add([][]byte{{byte(i)}}, nil))
			}
			var c virtio.Chain
			for range 3 {
				mustPop(t, q, &c)
			}
			mustPush(t, q, heads[0], 0)
			for _, h := range []uint16{heads[2], heads[1]} {
				if err := q.Unpop(h); err != nil {
					t.Fatal(err)
				}
			}
			mustNotify(t, q)
			if q.Held() != 0 || q.Next() != 1 {
				t.Fatalf("Held %d Next %d, want 0 and 1", q.Held(), q.Next())
			}
			q = d.Restart(q.Next())
			for _, want := range heads[1:] {
				mustPop(t, q, &c)
				if c.Head != want {
					t.Fatalf("after restart: head %d, want %d", c.Head, want)
				}
				mustPush(t, q, c.Head, 0)
			}
			mustNotify(t, q)
			mustBeEmpty(t, q)
			if got := len(d.Used()); got != 4 {
				t.Errorf("driver got %d of 4 chains back", got)
			}
		})
	}
}

// TestMoreThanTheRing pushes a ring's worth and more without a Notify, which
// only a driver that reuses buffers it does not own makes possible.
func TestMoreThanTheRing(t *testing.T) {
	d := virtiotest.New(t, 4)
	q := d.Queue()
	setDesc(d.Rings().Desc, 0, virtiotest.Base, 1, 0, 0)
	var c virtio.Chain
	const n = 2*65536 + 3
	for range n {
		d.Expose(0)
		mustPop(t, q, &c)
		mustPush(t, q, c.Head, 0)
	}
	mustNotify(t, q)
	if got := d.Interrupts(); got != 1 {
		t.Errorf("%d interrupts, want 1", got)
	}
	if got := uint16(guestmem.LoadAcquire(d.Rings().Used, 0) >> 16); got != n&0xffff {
		t.Errorf("used.idx %d, want %d", got, n&0xffff)
	}
}

// TestOddlyAlignedAvail puts the available ring where only a modern driver may:
// at an odd multiple of 2.
func TestOddlyAlignedAvail(t *testing.T) {
	const n = 4
	mem := make([]byte, 8192)
	for _, features := range []uint64{0, virtio.FeatureEventIdx} {
		avail := mem[130 : 130+virtio.AvailBytes(n, features)]
		clear(mem)
		interrupts := 0
		q, err := virtio.NewQueue(virtio.QueueConfig{
			Size: n, Desc: mem[:64], Avail: avail, Used: mem[4096 : 4096+virtio.UsedBytes(n, features)],
			Memory: guestmem.FromBytes(0, mem), Features: features,
			Interrupt: func() error { interrupts++; return nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		setDesc(mem, 2, 1000, 10, 0, 0)
		var c virtio.Chain
		for i := uint16(1); i <= 3*n; i++ {
			mustBeEmpty(t, q)
			guestmem.Store16(avail, 4+2*int((i-1)%n), 2)
			if features != 0 {
				guestmem.Store16(avail, 4+2*n, i-1)
			}
			guestmem.Store16(avail, 2, i)
			mustPop(t, q, &c)
			mustPush(t, q, c.Head, 0)
			mustNotify(t, q)
			if interrupts != int(i) {
				t.Fatalf("features %#x: %d interrupts after %d chains", features, interrupts, i)
			}
		}
	}
}

// TestNoLostWakeup runs driver and device side by side. Each waits for the
// other only as it may: the device for a notification it asked for, the driver
// for an interrupt it asked for. Both wait by spinning, so that they meet in
// the few instructions between asking and looking again as often as possible;
// a missing second look or barrier shows as a wait without end.
func TestNoLostWakeup(t *testing.T) {
	const (
		chains = 100_000         // found every missing barrier tried
		budget = 2 * time.Second // fewer chains on a machine that is slower than that
	)
	for _, fs := range featureSets {
		if fs.features&virtio.FeatureIndirectDesc != 0 {
			continue // no difference here
		}
		t.Run(fs.name, func(t *testing.T) {
			mem, err := unix.Mmap(-1, 0, testArena, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANON)
			if err != nil {
				t.Fatal(err)
			}
			d := virtiotest.New(t, 4, virtiotest.Features(fs.features), virtiotest.Over(mem, virtiotest.Base))
			device := &spinDevice{q: d.Queue()}
			result := make(chan error, 1)
			go func() { result <- device.serve() }()
			defer func() {
				device.finished.Store(true)
				if err := <-result; err != nil {
					t.Error(err)
				}
				_ = unix.Munmap(mem)
			}()

			head := d.Prepare([][]byte{{1}}, nil)
			end := time.Now().Add(budget)
			n := 0
			for ; n < chains && (n%1024 != 0 || time.Now().Before(end)); n++ {
				old, before := d.Avail(), d.Interrupts()
				d.Expose(head)
				if d.WantsKick(old) {
					device.kicks.Add(1)
				}
				if fs.features&virtio.FeatureEventIdx != 0 {
					d.SetUsedEvent(uint16(n))
				}
				used := func() bool {
					return uint16(guestmem.LoadAcquire(d.Rings().Used, 0)>>16) == uint16(n+1)
				}
				if used() {
					continue // the interrupt may come or not
				}
				if !spin(func() bool { return d.Interrupts() != before && used() }) {
					t.Fatalf("driver: no interrupt for chain %d", n)
				}
			}
			t.Logf("%d chains", n)
		})
	}
}

// A spinDevice returns every chain, waiting for kicks to move when it finds
// none.
type spinDevice struct {
	q        *virtio.Queue
	kicks    atomic.Int64
	finished atomic.Bool
}

func (s *spinDevice) serve() error {
	var c virtio.Chain
	for n := 0; ; {
		seen := s.kicks.Load()
		ok, err := s.q.Pop(&c)
		if err == nil && ok {
			n++
			err = errors.Join(s.q.Push(c.Head, 0), s.q.Notify())
		} else if err == nil && !spin(func() bool { return s.kicks.Load() != seen || s.finished.Load() }) {
			err = fmt.Errorf("device: no notification after %d chains", n)
		}
		if err != nil || s.finished.Load() {
			return err
		}
	}
}

// spin waits for cond; false if it took so long that it never comes.
func spin(cond func() bool) bool {
	end := time.Now().Add(10 * time.Second)
	for i := 0; !cond(); i++ {
		if i%128 == 127 {
			runtime.Gosched()
			if time.Now().After(end) {
				return false
			}
		}
	}
	return true
}
