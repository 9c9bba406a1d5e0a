package vsock

import (
	"bytes"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
)

// threeGuests is a parent with two enclaves, 16 and 17.
func threeGuests(t *testing.T, cfg *Config) (parent, a, b *guest) {
	sw := newSwitch(t, cfg)
	return attach(t, sw, CIDParent, 40), attach(t, sw, 16, 40), attach(t, sw, 17, 40)
}

// open makes g connect to the parent guest and the parent accept.
func (g *guest) open(parent *guest, port, parentPort uint32) (pg, pp *peer) {
	g.t.Helper()
	pg = g.conn(port, CIDParent, parentPort)
	g.send(pg.out(OpRequest))
	parent.until(func(p packet) bool { return p.Op == OpRequest && p.SrcCID == uint64(g.cid) && p.SrcPort == port })
	pp = parent.conn(parentPort, g.cid, port)
	parent.send(pp.out(OpResponse))
	g.await(OpResponse)
	return pg, pp
}

// An enclave that opens all the connections it can has its own share of the
// parent's, and no other enclave's.
func TestConnectionsAreShared(t *testing.T) {
	const limit = 20
	parent, a, b := threeGuests(t, &Config{MaxConns: limit})
	for i := range uint32(limit) {
		a.open(parent, i, 9000)
	}
	over := a.conn(limit, CIDParent, 9000)
	a.send(over.out(OpRequest))
	a.expect(over.rst())
	parent.expect()
	pb, pp := b.open(parent, 1, 9000)
	pb.write([]byte("still served"))
	if got := pp.collect(12); string(got) != "still served" {
		t.Errorf("parent got %q", got)
	}
}

// An enclave whose connections have taken all the window memory leaves full
// windows for others.
func TestWindowsAreShared(t *testing.T) {
	parent, a, b := threeGuests(t, &Config{Memory: 4 * defaultWindow})
	for i := range uint32(50) {
		a.open(parent, i, 9000)
	}
	p := b.conn(1, CIDParent, 9000)
	b.send(p.out(OpRequest))
	fresh := parent.await(OpRequest)
	parent.send(parent.conn(9000, 17, 1).out(OpResponse))
	if got := b.await(OpResponse)[0].BufAlloc; got != 4*defaultWindow/64 {
		t.Errorf("the other enclave gets a window of %d, want %d as the first would", got, 4*defaultWindow/64)
	}
	if got := fresh[len(fresh)-1].BufAlloc; got != 4*defaultWindow/64 {
		t.Errorf("the parent gets a window of %d towards it, want %d", got, 4*defaultWindow/64)
	}
}

// The parent's receive buffers are shared between enclaves, not between
// connections: many busy ones of one enclave slow down another one by half and
// no more.
func TestBuffersAreShared(t *testing.T) {
	parent, a, b := threeGuests(t, nil)
	const many = 30
	var pa []*peer
	for i := range uint32(many) {
		p, _ := a.open(parent, i, 9000)
		pa = append(pa, p)
	}
	pb, _ := b.open(parent, 1, 9000)
	parent.take()
	parent.rx = newDriver(t, parent.arena) // no buffers
	parent.dev.StopQueue(queueRx)
	parent.dev.StartQueue(queueRx, parent.rx.Queue())
	big := make([]byte, 20*rxBuffer)
	for _, p := range pa {
		p.write(big)
	}
	pb.write(big)
	counts := map[uint64]int{}
	parent.post(20, rxBuffer)
	for _, f := range parent.take() {
		counts[f.SrcCID]++
	}
	if counts[16] != 10 || counts[17] != 10 {
		t.Errorf("packets by enclave %v, want 10 of each", counts)
	}
}

// An enclave whose resets the parent is slow to take holds up its own new
// connections, and not another enclave's resets: what waits for the parent is
// bounded by the number of connections.
func TestResetsAreShared(t *testing.T) {
	const limit = 10
	parent, a, b := threeGuests(t, &Config{MaxConns: limit})
	var pa []*peer
	for i := range uint32(limit) {
		p, _ := a.open(parent, i, 9000)
		pa = append(pa, p)
	}
	pb, _ := b.open(parent, 1, 9000)
	parent.dev.StopQueue(queueRx)
	parent.rx = newDriver(t, parent.arena) // no buffers
	parent.dev.StartQueue(queueRx, parent.rx.Queue())

	for i, p := range pa {
		a.send(p.out(OpRST))
		q := a.conn(uint32(100+i), CIDParent, 9000)
		a.send(q.out(OpRequest))
	}
	for i := range uint32(5) {
		q := a.conn(200+i, CIDParent, 9000)
		a.send(q.out(OpRequest)) // one too many
		a.await(OpRST)
	}
	b.send(pb.out(OpRST))
	d := parent.dev
	d.mu.Lock()
	if x := d.accounts[16]; x == nil || x.live != limit || x.resets.n != limit || len(d.accounts) != 2 {
		t.Errorf("account %+v of %d, want %d connections and %d resets", x, len(d.accounts), limit, limit)
	}
	d.mu.Unlock()

	ops := func(n int) map[string]int {
		parent.post(n, rxBuffer)
		got := map[string]int{}
		for _, f := range parent.take() {
			got[fmt.Sprintf("%d %v", f.SrcCID, f.Op)]++
		}
		return got
	}
	if diff := cmp.Diff(map[string]int{"16 RST": 1, "17 RST": 1}, ops(2)); diff != "" {
		t.Errorf("first, the parent gets (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]int{"16 RST": limit - 1, "16 REQUEST": 1}, ops(limit)); diff != "" {
		t.Errorf("then, the parent gets (-want +got):\n%s", diff)
	}
}

// A guest that ignores its credit towards another guest loses that connection
// and nothing else, and nothing is kept for it beyond its window.
func TestGuestToGuestOverrun(t *testing.T) {
	parent, a, b := threeGuests(t, nil)
	pa, _ := a.open(parent, 1, 9000)
	qa, qp := a.open(parent, 2, 9000)
	pb, pp := b.open(parent, 1, 9000)
	stalled := parent.conn(9000, 16, 1)
	stalled.h.BufAlloc = 0
	parent.send(stalled.out(OpCreditUpdate)) // takes nothing
	for range defaultWindow / 65536 {
		pa.write(make([]byte, 65536))
	}
	a.expect()
	pa.write([]byte{1})
	a.expect(pa.rst())
	got := parent.await(OpRST)
	if last := got[len(got)-1]; last.SrcCID != 16 || last.SrcPort != 1 || last.DstPort != 9000 {
		t.Errorf("the parent got %+v", last)
	}
	if n := a.dev.Stats().Overruns; n != 1 {
		t.Errorf("%d overruns, want 1", n)
	}
	qa.write([]byte("second"))
	pb.write([]byte("third"))
	if x, y := qp.collect(6), pp.collect(5); string(x) != "second" || string(y) != "third" {
		t.Errorf("parent got %q and %q", x, y)
	}
}

// A guest that does not keep to its peer's credit is held to it by the switch:
// the receiver never has more under way than it granted.
func TestGuestToGuestKeepsToCredit(t *testing.T) {
	_, parent, enclave := parentAndEnclave(t)
	pa, pb := join(t, parent, enclave, 5000)
	pb.h.BufAlloc = 5000
	enclave.send(pb.out(OpCreditUpdate))
	data := pattern(200_000)
	for i := 0; i < len(data); i += 50_000 {
		pa.write(data[i : i+50_000]) // far beyond 5000
	}
	if !bytes.Equal(pb.collect(len(data)), data) { // checks what is under way
		t.Error("data differs")
	}
}

// Stopping a guest resets its connections, for its peers too, and no others.
func TestStopIsLocal(t *testing.T) {
	for _, tt := range []struct {
		name string
		stop func(*guest)
	}{
		{"both queues", (*guest).stop},
		{"transmit queue only", func(g *guest) { g.dev.StopQueue(queueTx) }},
		{"detach", func(g *guest) { _ = g.dev.Close() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			parent, a, b := threeGuests(t, nil)
			a.open(parent, 1, 9000)
			a.open(parent, 2, 9000)
			pb, pp := b.open(parent, 1, 9000)
			tt.stop(a)
			for _, f := range append(parent.await(OpRST), parent.await(OpRST)...) {
				if f.Op != OpRST || f.SrcCID != 16 || f.DstCID != 3 {
					t.Errorf("parent got %+v", f)
				}
			}
			b.expect()
			pb.write([]byte("alive"))
			if got := pp.collect(5); string(got) != "alive" {
				t.Errorf("parent got %q", got)
			}
			wantStreams(t, parent.dev, 1)
		})
	}
}

// A driver that breaks its receive queue is cut off when the transport takes the
// queue away, whoever noticed first.
func TestBrokenReceiveQueueStopped(t *testing.T) {
	_, parent, enclave := parentAndEnclave(t)
	pa, _ := join(t, parent, enclave, 5000)
	enclave.take()
	enclave.rx.SetAvail(enclave.rx.Avail() + 1000)
	for range 4 {
		parent.send(pa.out(OpRW), make([]byte, 60_000)) // more than the buffers that were seen hold
	}
	if err := enclave.dev.HandleQueue(queueRx); err == nil {
		t.Fatal("the queue is not broken")
	}
	enclave.dev.StopQueue(queueRx)
	parent.await(OpRST)
	wantStreams(t, parent.dev, 0)
	wantStreams(t, enclave.dev, 0)
}

// A CID can be used again at once; the new guest has nothing of the old one's.
func TestAttachAgain(t *testing.T) {
	sw := newSwitch(t, nil)
	parent := attach(t, sw, CIDParent, 40)
	for round := range uint32(5) {
		g := attach(t, sw, 16, 40)
		pg, pp := g.open(parent, 1234, 9000)
		msg := fmt.Appendf(nil, "round %d", round)
		pg.write(msg)
		if got := pp.collect(len(msg)); string(got) != string(msg) {
			t.Errorf("parent got %q, want %q", got, msg)
		}
		must(t, g.dev.Close())
		parent.await(OpRST)
		pp.write([]byte("to the one before"))
		parent.await(OpRST)
	}
	wantStreams(t, parent.dev, 0)
}

// Packets for several guests in one batch reach all of them.
func TestBatchForSeveralGuests(t *testing.T) {
	parent, a, b := threeGuests(t, nil)
	_, pa := a.open(parent, 1, 9000)
	_, pb := b.open(parent, 1, 9000)
	for range 3 {
		for _, p := range []*peer{pa, pb} {
			h := p.out(OpRW)
			h.Len = 3
			parent.tx.Add([][]byte{wire(h), []byte("abc")}, nil)
		}
	}
	parent.handle(queueTx)
	parent.tx.Used()
	for _, g := range []*guest{a, b} {
		if got := g.recv(); len(got) != 3 {
			t.Errorf("CID %d got %d packets, want 3", g.cid, len(got))
		}
	}
}

// A guest whose receive queue is busy is not waited for, and gets its packet all
// the same.
func TestBusyReceiveQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, parent, enclave := parentAndEnclave(t)
		pa, _ := join(t, parent, enclave, 5000)
		synctest.Wait() // nobody looks at the queue any more
		enclave.dev.rx.mu.Lock()
		pa.write([]byte("does not wait"))
		enclave.dev.rx.mu.Unlock()
		synctest.Wait()
		if got := enclave.take(); len(got) != 1 || string(got[0].Data) != "does not wait" {
			t.Errorf("enclave got %v", got)
		}
	})
}

// Thousands of connections between two guests at once.
func TestThousandsOfGuestToGuestConnections(t *testing.T) {
	const n = 3000
	parent, a, _ := threeGuests(t, &Config{Window: minWindow})
	var pa, pp []*peer
	for i := range uint32(n) {
		x, y := a.open(parent, i, 9000)
		pa, pp = append(pa, x), append(pp, y)
	}
	for i, p := range pa {
		p.write(fmt.Appendf(nil, "question %d", i))
		got := parent.recv()
		if len(got) != 1 || string(got[0].Data) != fmt.Sprintf("question %d", i) || got[0].SrcPort != uint32(i) {
			t.Fatalf("connection %d: parent got %v", i, got)
		}
	}
	for i, p := range pp {
		p.write(fmt.Appendf(nil, "answer %d", i))
		got := a.recv()
		if len(got) != 1 || string(got[0].Data) != fmt.Sprintf("answer %d", i) || got[0].DstPort != uint32(i) {
			t.Fatalf("connection %d: enclave got %v", i, got)
		}
	}
	for i, p := range pa {
		p.shutdown(shutdownBoth)
		a.recv()
		parent.recv()
		parent.send(pp[i].out(OpRST))
	}
	wantStreams(t, a.dev, 0)
	wantStreams(t, parent.dev, 0)
}

// One packet of the largest size a Linux driver sends, and of a larger one that
// another may, into the receive buffers of Linux.
func TestLargePackets(t *testing.T) {
	for _, size := range []int{MaxPayload, 3*MaxPayload + 1} {
		_, parent, enclave := parentAndEnclave(t)
		pa, pb := join(t, parent, enclave, 5000)
		data := pattern(size)
		pa.write(data[:31], data[31:33000], data[33000:])
		if !bytes.Equal(pb.collect(size), data) {
			t.Errorf("%d bytes arrived changed", size)
		}
	}
}
