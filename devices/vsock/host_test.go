package vsock

import (
	"io"
	"testing"

	"golang.org/x/sys/unix"
)

// The Host talks to its parent guest from CID 2: this is how an agent in it is
// reached.
func TestHostDialsTheParent(t *testing.T) {
	sw := newSwitch(t, nil)
	parent := attach(t, sw, CIDParent, 8)
	enclave := attach(t, sw, 16, 8)
	p, c := parent.answer(dial(t, sw, CIDHost, CIDParent, 5122))
	if p.h.DstCID != 2 {
		t.Errorf("the parent was dialled from CID %d, want 2", p.h.DstCID)
	}
	if l, r := c.LocalAddr().(Addr), c.RemoteAddr(); l.CID != 2 || r != (Addr{3, 5122}) {
		t.Errorf("addresses %v and %v", l, r)
	}
	p.write([]byte("banner"))
	wantRead(t, c, []byte("banner"))
	if _, err := c.Write([]byte("command")); err != nil {
		t.Fatal(err)
	}
	want := p.in(OpRW, 6)
	want.Len, want.Data = 7, []byte("command")
	parent.expect(want)
	p.shutdown(shutdownBoth)
	parent.expect(p.rst())
	wantEnd(t, c, io.EOF)
	enclave.expect()
}

// What the Host offers at CID 2 is for the parent: an enclave that dials CID 2
// means its parent.
func TestHostListensForTheParentOnly(t *testing.T) {
	sw := newSwitch(t, nil)
	l := listen(t, sw, CIDHost, 80)
	parent, enclave := attach(t, sw, CIDParent, 8), attach(t, sw, 16, 8)
	_, c := parent.connect(l, 1)
	if got := c.LocalAddr(); got != (Addr{2, 80}) {
		t.Errorf("local address %v", got)
	}

	p := enclave.conn(1, CIDHost, 80)
	enclave.send(p.out(OpRequest))
	req := parent.await(OpRequest)
	if h := req[0].Header; h.SrcCID != 16 || h.DstCID != 3 || h.DstPort != 80 {
		t.Errorf("the parent got %+v", h)
	}
	parent.send(parent.conn(80, 16, 1).out(OpRST))
	enclave.await(OpRST)
	must(t, l.SetDeadline(aLongTimeAgo))
	if _, err := l.Accept(); err == nil {
		t.Error("an enclave reached the Host")
	}
}

func TestHostDoesNotDialEnclaves(t *testing.T) {
	sw := newSwitch(t, nil)
	g := attach(t, sw, 16, 8)
	for _, from := range []uint32{CIDHost, CIDHypervisor, 17} {
		_, err := sw.Dial(t.Context(), from, 16, 1)
		wantErr(t, err, unix.EACCES)
	}
	g.expect()
}
