package virtio_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/devices/virtio"
	"github.com/nitrolab/nitrolab/devices/virtio/virtiotest"
)

// featureSets are the combinations a driver may negotiate.
var featureSets = []struct {
	name     string
	features uint64
}{
	{"legacy", 0},
	{"modern", virtio.FeatureVersion1},
	{"indirect", virtio.FeatureVersion1 | virtio.FeatureIndirectDesc},
	{"event_idx", virtio.FeatureVersion1 | virtio.FeatureEventIdx},
	{"all", virtio.FeatureVersion1 | virtio.FeatureIndirectDesc | virtio.FeatureEventIdx},
}

// mustPop pops a chain that has to be there.
func mustPop(t *testing.T, q *virtio.Queue, c *virtio.Chain) {
	t.Helper()
	ok, err := q.Pop(c)
	if err != nil || !ok {
		t.Fatalf("Pop = %v, %v; want a chain", ok, err)
	}
}

// mustBeEmpty checks that there is no chain.
func mustBeEmpty(t *testing.T, q *virtio.Queue) {
	t.Helper()
	var c virtio.Chain
	if ok, err := q.Pop(&c); ok || err != nil {
		t.Fatalf("Pop = %v, %v; want no chain", ok, err)
	}
}

func mustPush(t *testing.T, q *virtio.Queue, head uint16, n uint32) {
	t.Helper()
	if err := q.Push(head, n); err != nil {
		t.Fatal(err)
	}
}

func mustNotify(t *testing.T, q *virtio.Queue) {
	t.Helper()
	if err := q.Notify(); err != nil {
		t.Fatal(err)
	}
}

func TestEcho(t *testing.T) {
	for _, fs := range featureSets {
		for _, size := range []int{4, 64, 1024} {
			t.Run(fs.name, func(t *testing.T) {
				d := virtiotest.New(t, size, virtiotest.Features(fs.features))
				q := d.Queue()
				mustBeEmpty(t, q)
				var c virtio.Chain
				// Three times around the 16-bit indices' low bits and, for the
				// small queues, many times around the ring.
				for round := range 3 * size {
					head := d.Add([][]byte{[]byte("he"), []byte("llo")}, []int{3, 4})
					mustPop(t, q, &c)
					if c.Head != head {
						t.Fatalf("round %d: head %d, want %d", round, c.Head, head)
					}
					if c.OutLen() != 5 || c.InLen() != 7 {
						t.Fatalf("round %d: OutLen %d InLen %d, want 5 and 7", round, c.OutLen(), c.InLen())
					}
					buf := make([]byte, 16)
					n := c.CopyOut(buf)
					if n != 5 || string(buf[:n]) != "hello" {
						t.Fatalf("round %d: read %q", round, buf[:n])
					}
					if n := c.CopyIn(buf[:n]); n != 5 {
						t.Fatalf("round %d: wrote %d", round, n)
					}
					mustPush(t, q, c.Head, 5)
					if got := d.Used(); got != nil {
						t.Fatalf("round %d: driver sees %v before Notify", round, got)
					}
					mustNotify(t, q)
					want := []virtiotest.Used{{Head: head, Len: 5, In: [][]byte{[]byte("hel"), []byte("lo")}}}
					if diff := cmp.Diff(want, d.Used()); diff != "" {
						t.Fatalf("round %d: used (-want +got):\n%s", round, diff)
					}
					if got := d.Interrupts(); got != round+1 {
						t.Fatalf("round %d: %d interrupts", round, got)
					}
				}
				mustBeEmpty(t, q)
			})
		}
	}
}

// TestPairInOneInterrupt is what the NSM driver relies on: request and
// response come back together, in this order, with one interrupt.
func TestPairInOneInterrupt(t *testing.T) {
	for _, fs := range featureSets {
		t.Run(fs.name, func(t *testing.T) {
			d := virtiotest.New(t, 2, virtiotest.Features(fs.features))
			q := d.Queue()
			a := d.Add([][]byte{[]byte("request")}, nil)
			b := d.Add(nil, []int{0x3000})
			var req, resp virtio.Chain
			mustPop(t, q, &req)
			mustPop(t, q, &resp)
			resp.CopyIn([]byte("answer"))
			mustPush(t, q, req.Head, 0)
			mustPush(t, q, resp.Head, 6)
			mustNotify(t, q)
			mustNotify(t, q)
			want := []virtiotest.Used{{Head: a}, {Head: b, Len: 6, In: [][]byte{[]byte("answer")}}}
			if diff := cmp.Diff(want, d.Used()); diff != "" {
				t.Errorf("used (-want +got):\n%s", diff)
			}
			if d.Interrupts() != 1 {
				t.Errorf("%d interrupts, want 1", d.Interrupts())
			}
		})
	}
}

func TestNotPopped(t *testing.T) {
	d := virtiotest.New(t, 4)
	q := d.Queue()
	for _, head := range []uint16{0, 3, 4, 0xffff} {
		if err := q.Push(head, 0); !errors.Is(err, virtio.ErrNotPopped) {
			t.Errorf("Push(%d) = %v, want ErrNotPopped", head, err)
		}
		if err := q.Unpop(head); !errors.Is(err, virtio.ErrNotPopped) {
			t.Errorf("Unpop(%d) = %v, want ErrNotPopped", head, err)
		}
	}
	d.Add([][]byte{{1}}, nil)
	var c virtio.Chain
	mustPop(t, q, &c)
	mustPush(t, q, c.Head, 0)
	if err := q.Push(c.Head, 0); !errors.Is(err, virtio.ErrNotPopped) {
		t.Errorf("second Push = %v, want ErrNotPopped", err)
	}
}

// TestStop: a driver that keeps the ring full does not keep the device.
func TestStop(t *testing.T) {
	d := virtiotest.New(t, 4)
	q := d.Queue()
	heads := []uint16{d.Add([][]byte{{1}}, nil), d.Add([][]byte{{2}}, nil)}
	var c virtio.Chain
	mustPop(t, q, &c)
	q.Stop()
	mustBeEmpty(t, q)
	mustPush(t, q, c.Head, 0)
	mustNotify(t, q)
	if diff := cmp.Diff([]virtiotest.Used{{Head: heads[0]}}, d.Used()); diff != "" {
		t.Errorf("used (-want +got):\n%s", diff)
	}
	q = d.Restart(q.Next())
	mustPop(t, q, &c)
	if c.Head != heads[1] {
		t.Errorf("after restart: head %d, want %d", c.Head, heads[1])
	}
}
