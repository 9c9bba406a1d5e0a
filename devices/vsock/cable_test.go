package vsock

import (
	"bytes"
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/nettest"

	"github.com/nitrolab/nitrolab/devices/virtio/virtiotest"
)

// A cable joins a guest of one switch with a guest of another: what the first
// sends to its guest, its guest sends to the second, and the other way round.
// With it a Go endpoint can be tested at both ends of a connection, over real
// queues: the switch for CID 16 sees a guest whose kernel is the other switch.
type cable struct {
	t    *testing.T
	side [2]plug
	stop chan struct{}
	wg   sync.WaitGroup
}

// A plug is a guest without a kernel.
type plug struct {
	dev    *Device
	rx, tx *virtiotest.Driver
	queued [][]byte // for tx, which is full
}

func newCable(t *testing.T, a, b *Device) *cable {
	c := &cable{t: t, stop: make(chan struct{})}
	for i, d := range []*Device{a, b} {
		p := &c.side[i]
		p.dev, p.rx, p.tx = d, virtiotest.New(t, ringSize), virtiotest.New(t, ringSize)
		d.StartQueue(queueRx, p.rx.Queue())
		d.StartQueue(queueTx, p.tx.Queue())
		for range ringSize {
			p.rx.Add(nil, []int{rxBuffer})
		}
		must(t, d.HandleQueue(queueRx))
	}
	c.wg.Go(c.run)
	t.Cleanup(func() {
		close(c.stop)
		c.wg.Wait()
	})
	return c
}

// run is the goroutine that the drivers belong to.
func (c *cable) run() {
	for {
		moved := c.move(&c.side[0], &c.side[1]) + c.move(&c.side[1], &c.side[0])
		if moved > 0 {
			continue
		}
		select {
		case <-c.side[0].rx.Interrupted():
		case <-c.side[1].rx.Interrupted():
		case <-c.stop:
			return
		}
	}
}

// move carries packets that from received to where to sends, and returns how
// many.
func (c *cable) move(from, to *plug) int {
	used := from.rx.Used()
	for _, u := range used {
		to.queued = append(to.queued, bytes.Join(u.In, nil))
		from.rx.Add(nil, []int{rxBuffer})
	}
	if len(used) > 0 {
		if err := from.dev.HandleQueue(queueRx); err != nil {
			c.t.Errorf("receive queue: %v", err)
		}
	}
	for len(to.queued) > 0 {
		n := min(len(to.queued), ringSize)
		for _, p := range to.queued[:n] {
			to.tx.Add([][]byte{p}, nil)
		}
		to.queued = to.queued[n:]
		if err := to.dev.HandleQueue(queueTx); err != nil {
			c.t.Errorf("transmit queue: %v", err)
		}
		to.tx.Used()
	}
	return len(used)
}

// ends are two switches joined by a cable: l listens for what dial dials.
func ends(t *testing.T) (l *Listener, dial func(context.Context) (*Conn, error)) {
	enclave, parent := newSwitch(t, nil), newSwitch(t, nil)
	a, err := parent.Attach(16)
	must(t, err)
	b, err := enclave.Attach(CIDParent)
	must(t, err)
	newCable(t, a, b)
	l = listen(t, parent, CIDParent, 9000)
	return l, func(ctx context.Context) (*Conn, error) { return enclave.Dial(ctx, 16, CIDParent, 9000) }
}

func makePipe(t *testing.T, l *Listener, dial func(context.Context) (*Conn, error)) (a, b *Conn) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	a, err := dial(ctx)
	must(t, err)
	must(t, l.SetDeadline(time.Now().Add(patience)))
	c, err := l.Accept()
	must(t, err)
	return a, c.(*Conn)
}

// The Go end behaves as the net package says, by the test that golang.org/x/net
// applies to every implementation.
func TestNetConn(t *testing.T) {
	nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
		l, dial := ends(t)
		a, b := makePipe(t, l, dial)
		return a, b, func() {
			must(t, a.Close())
			must(t, b.Close())
		}, nil
	})
}

// Many connections at once, each moving data both ways.
func TestParallelStreams(t *testing.T) {
	l, dial := ends(t)
	data := pattern(1 << 20)
	var wg sync.WaitGroup
	defer wg.Wait()
	for range 16 {
		a, b := makePipe(t, l, dial)
		for _, c := range []*Conn{a, b} {
			must(t, c.SetDeadline(time.Now().Add(patience)))
			wg.Go(func() {
				if _, err := c.Write(data); err != nil {
					t.Errorf("write: %v", err)
				}
				if err := c.CloseWrite(); err != nil {
					t.Errorf("close: %v", err)
				}
			})
			wg.Go(func() {
				var got bytes.Buffer
				if _, err := got.ReadFrom(c); err != nil {
					t.Errorf("read: %v", err)
				}
				if !bytes.Equal(got.Bytes(), data) {
					t.Errorf("%d bytes arrived, not those sent", got.Len())
				}
				// Data only ends when all of it was delivered; closing now
				// must not hurt the other direction, which has its own.
			})
		}
	}
}
