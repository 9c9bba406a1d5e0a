package vsock

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// stallAll is a fault that makes sense.
var stallAll = Fault{Kind: FaultStall, From: CIDAny, To: CIDAny}

func TestFaultCheck(t *testing.T) {
	sw := newSwitch(t, nil)
	for _, tt := range []struct {
		field string // of the error, empty if there is none
		set   func(*Fault)
	}{
		{"", func(*Fault) {}},
		{"", func(f *Fault) { f.Kind, f.Delay = FaultDelay, time.Hour }},
		{"", func(f *Fault) { f.Kind, f.Bytes, f.Rate = FaultCorrupt, MaxPayload, 1 }},
		{"kind", func(f *Fault) { f.Kind = 0 }},
		{"kind", func(f *Fault) { f.Kind = FaultCorrupt + 1 }},
		{"from and to", func(f *Fault) { f.From, f.To = 16, 16 }},
		{"operation", func(f *Fault) { f.Op = 8 }},
		{"over", func(f *Fault) { f.Over = -1 }},
		{"after", func(f *Fault) { f.After = -1 }},
		{"limit", func(f *Fault) { f.Limit = -1 }},
		{"rate", func(f *Fault) { f.Rate = -0.1 }},
		{"rate", func(f *Fault) { f.Rate = 1.1 }},
		{"rate", func(f *Fault) { f.Rate = math.NaN() }},
		{"delay", func(f *Fault) { f.Delay = 1 }},
		{"delay", func(f *Fault) { f.Kind = FaultDelay }},
		{"delay", func(f *Fault) { f.Kind, f.Delay = FaultDelay, -1 }},
		{"delay", func(f *Fault) { f.Kind, f.Delay = FaultDelay, time.Hour+1 }},
		{"bytes", func(f *Fault) { f.Bytes = -1 }},
		{"bytes", func(f *Fault) { f.Bytes = MaxPayload + 1 }},
	} {
		f := stallAll
		tt.set(&f)
		i, err := sw.Inject(f)
		if tt.field == "" {
			must(t, err)
			i.Remove()
			i.Remove()
			continue
		}
		if !errors.Is(err, unix.EINVAL) || !strings.HasPrefix(err.Error(), "vsock fault: "+tt.field+" ") {
			t.Errorf("%+v: error %v, want one about %s", f, err, tt.field)
		}
	}
	if sw.faults.Load() != nil {
		t.Error("faults are left")
	}
}

func TestFaultSelects(t *testing.T) {
	packet := sighting{from: Addr{16, 1234}, to: Addr{3, 9000}, op: OpRW, n: 100}
	for _, tt := range []struct {
		name string
		set  func(*Fault)
		hit  bool
	}{
		{"everything", func(*Fault) {}, true},
		{"sender", func(f *Fault) { f.From = 16 }, true},
		{"other sender", func(f *Fault) { f.From = 17 }, false},
		{"hypervisor as sender", func(f *Fault) { f.From = 0 }, false},
		{"receiver", func(f *Fault) { f.To = 3 }, true},
		{"other receiver", func(f *Fault) { f.To = 16 }, false},
		{"other direction", func(f *Fault) { f.From, f.To = 3, 16 }, false},
		{"sender's port", func(f *Fault) { f.Port = 1234 }, true},
		{"receiver's port", func(f *Fault) { f.Port = 9000 }, true},
		{"other port", func(f *Fault) { f.Port = 9001 }, false},
		{"operation", func(f *Fault) { f.Op = OpRW }, true},
		{"other operation", func(f *Fault) { f.Op = OpRST }, false},
		{"larger than", func(f *Fault) { f.Over = 99 }, true},
		{"not larger than", func(f *Fault) { f.Over = 100 }, false},
		{"corrupt", func(f *Fault) { f.Kind = FaultCorrupt }, true},
	} {
		f := stallAll
		tt.set(&f)
		sw := newSwitch(t, nil)
		i, err := sw.Inject(f)
		must(t, err)
		v := sw.faults.Load().judge(packet)
		if got := v.stall != nil || v.flips != nil; got != tt.hit {
			t.Errorf("%s: hit is %v, want %v", tt.name, got, tt.hit)
		}
		want := FaultStats{}
		if tt.hit {
			want = FaultStats{Matched: 1, Hit: 1, Bytes: 100}
		}
		if diff := cmp.Diff(want, i.Stats()); diff != "" {
			t.Errorf("%s: stats (-want +got):\n%s", tt.name, diff)
		}
	}
	// There is nothing to corrupt in a packet without payload.
	sw := newSwitch(t, nil)
	i, err := sw.Inject(Fault{Kind: FaultCorrupt, From: CIDAny, To: CIDAny})
	must(t, err)
	packet.n = 0
	if v := sw.faults.Load().judge(packet); v.flips != nil || i.Stats() != (FaultStats{}) {
		t.Errorf("an empty packet was hit: %+v, %+v", v, i.Stats())
	}
}

// picks is which of n packets a fault hits.
func picks(t *testing.T, f Fault, n int) (hits []int, st FaultStats) {
	t.Helper()
	sw := newSwitch(t, nil)
	i, err := sw.Inject(f)
	must(t, err)
	for p := range n {
		if v := sw.faults.Load().judge(sighting{op: OpRW, n: 10}); v.drop {
			hits = append(hits, p)
		}
	}
	return hits, i.Stats()
}

func TestFaultCounts(t *testing.T) {
	f := Fault{Kind: FaultDrop, From: CIDAny, To: CIDAny, After: 3, Limit: 2}
	hits, st := picks(t, f, 10)
	if diff := cmp.Diff([]int{3, 4}, hits); diff != "" {
		t.Errorf("hits (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(FaultStats{Matched: 10, Hit: 2, Bytes: 20}, st); diff != "" {
		t.Errorf("stats (-want +got):\n%s", diff)
	}
}

// The same seed hits the same packets, another one others, and about as many as
// asked for.
func TestFaultRate(t *testing.T) {
	f := Fault{Kind: FaultDrop, From: CIDAny, To: CIDAny, Rate: 0.25, Seed: 7}
	const n = 10_000
	first, _ := picks(t, f, n)
	again, _ := picks(t, f, n)
	if diff := cmp.Diff(first, again); diff != "" {
		t.Errorf("the same seed differs:\n%s", diff)
	}
	if len(first) < n/4-n/20 || len(first) > n/4+n/20 {
		t.Errorf("%d of %d packets were hit, want a quarter", len(first), n)
	}
	f.Seed++
	if other, _ := picks(t, f, n); cmp.Equal(first, other) {
		t.Error("another seed hits the same packets")
	}
}

// Faults apply in order; one that loses the packet hides it from those after.
func TestFaultsCombine(t *testing.T) {
	sw := newSwitch(t, nil)
	inject := func(f Fault) *Injection {
		f.From, f.To = CIDAny, CIDAny
		i, err := sw.Inject(f)
		must(t, err)
		return i
	}
	first := inject(Fault{Kind: FaultDelay, Delay: time.Second})
	inject(Fault{Kind: FaultDelay, Delay: time.Minute})
	stall := inject(Fault{Kind: FaultStall})
	inject(Fault{Kind: FaultStall})
	inject(Fault{Kind: FaultCorrupt, Bytes: 3})
	lost := inject(Fault{Kind: FaultDrop, After: 1})
	last := inject(Fault{Kind: FaultReset, After: 1})
	p := sighting{op: OpRW, n: 10}
	v := sw.faults.Load().judge(p)
	if v.delay != time.Minute+time.Second || v.stall != stall || len(v.flips) != 3 || v.drop || v.reset {
		t.Errorf("verdict %+v", v)
	}
	if v = sw.faults.Load().judge(p); !v.drop || v.reset {
		t.Errorf("verdict %+v, want a loss", v)
	}
	if first.Stats().Hit != 2 || lost.Stats().Hit != 1 || last.Stats().Matched != 1 {
		t.Errorf("stats %+v, %+v, %+v", first.Stats(), lost.Stats(), last.Stats())
	}
	lost.Remove()
	if v = sw.faults.Load().judge(p); !v.reset {
		t.Errorf("verdict %+v, want a reset", v)
	}
}

// Every change is one, wherever it lies.
func TestFlips(t *testing.T) {
	for _, tt := range []struct{ size, count, want int }{
		{1, 1, 1}, {1, 5, 1}, {10, 10, 10}, {10, 3, 3}, {999, 999, 999}, {65536, 1, 1}, {65536, 100, 100},
	} {
		for seed := range uint64(50) {
			b := make([]byte, tt.size)
			apply(flips(seed, 9, tt.size, tt.count), 0, b)
			changed := 0
			for _, x := range b {
				if x != 0 {
					changed++
				}
			}
			if changed != tt.want {
				t.Fatalf("%d of %d bytes changed, want %d", changed, tt.size, tt.want)
			}
			// In pieces, it is the same bytes.
			half, third := tt.size/2, tt.size/3
			pieces := [][]byte{make([]byte, 5), make([]byte, third), {}, make([]byte, tt.size-third)}
			applyAt(flips(seed, 9, tt.size, tt.count), 0, pieces, 5, half)
			applyAt(flips(seed, 9, tt.size, tt.count), half, pieces, 5+half, tt.size-half)
			if !bytes.Equal(append(pieces[1], pieces[3]...), b) || !bytes.Equal(pieces[0], make([]byte, 5)) {
				t.Fatal("in pieces, other bytes change")
			}
		}
	}
}

func TestFaultKindString(t *testing.T) {
	if got := FaultCorrupt.String() + " " + FaultStall.String() + " " + FaultKind(9).String() + " " + FaultKind(-1).String(); got != "corrupt stall fault(9) fault(-1)" {
		t.Error(got)
	}
}
