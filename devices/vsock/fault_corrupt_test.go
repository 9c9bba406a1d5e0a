package vsock

import (
	"bytes"
	"io"
	"os"
	"testing"
	"time"
)

// differences is the number of places at which a and b differ.
func differences(a, b []byte) int {
	n := 0
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			n++
		}
	}
	return n + max(len(a), len(b)) - min(len(a), len(b))
}

// The reported quirk: packets over 32 KiB arrive changed, shorter ones do not.
// The guest's own memory stays as it is, and the same seed changes the same.
func TestCorrupt(t *testing.T) {
	large, small := pattern(64<<10), pattern(32<<10)
	quirk := func(f Fault) Fault {
		f.Over, f.Bytes, f.Seed = 32<<10, 5, 42
		return f
	}
	paths := map[string]func(t *testing.T) (large, small []byte){
		"from guest": func(t *testing.T) (a, b []byte) {
			sw := newSwitch(t, nil)
			l := listen(t, sw, CIDParent, 9000)
			g := attach(t, sw, 16, 8)
			p, c := g.connect(l, 1234)
			i := inject(t, sw, quirk(toGo(FaultCorrupt)))
			a, b = make([]byte, len(large)), make([]byte, len(small))
			p.write(large[:100], large[100:])
			p.write(small)
			if _, err := io.ReadFull(c, a); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(c, b); err != nil {
				t.Fatal(err)
			}
			wantHits(t, i, 1)
			return a, b
		},
		"to guest": func(t *testing.T) (a, b []byte) {
			sw := newSwitch(t, nil)
			l := listen(t, sw, CIDParent, 9000)
			g := attach(t, sw, 16, 60)
			p, c := g.connect(l, 1234)
			i := inject(t, sw, quirk(toGuest(FaultCorrupt)))
			mine := bytes.Clone(large)
			if _, err := c.Write(mine); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(mine, large) {
				t.Error("the writer's slice was changed")
			}
			a = p.collect(len(large))
			if _, err := c.Write(small); err != nil {
				t.Fatal(err)
			}
			b = p.collect(len(small))
			wantHits(t, i, 1)
			return a, b
		},
		"between guests": func(t *testing.T) (a, b []byte) {
			sw, parent, enclave := parentAndEnclave(t)
			pa, pb := join(t, parent, enclave, 5000)
			inject(t, sw, quirk(toGuest(FaultCorrupt)))
			pa.write(large)
			a = pb.collect(len(large))
			pa.write(small)
			return a, pb.collect(len(small))
		},
	}
	var first []byte
	for name, path := range paths {
		t.Run(name, func(t *testing.T) {
			a, b := path(t)
			if n := differences(a, large); n != 5 {
				t.Errorf("%d bytes of the large packet changed, want 5", n)
			}
			if n := differences(b, small); n != 0 {
				t.Errorf("%d bytes of the small packet changed", n)
			}
			if first == nil {
				first = a
			} else if !bytes.Equal(first, a) {
				t.Error("the same seed changes other bytes")
			}
		})
	}
}

// A Write longer than a packet is as many packets as Linux would send.
func TestCorruptPartOfWrite(t *testing.T) {
	sw := newSwitch(t, nil)
	l := listen(t, sw, CIDParent, 9000)
	g := attach(t, sw, 16, 100)
	p, c := g.connect(l, 1234)
	f := toGuest(FaultCorrupt)
	f.After, f.Limit, f.Op = 1, 1, OpRW
	i := inject(t, sw, f)
	data := pattern(3*MaxPayload - 100)
	wrote := write(c, data)
	got := p.collect(len(data))
	must(t, <-wrote)
	if st := i.Stats(); st != (FaultStats{Matched: 3, Hit: 1, Bytes: MaxPayload}) {
		t.Errorf("stats %+v", st)
	}
	if differences(got[:MaxPayload], data[:MaxPayload]) != 0 || differences(got[MaxPayload:2*MaxPayload], data[MaxPayload:2*MaxPayload]) != 1 ||
		differences(got[2*MaxPayload:], data[2*MaxPayload:]) != 0 {
		t.Error("not the second packet alone was changed")
	}
}

// A packet is looked at once: the fault goes on with what it hit before it was
// removed, and then leaves nothing behind.
func TestFaultRemovedWithinPacket(t *testing.T) {
	sw := newSwitch(t, nil)
	l := listen(t, sw, CIDParent, 9000)
	g := attach(t, sw, 16, 10)
	p, c := g.connect(l, 1234)
	f := toGuest(FaultCorrupt)
	f.Bytes = 100
	i := inject(t, sw, f)
	data := pattern(MaxPayload + 5000)
	wrote := write(c, data)
	waitFor(t, func() bool { return g.dev.Stats().BytesOut == 10*(rxBuffer-HeaderSize) })
	i.Remove()
	got := p.collect(len(data))
	must(t, <-wrote)
	if n := differences(got[:MaxPayload], data[:MaxPayload]); n != 100 {
		t.Errorf("%d bytes of the packet changed, want 100", n)
	}
	if n := differences(got[MaxPayload:], data[MaxPayload:]); n != 0 {
		t.Errorf("%d bytes of the next packet changed", n)
	}
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if c.s.egress != nil {
		t.Error("the fault left something behind")
	}
}

// What a Write that failed left behind has no effect on the next one.
func TestFaultAfterFailedWrite(t *testing.T) {
	sw := newSwitch(t, nil)
	l := listen(t, sw, CIDParent, 9000)
	g := attach(t, sw, 16, 10)
	p, c := g.connect(l, 1234)
	f := toGuest(FaultCorrupt)
	f.Over, f.Seed = 32<<10, 3
	i := inject(t, sw, f)
	must(t, c.SetWriteDeadline(time.Now().Add(time.Millisecond)))
	n, err := c.Write(make([]byte, MaxPayload)) // too much for 10 buffers
	wantErr(t, err, os.ErrDeadlineExceeded)
	wantHits(t, i, 1)
	p.collect(n)
	must(t, c.SetWriteDeadline(never))
	data := pattern(30_000)
	if _, err := c.Write(data[:20_000]); err != nil {
		t.Fatal(err)
	}
	got := p.collect(20_000)
	wrote := write(c, data[20_000:])
	got = append(got, p.collect(10_000)...)
	must(t, <-wrote)
	if !bytes.Equal(got, data) {
		t.Error("a packet that is not to be hit was changed")
	}
	if st := i.Stats(); st.Matched != 1 {
		t.Errorf("stats %+v", st)
	}
}
