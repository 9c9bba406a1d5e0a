package nsm_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/devices/nsm"
	"github.com/nitrolab/nitrolab/devices/nsm/nsmtest"
	"github.com/nitrolab/nitrolab/devices/nsm/wire"
	"github.com/nitrolab/nitrolab/devices/virtio"
	"github.com/nitrolab/nitrolab/devices/virtio/virtiotest"
)

var (
	getRandom   = []byte("\x69GetRandom")
	describeNSM = []byte("\x6bDescribeNSM")
)

// start is a device whose queue a scripted driver drives.
func start(t testing.TB, d *nsm.Device, size int, opts ...virtiotest.Option) *virtiotest.Driver {
	t.Helper()
	drv := virtiotest.New(t, size, opts...)
	d.StartQueue(0, drv.Queue())
	t.Cleanup(func() { d.StopQueue(0) })
	return drv
}

// kick notifies the device.
func kick(t testing.TB, d *nsm.Device) {
	t.Helper()
	if err := d.HandleQueue(0); err != nil {
		t.Fatal(err)
	}
}

// heads are the chains in the order in which they came back.
func heads(used []virtiotest.Used) (h []uint16) {
	for _, u := range used {
		h = append(h, u.Head)
	}
	return h
}

// modern are the ring features that a current driver negotiates.
const modern = virtio.FeatureVersion1 | virtio.FeatureIndirectDesc | virtio.FeatureEventIdx

// roundTrip does what the Linux driver does for one ioctl, with its checks.
func roundTrip(t testing.TB, d *nsm.Device, drv *virtiotest.Driver, room int) nsmtest.Func {
	return func(req []byte) ([]byte, error) {
		before := drv.Interrupts()
		a, b := drv.Add([][]byte{req}, nil), drv.Add(nil, []int{room})
		kick(t, d)
		if n := drv.Interrupts() - before; n != 1 {
			t.Errorf("%d interrupts, want 1", n)
		}
		used := drv.Used()
		if got := heads(used); !slices.Equal(got, []uint16{a, b}) || used[0].Len != 0 {
			t.Fatalf("used %+v, want request %d with length 0, then buffer %d", used, a, b)
		}
		return used[1].In[0], nil
	}
}

func TestConformanceThroughQueue(t *testing.T) {
	for _, tt := range []struct {
		name     string
		size     int
		features uint64
	}{
		{"legacy ring of 2", 2, 0},
		{"legacy ring of 64", 64, 0},
		{"modern ring of 64", 64, modern},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDevice(t)
			drv := start(t, d, tt.size, virtiotest.Features(tt.features))
			nsmtest.Run(t, roundTrip(t, d, drv, wire.MaxResponse), nsmtest.Sequence())
		})
	}
}

func TestRequestBeforeItsBuffer(t *testing.T) {
	d := newDevice(t)
	drv := start(t, d, 64)
	a := drv.Add([][]byte{describeNSM}, nil)
	kick(t, d)
	kick(t, d) // a kick for nothing
	if used, n := drv.Used(), drv.Interrupts(); len(used) != 0 || n != 0 {
		t.Fatalf("request alone: %d chains came back with %d interrupts, want none: the driver fails at once", len(used), n)
	}
	b := drv.Add(nil, []int{wire.MaxResponse})
	kick(t, d)
	used := drv.Used()
	if got := heads(used); !slices.Equal(got, []uint16{a, b}) || drv.Interrupts() != 1 {
		t.Fatalf("chains %v came back with %d interrupts, want %v with 1", got, drv.Interrupts(), []uint16{a, b})
	}
	if err := (nsmtest.Module{Locked: 16}).Check(used[1].In[0]); err != nil {
		t.Error(err)
	}
}

// The kernel asks for entropy while it probes the device: the ring holds a
// request before the device is started.
func TestEntropyBeforeAnythingElse(t *testing.T) {
	d := newDevice(t)
	drv := virtiotest.New(t, 2)
	drv.Add([][]byte{getRandom}, nil)
	drv.Add(nil, []int{wire.MaxResponse})
	d.StartQueue(0, drv.Queue())
	t.Cleanup(func() { d.StopQueue(0) })
	kick(t, d)
	used := drv.Used()
	if len(used) != 2 || drv.Interrupts() != 1 {
		t.Fatalf("%d chains came back with %d interrupts, want 2 with 1", len(used), drv.Interrupts())
	}
	if err := (nsmtest.Random{}).Check(used[1].In[0]); err != nil {
		t.Error(err)
	}
}

func TestSeveralRequestsInOneKick(t *testing.T) {
	d := newDevice(t)
	drv := start(t, d, 64)
	var want []uint16
	for range 3 {
		want = append(want, drv.Add([][]byte{getRandom}, nil), drv.Add(nil, []int{wire.MaxResponse}))
	}
	waiting := drv.Add([][]byte{describeNSM}, nil)
	kick(t, d)
	used := drv.Used()
	if got := heads(used); !slices.Equal(got, want) || drv.Interrupts() != 1 {
		t.Fatalf("chains %v came back with %d interrupts, want %v with 1", got, drv.Interrupts(), want)
	}
	for i := 1; i < len(used); i += 2 {
		if err := (nsmtest.Random{}).Check(used[i].In[0]); err != nil {
			t.Error(err)
		}
	}
	buffer := drv.Add(nil, []int{wire.MaxResponse})
	kick(t, d)
	if got := heads(drv.Used()); !slices.Equal(got, []uint16{waiting, buffer}) {
		t.Errorf("chains %v came back, want %v", got, []uint16{waiting, buffer})
	}
}

func TestScatteredBuffers(t *testing.T) {
	d := newDevice(t)
	drv := start(t, d, 64)
	drv.Add([][]byte{describeNSM[:1], describeNSM[1:4], describeNSM[4:]}, nil)
	drv.Add(nil, []int{1, 2, 100, wire.MaxResponse})
	kick(t, d)
	used := drv.Used()
	if len(used) != 2 {
		t.Fatalf("%d chains came back, want 2", len(used))
	}
	if err := (nsmtest.Module{Locked: 16}).Check(bytes.Join(used[1].In, nil)); err != nil {
		t.Error(err)
	}
}

// The 4.14 driver posts a buffer of the size its caller has.
func TestSmallBuffers(t *testing.T) {
	req, err := wire.AppendRequest(nil, wire.ExtendPCR{Index: 16, Data: []byte("x")})
	if err != nil {
		t.Fatal(err)
	}
	const (
		full     = 1 + 10 + 1 + 5 + 2 + 48 // reply to ExtendPCR
		tooSmall = 1 + 6 + 15              // {"Error": "BufferTooSmall"}
	)
	for _, tt := range []struct {
		name string
		room int
		want []byte
	}{
		{"more than enough", 0x3000, nil},
		{"more than any driver has", 0x10000, nil},
		{"exact", full, nil},
		{"one byte short", full - 1, []byte("\xa1\x65Error\x6eBufferTooSmall")},
		{"exact for the error", tooSmall, []byte("\xa1\x65Error\x6eBufferTooSmall")},
		{"short for the error", tooSmall - 1, []byte{}},
		{"one byte", 1, []byte{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDevice(t)
			drv := start(t, d, 2)
			var want nsm.Bank
			value, err := want.Extend(16, []byte("x"))
			if err != nil {
				t.Fatal(err)
			}
			if tt.want == nil {
				if tt.want, err = wire.AppendResponse(nil, wire.ExtendPCRResponse{Data: value}); err != nil {
					t.Fatal(err)
				}
			}
			got, err := roundTrip(t, d, drv, tt.room)(req)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, tt.want) {
				t.Errorf("reply %x, want %x", got, tt.want)
			}
			bank := d.Bank()
			if now, _, _ := bank.Describe(16); now != value {
				t.Error("the PCR was not extended: BufferTooSmall means that the operation succeeded")
			}
		})
	}
}

// No driver posts more than MaxResponse; one that does gets no longer replies.
func TestReplyBeyondTheLimit(t *testing.T) {
	d := newDevice(t, func(c *nsm.Config) {
		c.Attester = attesterFunc(func(nsm.Claims) ([]byte, error) { return make([]byte, wire.MaxResponse), nil })
	})
	drv := start(t, d, 2)
	reply, err := roundTrip(t, d, drv, 4*wire.MaxResponse)([]byte("\xa1\x6bAttestation\xa0"))
	if err != nil {
		t.Fatal(err)
	}
	if err := nsmtest.Error(wire.BufferTooSmall).Check(reply); err != nil {
		t.Error(err)
	}
}

// What is neither a request nor a buffer for one comes back with length 0, and
// the device stays in service.
func TestChainsThatAreNoRequest(t *testing.T) {
	type chain struct {
		out [][]byte
		in  []int
	}
	request := chain{out: [][]byte{getRandom}}
	buffer := chain{in: []int{wire.MaxResponse}}
	mixed := chain{out: [][]byte{getRandom}, in: []int{wire.MaxResponse}}
	const reply = 19 + 3 + 256

	for _, tt := range []struct {
		name   string
		chains []chain
		want   []uint32 // lengths written, in the order of the chains
	}{
		{"buffer without request", []chain{buffer}, []uint32{0}},
		{"buffer first", []chain{buffer, request, buffer}, []uint32{0, 0, reply}},
		{"request and buffer in one chain", []chain{mixed}, []uint32{0}},
		{"two requests", []chain{request, request, buffer}, []uint32{0, 0, reply}},
		{"two buffers", []chain{request, buffer, buffer}, []uint32{0, reply, 0}},
		{"one chain in between", []chain{request, mixed, buffer}, []uint32{0, 0, 0}},
	} {
		for _, kicks := range []string{"one kick", "a kick each"} {
			t.Run(tt.name+", "+kicks, func(t *testing.T) {
				d := newDevice(t)
				drv := start(t, d, 64)
				var want []virtiotest.Used
				var got []virtiotest.Used
				for i, c := range tt.chains {
					want = append(want, virtiotest.Used{Head: drv.Add(c.out, c.in), Len: tt.want[i]})
					if kicks == "a kick each" {
						kick(t, d)
						got = append(got, drv.Used()...)
					}
				}
				kick(t, d)
				got = append(got, drv.Used()...)
				for i := range got {
					got[i].In = nil
				}
				if kicks == "a kick each" { // heads are used again
					for i := range min(len(got), len(want)) {
						got[i].Head, want[i].Head = 0, 0
					}
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("chains that came back (-want +got):\n%s", diff)
				}
				if _, err := roundTrip(t, d, drv, wire.MaxResponse)(getRandom); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func TestOversizeRequest(t *testing.T) {
	d := newDevice(t)
	drv := start(t, d, 2)
	for _, size := range []int{wire.MaxRequest + 1, 64 << 10} {
		reply, err := roundTrip(t, d, drv, wire.MaxResponse)(make([]byte, size))
		if err != nil {
			t.Fatal(err)
		}
		if err := nsmtest.Error(wire.InputTooLarge).Check(reply); err != nil {
			t.Errorf("request of %d bytes: %v", size, err)
		}
	}
}

func TestBrokenRing(t *testing.T) {
	d := newDevice(t)
	drv := start(t, d, 2)
	drv.Expose(7) // no such descriptor
	var ring *virtio.RingError
	if err := d.HandleQueue(0); !errors.As(err, &ring) {
		t.Errorf("got %v, want a RingError", err)
	}
}

// A driver that is unloaded forgets its request; one that is only paused finds
// it again.
func TestStopWhileARequestWaits(t *testing.T) {
	d := newDevice(t)
	drv := start(t, d, 64)
	a := drv.Add([][]byte{describeNSM}, nil)
	kick(t, d)
	next := func() uint16 {
		q := drv.Queue()
		d.StopQueue(0)
		return q.Next()
	}()
	if next != 0 {
		t.Fatalf("stopped at available index %d, want 0: the request is not carried out", next)
	}
	kick(t, d) // a late kick for a stopped queue
	if used := drv.Used(); len(used) != 0 {
		t.Fatalf("a stopped device returned %+v", used)
	}
	d.StartQueue(0, drv.Restart(next))
	b := drv.Add(nil, []int{wire.MaxResponse})
	kick(t, d)
	used := drv.Used()
	if got := heads(used); !slices.Equal(got, []uint16{a, b}) {
		t.Fatalf("chains %v came back after the restart, want %v", got, []uint16{a, b})
	}
	if err := (nsmtest.Module{Locked: 16}).Check(used[1].In[0]); err != nil {
		t.Error(err)
	}
}

func TestPCRsOutliveTheDriver(t *testing.T) {
	d := newDevice(t)
	if _, err := ask(t, d, wire.ExtendPCR{Index: 16}); err != nil {
		t.Fatal(err)
	}
	before := d.Bank()
	drv := start(t, d, 2)
	if _, err := roundTrip(t, d, drv, wire.MaxResponse)(getRandom); err != nil {
		t.Fatal(err)
	}
	d.StopQueue(0)
	start(t, d, 2)
	if d.Bank() != before {
		t.Error("PCRs changed with the driver")
	}
}

// feeder is a guest that makes a request available again while the device works
// on it, from another virtual CPU.
type feeder struct {
	drv   *virtiotest.Driver
	heads []uint16
	reads int
}

func (f *feeder) Read(p []byte) (int, error) {
	if f.reads++; f.reads < 10000 {
		for _, h := range f.heads {
			f.drv.Expose(h)
		}
	}
	return rand.Read(p)
}

func TestEndlessRequestsDoNotKeepTheQueue(t *testing.T) {
	f := &feeder{}
	d := newDevice(t, func(c *nsm.Config) { c.Entropy = f })
	const size = 64
	f.drv = start(t, d, size)
	f.heads = []uint16{f.drv.Add([][]byte{getRandom}, nil), f.drv.Add(nil, []int{wire.MaxResponse})}
	kick(t, d)
	if f.reads > size {
		t.Errorf("one kick kept the device for %d requests of a ring of %d", f.reads, size)
	}
}

// The queue path adds nothing to what the request itself allocates.
func TestQueueDoesNotAllocate(t *testing.T) {
	for _, req := range [][]byte{getRandom, []byte("\xa1\x6bDescribePCR\xa1\x65index\x00")} {
		d := newDevice(t)
		drv := start(t, d, 2)
		a, b := drv.Prepare([][]byte{req}, nil), drv.Prepare(nil, []int{wire.MaxResponse})
		queue := testing.AllocsPerRun(200, func() {
			drv.Expose(a)
			drv.Expose(b)
			kick(t, d)
		})
		if handle := testing.AllocsPerRun(200, func() { d.Handle(req) }); queue > handle {
			t.Errorf("%q: %.0f allocations through the queue, %.0f without", req, queue, handle)
		}
	}
}
