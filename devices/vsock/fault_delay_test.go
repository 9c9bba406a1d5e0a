package vsock

import (
	"bytes"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// Each packet arrives so much later than it was sent, behind those before it.
func TestDelayFromGuest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sw := newSwitch(t, nil)
		l := listen(t, sw, CIDParent, 9000)
		g := attach(t, sw, 16, 8)
		p, c := g.connect(l, 1234)
		must(t, c.SetDeadline(never))
		f := toGo(FaultDelay)
		f.Delay = 50 * time.Millisecond
		i := inject(t, sw, f)
		start := time.Now()
		p.write([]byte("1"))
		p.write([]byte("1")) // at the same time
		time.Sleep(20 * time.Millisecond)
		p.write([]byte("2"))
		i.Remove()
		p.write([]byte("3")) // not delayed itself
		p.shutdown(ShutdownSend)
		for _, want := range []struct {
			data string
			at   time.Duration
		}{{"11", 50 * time.Millisecond}, {"23", 70 * time.Millisecond}} {
			buf := make([]byte, 10)
			n, err := c.Read(buf)
			must(t, err)
			if at := time.Since(start); at != want.at {
				t.Errorf("%q arrived after %v, want %v", buf[:n], at, want.at)
			}
			if n < len(want.data) {
				k, err := c.Read(buf[n:])
				must(t, err)
				n += k
			}
			if string(buf[:n]) != want.data {
				t.Errorf("read %q, want %q", buf[:n], want.data)
			}
		}
		wantEnd(t, c, io.EOF)
		wantHits(t, i, 3)
	})
}

// A delay holds up no data beyond itself: what goes through a line that is never
// empty is not limited by a window, only what is on it.
func TestDelayedStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sw := newSwitch(t, &Config{Window: minWindow})
		l := listen(t, sw, CIDParent, 9000)
		g := attach(t, sw, 16, 20)
		p, c := g.connect(l, 1234)
		must(t, c.SetDeadline(never))
		f := toGo(FaultDelay)
		f.Delay = 10 * time.Millisecond
		inject(t, sw, f)
		data := pattern(20 * 4000)
		got := make(chan []byte)
		go func() {
			all, err := io.ReadAll(c)
			if err != nil {
				t.Error(err)
			}
			got <- all
		}()
		for k := 0; k < len(data); k += 4000 {
			p.write(data[k : k+4000])
			time.Sleep(4 * time.Millisecond)
			if n := g.dev.shelf.n.Load(); n != 1 {
				t.Fatalf("%d connections are held, want 1", n)
			}
			g.recv()
		}
		p.shutdown(ShutdownSend)
		if !bytes.Equal(<-got, data) {
			t.Error("data differs")
		}
	})
}

// A Write takes one delay, however long it is.
func TestDelayToGuest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sw := newSwitch(t, nil)
		l := listen(t, sw, CIDParent, 9000)
		g := attach(t, sw, 16, 60)
		_, c := g.connect(l, 1234)
		must(t, c.SetDeadline(never))
		f := toGuest(FaultDelay)
		f.Delay = 50 * time.Millisecond
		i := inject(t, sw, f)
		start := time.Now()
		for n, size := range []int{1000, 100_000, 1000} { // more than a packet, too
			if _, err := c.Write(make([]byte, size)); err != nil {
				t.Fatal(err)
			}
			if at, want := time.Since(start), time.Duration(n+1)*f.Delay; at != want {
				t.Errorf("write %d is done after %v, want %v", n, at, want)
			}
			g.recv()
		}
		must(t, c.CloseWrite())
		synctest.Wait()
		g.expect()
		time.Sleep(f.Delay)
		synctest.Wait()
		if got := g.recv(); len(got) != 1 || got[0].Op != OpShutdown {
			t.Errorf("guest got %v", got)
		}
		wantHits(t, i, 5)
	})
}

func TestDelayedConnEnds(t *testing.T) {
	sw := newSwitch(t, nil)
	l := listen(t, sw, CIDParent, 9000)
	g := attach(t, sw, 16, 60)
	p, c := g.connect(l, 1234)
	f := toGuest(FaultDelay)
	f.Delay = time.Hour
	i := inject(t, sw, f)
	wrote := write(c, []byte("x"))
	waitFor(t, func() bool { return i.Stats().Hit == 1 })
	g.send(p.out(OpRST))
	wantErr(t, <-wrote, unix.ECONNRESET)
	if c.s.egress.timer.Stop() {
		t.Error("a timer of a dead connection is left")
	}
	must(t, c.Close())
	wantStreams(t, g.dev, 0)
	i.Remove()
	// A delay outlives its fault, as a packet under way does; stopping the
	// guest's driver ends it.
	f = toGo(FaultDelay)
	f.Delay = time.Hour
	g.send(g.conn(2, CIDParent, 9000).out(OpRequest))
	g.await(OpResponse)
	d := accept(t, l)
	inject(t, sw, f)
	g.conn(2, CIDParent, 9000).write([]byte("x"))
	g.stop()
	wantEnd(t, d, unix.ECONNRESET)
	if n := g.dev.shelf.n.Load(); n != 0 || g.dev.shelf.cost != 0 {
		t.Errorf("%d connections and %d bytes are held", n, g.dev.shelf.cost)
	}
}

// A packet held for long does not keep the device from what is due before.
func TestDelayedPacketAndTimers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sw := newSwitch(t, nil)
		l := listen(t, sw, CIDParent, 9000)
		g := attach(t, sw, 16, 8)
		p, c := g.connect(l, 1234)
		f := toGo(FaultDelay)
		f.Delay = time.Hour
		inject(t, sw, f)
		must(t, c.Close())
		g.await(OpShutdown)
		g.send(p.out(OpRST)) // comes too late
		time.Sleep(defaultCloseTimeout)
		synctest.Wait()
		g.expect(p.rst())
		wantStreams(t, g.dev, 0)
	})
}

func TestDelayBetweenGuests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sw, parent, enclave := parentAndEnclave(t)
		pa, _ := join(t, parent, enclave, 5000)
		f := toGuest(FaultDelay)
		f.Delay = 50 * time.Millisecond
		inject(t, sw, f)
		synctest.Wait()
		pa.write([]byte("late"))
		time.Sleep(f.Delay - 1)
		synctest.Wait()
		enclave.expect()
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if got := enclave.recv(); len(got) != 1 || string(got[0].Data) != "late" {
			t.Errorf("enclave got %v", got)
		}
	})
}
