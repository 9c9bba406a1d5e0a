package vsock

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"
)

// join opens a connection from one guest to another and returns both ends.
func join(t *testing.T, a, b *guest, port uint32) (pa, pb *peer) {
	t.Helper()
	pa = a.conn(1234, b.cid, port)
	a.send(pa.out(OpRequest))
	req := b.await(OpRequest)
	h := req[len(req)-1].Header
	if h.SrcCID != uint64(a.cid) || h.SrcPort != 1234 || h.DstPort != port {
		t.Fatalf("the called guest got %+v", h)
	}
	a.expect() // not yet
	pb = b.conn(port, a.cid, 1234)
	b.send(pb.out(OpResponse))
	got := a.await(OpResponse)
	if want := pa.in(OpResponse, 0); len(got) != 1 || !equal(got[0], want) {
		t.Fatalf("caller got %v, want %v", got, want)
	}
	return pa, pb
}

func parentAndEnclave(t *testing.T) (*Switch, *guest, *guest) {
	sw := newSwitch(t, nil)
	return sw, attach(t, sw, CIDParent, 40), attach(t, sw, 16, 40)
}

// collect receives n bytes and grants credit for them.
func (p *peer) collect(n int) []byte {
	p.t.Helper()
	var got []byte
	base := p.h.FwdCnt
	for len(got) < n {
		for _, f := range p.until(func(f packet) bool { return f.Op == OpRW }) {
			got = append(got, f.Data...)
		}
		if under := base + uint32(len(got)) - p.h.FwdCnt; under > p.h.BufAlloc {
			p.t.Fatalf("%d bytes under way, granted %d", under, p.h.BufAlloc)
		}
		p.h.FwdCnt = base + uint32(len(got))
		p.send(p.out(OpCreditUpdate))
	}
	return got
}

func TestGuestToGuest(t *testing.T) {
	for _, name := range []string{"parent calls", "enclave calls"} {
		t.Run(name, func(t *testing.T) {
			_, a, b := parentAndEnclave(t)
			if name == "enclave calls" {
				a, b = b, a
			}
			pa, pb := join(t, a, b, 5000)
			data := pattern(50000)
			pa.write(data[:10], data[10:])
			if !bytes.Equal(pb.collect(len(data)), data) {
				t.Error("data differs")
			}
			pb.write([]byte("answer"))
			if got := pa.collect(6); string(got) != "answer" {
				t.Errorf("caller got %q", got)
			}
			pa.shutdown(ShutdownSend)
			if got := b.await(OpShutdown); got[len(got)-1].Flags != ShutdownSend {
				t.Errorf("called guest got %v", got)
			}
			pb.shutdown(shutdownBoth)
			b.await(OpRST)
			if got := a.await(OpShutdown); got[len(got)-1].Flags != shutdownBoth {
				t.Errorf("caller got %v", got)
			}
			a.send(pa.out(OpRST))
			wantStreams(t, a.dev, 0)
			wantStreams(t, b.dev, 0)
		})
	}
}

func TestGuestToGuestByAlias(t *testing.T) {
	_, parent, enclave := parentAndEnclave(t)
	p := enclave.conn(1234, CIDHost, 9000)
	enclave.send(p.out(OpRequest))
	req := parent.await(OpRequest)
	if req[0].SrcCID != 16 || req[0].DstCID != 3 {
		t.Errorf("parent got %v", req[0])
	}
	parent.send(parent.conn(9000, 16, 1234).out(OpResponse))
	got := enclave.await(OpResponse)
	if !equal(got[0], p.in(OpResponse, 0)) {
		t.Errorf("enclave got %v, from CID 2 was wanted", got[0])
	}
}

func TestGuestToGuestRefused(t *testing.T) {
	_, parent, enclave := parentAndEnclave(t)
	p := parent.conn(1234, 16, 1)
	parent.send(p.out(OpRequest))
	enclave.await(OpRequest)
	enclave.send(enclave.conn(1, 3, 1234).out(OpRST))
	got := parent.await(OpRST)
	if len(got) != 1 || !equal(got[0], p.rst()) {
		t.Errorf("caller got %v, want %v", got, p.rst())
	}
	wantStreams(t, parent.dev, 0)
	wantStreams(t, enclave.dev, 0)
}

// The caller may change its mind before the answer.
func TestGuestToGuestCancelled(t *testing.T) {
	_, parent, enclave := parentAndEnclave(t)
	p := parent.conn(1234, 16, 1)
	parent.send(p.out(OpRequest))
	enclave.await(OpRequest)
	parent.send(p.out(OpRST))
	enclave.await(OpRST)
	enclave.send(enclave.conn(1, 3, 1234).out(OpResponse))
	enclave.await(OpRST)
	parent.expect()
	wantStreams(t, parent.dev, 0)
	wantStreams(t, enclave.dev, 0)
}

// A guest that boots, or is gone, refuses.
func TestGuestToGuestWithoutDriver(t *testing.T) {
	_, parent, enclave := parentAndEnclave(t)
	enclave.stop()
	p := parent.conn(1234, 16, 1)
	parent.send(p.out(OpRequest))
	parent.expect(p.rst())
	enclave.boot(8)
	join(t, parent, enclave, 5000)
}

func TestGuestToGuestNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, parent, enclave := parentAndEnclave(t)
		p := parent.conn(1234, 16, 1)
		parent.send(p.out(OpRequest))
		enclave.await(OpRequest)
		time.Sleep(relayTimeout - 1)
		synctest.Wait()
		parent.expect()
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		parent.expect(p.rst())
		enclave.expect(enclave.conn(1, 3, 1234).rst())
		wantStreams(t, parent.dev, 0)
		wantStreams(t, enclave.dev, 0)
	})
}

// Data under way survives the end of its sender, however slow the receiver.
func TestGuestToGuestCloseWithDataUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, parent, enclave := parentAndEnclave(t)
		pa, pb := join(t, parent, enclave, 5000)
		pb.h.BufAlloc = 20000
		enclave.send(pb.out(OpCreditUpdate))
		data := pattern(3 * 60000)
		for i := 0; i < len(data); i += 60000 {
			pa.write(data[i : i+60000])
		}
		pa.shutdown(shutdownBoth)
		parent.await(OpRST)
		time.Sleep(time.Hour)
		if !bytes.Equal(pb.collect(len(data)), data) {
			t.Error("data differs")
		}
		enclave.await(OpShutdown)
		// Only now its time to confirm begins.
		time.Sleep(defaultCloseTimeout - 1)
		synctest.Wait()
		wantStreams(t, enclave.dev, 1)
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		enclave.expect(pb.rst())
		wantStreams(t, parent.dev, 0)
		wantStreams(t, enclave.dev, 0)
	})
}

// What the caller says before it has an answer is passed on behind it.
func TestGuestToGuestEarlyRequest(t *testing.T) {
	_, parent, enclave := parentAndEnclave(t)
	pa := parent.conn(1234, 16, 5000)
	parent.send(pa.out(OpRequest))
	pa.write([]byte("early"))
	pa.shutdown(ShutdownSend)
	enclave.await(OpRequest)
	enclave.expect()
	pb := enclave.conn(5000, 3, 1234)
	enclave.send(pb.out(OpResponse))
	got := enclave.await(OpShutdown)
	if len(got) != 2 || string(got[0].Data) != "early" || got[1].Flags != ShutdownSend {
		t.Errorf("enclave got %v", got)
	}
	parent.await(OpResponse)
}

func TestGuestToGuestReset(t *testing.T) {
	_, parent, enclave := parentAndEnclave(t)
	pa, _ := join(t, parent, enclave, 5000)
	pa.write([]byte("x"))
	parent.send(pa.out(OpRST))
	enclave.await(OpRST)
	wantStreams(t, parent.dev, 0)
	wantStreams(t, enclave.dev, 0)
}

// A guest that does not read stops the sender, by credit, and nobody else.
func TestGuestToGuestBackpressure(t *testing.T) {
	_, parent, enclave := parentAndEnclave(t)
	pa, pb := join(t, parent, enclave, 5000)
	pb.h.BufAlloc = 20000
	enclave.send(pb.out(OpCreditUpdate))

	data := pattern(defaultWindow + 20000)
	sent, fwd := 0, 0
	for sent-fwd < defaultWindow {
		n := min(32768, defaultWindow-(sent-fwd), len(data)-sent)
		if n == 0 {
			t.Fatal("more was taken than both buffers hold")
		}
		pa.write(data[sent : sent+n])
		sent += n
		// What the other guest has room for goes on; wait for it to have gone.
		waitFor(t, func() bool { return readyStreams(enclave.dev) == 0 })
		for _, f := range parent.recv() {
			if f.Op != OpCreditUpdate {
				t.Fatalf("parent got %v", f)
			}
			fwd = int(f.FwdCnt)
		}
	}

	// Another connection of the same guests is not held up.
	qa, qb := parent.conn(77, 16, 6000), enclave.conn(6000, 3, 77)
	parent.send(qa.out(OpRequest))
	var held []packet
	held = append(held, enclave.until(func(f packet) bool { return f.Op == OpRequest })...)
	enclave.send(qb.out(OpResponse))
	parent.await(OpResponse)
	qa.write([]byte("overtakes"))
	got := enclave.until(func(f packet) bool { return f.DstPort == 6000 })
	if last := got[len(got)-1]; string(last.Data) != "overtakes" {
		t.Errorf("enclave got %v", last)
	}

	var early []byte
	for _, f := range append(held, got...) {
		if f.DstPort == 5000 {
			early = append(early, f.Data...)
		}
	}
	pb.h.FwdCnt = uint32(len(early))
	enclave.send(pb.out(OpCreditUpdate))
	if all := append(early, pb.collect(sent-len(early))...); !bytes.Equal(all, data[:sent]) {
		t.Error("data differs")
	}
}

// Either guest's disappearance is the end for the other.
func TestGuestToGuestDetach(t *testing.T) {
	_, parent, enclave := parentAndEnclave(t)
	join(t, parent, enclave, 5000)
	must(t, enclave.dev.Close())
	parent.await(OpRST)
	wantStreams(t, parent.dev, 0)
}

func TestGuestToGuestDriverRestarts(t *testing.T) {
	_, parent, enclave := parentAndEnclave(t)
	join(t, parent, enclave, 5000)
	enclave.stop()
	parent.await(OpRST)
	wantStreams(t, parent.dev, 0)
	enclave.boot(8)
	enclave.await(OpRST)
}

// The called guest's limit refuses the caller.
func TestGuestToGuestLimit(t *testing.T) {
	sw := newSwitch(t, &Config{MaxConns: 1})
	enclave := attach(t, sw, 16, 8)
	enclave.answer(dial(t, sw, CIDParent, 16, 5000))
	parent := attach(t, sw, CIDParent, 8)
	p := parent.conn(1, 16, 1)
	parent.send(p.out(OpRequest))
	parent.expect(p.rst())
	wantStreams(t, parent.dev, 0)
}
