package vsock

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nitrolab/nitrolab/devices/virtio"
	"github.com/nitrolab/nitrolab/devices/virtio/virtiotest"
)

// Linux since 6.16 sends payloads over 32 KiB as many segments, which other
// switches reassembled wrongly. Any split is the same packet.
func TestSegmentsFromGuest(t *testing.T) {
	data := pattern(60000)
	for _, tt := range []struct {
		name  string
		split func(whole []byte) [][]byte
	}{
		{"one segment", func(w []byte) [][]byte { return [][]byte{w} }},
		{"header apart", func(w []byte) [][]byte { return [][]byte{w[:HeaderSize], w[HeaderSize:]} }},
		{"header in pieces", func(w []byte) [][]byte { return [][]byte{w[:1], w[1:17], w[17:43], w[43:]} }},
		{"header with some payload", func(w []byte) [][]byte { return [][]byte{w[:50], w[50:51], w[51:]} }},
		{"pages", func(w []byte) [][]byte {
			s := [][]byte{w[:HeaderSize]}
			for w = w[HeaderSize:]; len(w) > 4096; w = w[4096:] {
				s = append(s, w[:4096])
			}
			return append(s, w)
		}},
	} {
		for _, indirect := range []bool{false, true} {
			t.Run(tt.name+map[bool]string{true: ", indirect"}[indirect], func(t *testing.T) {
				sw := newSwitch(t, nil)
				l := listen(t, sw, CIDParent, 9000)
				g := attach(t, sw, 16, 8)
				if indirect {
					g.dev.StopQueue(queueTx)
					g.tx = virtiotest.New(t, ringSize, virtiotest.Features(virtio.FeatureIndirectDesc))
					g.dev.StartQueue(queueTx, g.tx.Queue())
				}
				p, c := g.connect(l, 1234)
				// Twice, so that the second wraps around the buffer.
				for range 2 {
					h := p.out(OpRW)
					h.Len = uint32(len(data))
					g.sendRaw(tt.split(append(wire(h), data...))...)
					wantRead(t, c, data)
				}
			})
		}
	}
}

// A packet goes into receive buffers of any size and shape, with a length of
// its own in each.
func TestFragmentsToGuest(t *testing.T) {
	data := pattern(10000)
	for _, tt := range []struct {
		name  string
		shape []int // segments of each receive buffer
		first int   // payload of the first packet
	}{
		{"Linux 6", []int{rxBuffer}, rxBuffer - HeaderSize},
		{"Linux 4.14, header apart", []int{HeaderSize, 4096}, 4096},
		{"larger than the packet", []int{65536}, 10000},
		{"one byte of payload", []int{HeaderSize + 1}, 1},
		{"header in pieces", []int{10, 20, 30, 1000}, 1016},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sw := newSwitch(t, nil)
			l := listen(t, sw, CIDParent, 9000)
			g := attach(t, sw, 16, 1)
			p, c := g.connect(l, 1234)
			g.rx = virtiotest.New(t, ringSize)
			g.dev.stopRx()
			g.dev.startRx(g.rx.Queue())

			wrote := make(chan error, 1)
			go func() {
				_, err := c.Write(data)
				wrote <- err
			}()
			var got []byte
			deadline := time.After(patience)
			for n := 0; len(got) < len(data); n++ {
				g.rx.Add(nil, tt.shape)
				g.handle(queueRx)
				used := g.rx.Used()
				if len(used) == 0 {
					select {
					case <-g.rx.Interrupted():
					case <-deadline:
						t.Fatal("no data")
					}
					used = g.rx.Used()
				}
				for _, u := range used {
					f := decode(t, bytes.Join(u.In, nil))
					if len(got) == 0 && len(f.Data) != tt.first {
						t.Fatalf("first packet carries %d bytes, want %d", len(f.Data), tt.first)
					}
					got = append(got, f.Data...)
					h := p.out(OpCreditUpdate)
					h.FwdCnt = uint32(len(got))
					g.send(h)
				}
			}
			must(t, <-wrote)
			if !bytes.Equal(got, data) {
				t.Error("data differs")
			}
		})
	}
}

// Buffers that cannot hold a packet go back unused and harm nothing.
func TestTinyReceiveBuffers(t *testing.T) {
	sw := newSwitch(t, nil)
	l := listen(t, sw, CIDParent, 9000)
	g := attach(t, sw, 16, 0)
	g.post(3, HeaderSize-1)
	p := g.conn(1234, CIDParent, 9000)
	g.send(p.out(OpRequest)) // RESPONSE finds three bad buffers
	g.post(1, HeaderSize)    // and a good one
	g.send(g.conn(1, CIDParent, 1).out(OpRequest))
	g.post(2, 1) // RST finds two
	g.post(1, HeaderSize)
	c := accept(t, l)
	wrote := make(chan error, 1)
	go func() {
		_, err := c.Write([]byte("payload"))
		wrote <- err
	}()
	waitFor(t, func() bool { return readyStreams(g.dev) == 1 })
	g.post(1, HeaderSize) // no room for payload
	if got := g.dev.Stats().BadBuffer; got != 6 {
		t.Errorf("%d bad buffers counted, want 6", got)
	}
	g.post(1, rxBuffer)
	must(t, <-wrote)
	var lens []uint32
	for _, u := range g.rx.Used() {
		if u.Len != 0 {
			lens = append(lens, u.Len)
		}
	}
	if len(lens) != 3 || lens[0] != HeaderSize || lens[1] != HeaderSize || lens[2] != HeaderSize+7 {
		t.Errorf("packets of %v bytes", lens)
	}
}

// A guest is free to write what it wants. A header that contradicts the chain
// ends the connection it names.
func TestLengthMismatch(t *testing.T) {
	for _, tt := range []struct {
		name  string
		op    Op
		len   uint32
		bytes int
	}{
		{"claims more", OpRW, 11, 10},
		{"claims less", OpRW, 9, 10},
		{"claims everything", OpRW, 0xffffffff, 10},
		{"claims nothing", OpRW, 0, 10},
		{"claims without payload", OpRW, 1, 0},
		{"credit with payload", OpCreditUpdate, 10, 10},
		{"reset with a length", OpRST, 10, 0},
		{"invalid operation", 0, 0, 0},
		{"unknown operation", 8, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sw := newSwitch(t, nil)
			l := listen(t, sw, CIDParent, 9000)
			g := attach(t, sw, 16, 8)
			p, c := g.connect(l, 1234)
			other, oc := g.connect(l, 1235)
			p.write([]byte("before"))

			h := p.out(tt.op)
			h.Len = tt.len
			g.sendRaw(append(wire(h), make([]byte, tt.bytes)...))
			g.expect(p.rst())
			wantRead(t, c, []byte("before"))
			wantEnd(t, c, unix.EPROTO)
			if got := g.dev.Stats().Malformed; got != 1 {
				t.Errorf("%d malformed packets counted, want 1", got)
			}
			other.write([]byte("alive"))
			wantRead(t, oc, []byte("alive"))
		})
	}
}

func TestShortChain(t *testing.T) {
	sw := newSwitch(t, nil)
	g := attach(t, sw, 16, 8)
	for _, n := range []int{1, HeaderSize - 1} {
		g.sendRaw(make([]byte, n))
	}
	g.tx.Add(nil, []int{100}) // nothing to read at all
	g.handle(queueTx)
	g.expect()
	if got := g.dev.Stats().Malformed; got != 3 {
		t.Errorf("%d malformed packets counted, want 3", got)
	}
}

// What a guest sends right behind its request, without waiting for the
// response, and before anybody accepts, is kept.
func TestDataBeforeAccept(t *testing.T) {
	sw := newSwitch(t, nil)
	l := listen(t, sw, CIDParent, 9000)
	g := attach(t, sw, 16, 0)
	p := g.conn(1234, CIDParent, 9000)
	g.send(p.out(OpRequest))
	p.write([]byte("early "))
	p.write([]byte("bird"))
	c := accept(t, l)
	wantRead(t, c, []byte("early bird"))
	// What we send right after accept comes behind the response.
	wrote := make(chan error, 1)
	go func() {
		_, err := c.Write([]byte("worm"))
		wrote <- err
	}()
	waitFor(t, func() bool {
		c.s.mu.Lock()
		defer c.s.mu.Unlock()
		return c.s.out != nil
	})
	g.post(1, rxBuffer)
	g.post(1, rxBuffer)
	got := g.until(func(p packet) bool { return p.Op == OpRW })
	must(t, <-wrote)
	if len(got) != 2 || got[0].Op != OpResponse || string(got[1].Data) != "worm" {
		t.Errorf("guest got %v", got)
	}
}

// Interrupts come once per batch, not once per packet.
func TestInterruptsPerBatch(t *testing.T) {
	sw := newSwitch(t, nil)
	l := listen(t, sw, CIDParent, 9000)
	g := attach(t, sw, 16, 40)
	p, c := g.connect(l, 1234)
	tx, rx := g.tx.Interrupts(), g.rx.Interrupts()
	h := p.out(OpRW)
	h.Len = 1
	for range 50 {
		g.tx.Add([][]byte{wire(h), {1}}, nil)
	}
	g.handle(queueTx)
	if got := g.tx.Interrupts() - tx; got != 1 {
		t.Errorf("%d interrupts for 50 packets from the guest, want 1", got)
	}
	if _, err := c.Write(make([]byte, 30*(rxBuffer-HeaderSize))); err != nil {
		t.Fatal(err)
	}
	if got := g.rx.Interrupts() - rx; got != 1 {
		t.Errorf("%d interrupts for 30 packets to the guest, want 1", got)
	}
	if got := len(g.take()); got != 30 {
		t.Errorf("%d packets, want 30", got)
	}
}

// One Write at a time: the bytes of concurrent calls are not mixed.
func TestConcurrentWritesAreAtomic(t *testing.T) {
	sw := newSwitch(t, nil)
	l := listen(t, sw, CIDParent, 9000)
	g := attach(t, sw, 16, 0)
	p := g.conn(1234, CIDParent, 9000)
	g.send(p.out(OpRequest))
	c := accept(t, l)
	const writers, size = 8, 9000
	errs := make(chan error, writers)
	for i := range writers {
		go func() {
			_, err := c.Write(bytes.Repeat([]byte{byte(i)}, size))
			errs <- err
		}()
	}
	g.post(4, rxBuffer)
	var got []byte
	for len(got) < writers*size {
		for _, f := range g.until(func(packet) bool { return true }) {
			got = append(got, f.Data...)
		}
		h := p.out(OpCreditUpdate)
		h.FwdCnt = uint32(len(got))
		g.send(h)
	}
	for range writers {
		must(t, <-errs)
	}
	for i := 0; i < len(got); i += size {
		if !bytes.Equal(got[i:i+size], bytes.Repeat(got[i:i+1], size)) {
			t.Fatalf("bytes of two writes are mixed after %d", i)
		}
	}
}

// A slow connection holds up nobody: not the guest's transmit queue, not the
// other connections, in neither direction.
func TestNoHeadOfLineBlocking(t *testing.T) {
	sw := newSwitch(t, nil)
	l := listen(t, sw, CIDParent, 9000)
	g := attach(t, sw, 16, 64)
	slow, sc := g.connect(l, 1)
	fast, fc := g.connect(l, 2)

	// Nobody reads the slow one, and its guest end reads nothing.
	for range defaultWindow / 4096 {
		slow.write(make([]byte, 4096))
	}
	stuck := make(chan error, 1)
	go func() {
		_, err := sc.Write(make([]byte, 10*guestAlloc))
		stuck <- err
	}()
	sent := 0
	for sent < guestAlloc*3/4 {
		for _, f := range g.until(func(packet) bool { return true }) {
			sent += len(f.Data)
		}
	}
	// The fast one does not notice.
	var total uint32
	for range 100 {
		fast.write(pattern(5000))
		wantRead(t, fc, pattern(5000))
		if _, err := fc.Write(pattern(3000)); err != nil {
			t.Fatal(err)
		}
		got := g.until(func(p packet) bool { return p.DstPort == 2 && p.Op == OpRW })
		last := got[len(got)-1]
		if !bytes.Equal(last.Data, pattern(3000)) {
			t.Fatal("data differs")
		}
		total += last.Len
		h := fast.out(OpCreditUpdate)
		h.FwdCnt = total
		g.send(h)
	}
	must(t, sc.Close())
	if err := <-stuck; !errors.Is(err, os.ErrClosed) && err == nil {
		t.Errorf("stuck write: %v", err)
	}
}

// Ready connections take turns at the receive buffers.
func TestRoundRobin(t *testing.T) {
	sw := newSwitch(t, nil)
	l := listen(t, sw, CIDParent, 9000)
	g := attach(t, sw, 16, 8)
	const n = 5
	var conns []*Conn
	for i := range n {
		_, c := g.connect(l, uint32(i))
		conns = append(conns, c)
	}
	g.rx = virtiotest.New(t, ringSize)
	g.dev.stopRx()
	g.dev.startRx(g.rx.Queue())
	done := make(chan error, n)
	for _, c := range conns {
		go func() {
			_, err := c.Write(make([]byte, 8*(rxBuffer-HeaderSize)))
			done <- err
		}()
	}
	waitFor(t, func() bool { return readyStreams(g.dev) == n })
	for turn := range 8 {
		g.post(n, rxBuffer)
		seen := map[uint32]int{}
		for _, p := range g.take() {
			seen[p.DstPort]++
		}
		if len(seen) != n {
			t.Fatalf("turn %d: buffers went to %v", turn, seen)
		}
	}
	for range n {
		must(t, <-done)
	}
}

// A Write that timed out has nothing under way: the slice is the caller's.
func TestWriteTimesOut(t *testing.T) {
	sw := newSwitch(t, nil)
	l := listen(t, sw, CIDParent, 9000)
	g := attach(t, sw, 16, 8)
	p := g.conn(1, CIDParent, 9000)
	p.h.BufAlloc = 1000
	g.send(p.out(OpRequest))
	g.expect(p.in(OpResponse, 0))
	c := accept(t, l)
	must(t, c.SetWriteDeadline(time.Now().Add(10*time.Millisecond)))
	n, err := c.Write(make([]byte, 5000))
	wantErr(t, err, os.ErrDeadlineExceeded)
	if n != 1000 {
		t.Errorf("wrote %d bytes, the guest had room for 1000", n)
	}
	if _, err := c.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("write after the deadline: %v", err)
	}
	p.h.FwdCnt = 1000
	g.send(p.out(OpCreditUpdate))
	for _, f := range g.recv() {
		if f.Op == OpRW && f.Len != 1000 {
			t.Errorf("guest got %v", f)
		}
	}
	must(t, c.SetWriteDeadline(time.Time{}))
	if _, err := c.Write([]byte("goes on")); err != nil {
		t.Fatal(err)
	}
	got := g.await(OpRW)
	if last := got[len(got)-1]; string(last.Data) != "goes on" {
		t.Errorf("guest got %v", last)
	}
}

func TestZeroLengthIO(t *testing.T) {
	sw := newSwitch(t, nil)
	l := listen(t, sw, CIDParent, 9000)
	g := attach(t, sw, 16, 8)
	p, c := g.connect(l, 1)
	if n, err := c.Write(nil); n != 0 || err != nil {
		t.Errorf("write: %d, %v", n, err)
	}
	if n, err := c.Read(nil); n != 0 || err != nil {
		t.Errorf("read: %d, %v", n, err)
	}
	p.write() // an empty RW is only a credit update
	g.expect()
	must(t, c.Close())
	if _, err := c.Read(nil); !errors.Is(err, io.EOF) && err == nil {
		t.Error("read after close succeeded")
	}
}
