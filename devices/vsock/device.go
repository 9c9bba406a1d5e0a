package vsock

import (
	"container/heap"
	"encoding/binary"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nitrolab/nitrolab/devices/virtio"
)

// Queues of the device, virtio 1.2 section 5.10.2. The event queue (2) does
// not reach a vhost-user backend: QEMU keeps it.
const (
	queueRx   = 0 // to the guest
	queueTx   = 1 // from the guest
	numQueues = 2
)

// A Device is one guest's socket device and its place in the switch. It
// implements virtio.Device (virtio id 19).
//
// When the transport stops a queue, the guest's driver is gone or starts anew:
// every connection of the guest is reset.
//
// A nil Device stands for the absence of a guest on a connection between two Go
// endpoints: there is nothing to send, time or account for.
type Device struct {
	sw     *Switch
	cid    uint32
	config [8]byte
	log    *slog.Logger
	stats  counters

	tx    txSide
	rx    rxSide
	shelf shelf

	closed atomic.Bool
	wakeup chan struct{} // one token: the pump has something to look at
	done   chan struct{} // closed by Close
	pumped sync.WaitGroup

	// mu protects what follows.
	mu       sync.Mutex
	gone     bool                // no new streams
	streams  map[key]*stream     // by address; reachable for the guest's packets
	accounts map[uint32]*account // by CID
	own      account
	turns    list[account] // with something to send
	timers   timers
	sleep    time.Time // the pump looks at the timers then; zero if it does not
}

// A key names a connection of a guest. The local CID is the one that the guest
// uses, 2 or 3 for its parent.
type key struct {
	localCID, localPort, guestPort uint32
}

func newDevice(sw *Switch, cid uint32) *Device {
	d := &Device{
		sw:      sw,
		cid:     cid,
		log:     sw.cfg.Log.With("cid", cid),
		wakeup:  make(chan struct{}, 1),
		done:    make(chan struct{}),
		streams: make(map[key]*stream),

		accounts: make(map[uint32]*account),
	}
	d.own.init(cid, &sw.cfg)
	d.stats.init()
	binary.LittleEndian.PutUint64(d.config[:], uint64(cid))
	d.pumped.Add(1)
	go d.pump()
	return d
}

// CID is the guest's context identifier.
func (d *Device) CID() uint32 { return d.cid }

// DeviceID is 19, virtio 1.2 section 5.10.1.
func (d *Device) DeviceID() uint32 { return virtio.IDVsock }

// Features is empty: without VIRTIO_VSOCK_F_STREAM and F_SEQPACKET streams are
// implied and nothing else is offered (virtio 1.2, section 5.10.3).
func (d *Device) Features() uint64 { return 0 }

// NumQueues is 2: receive and transmit.
func (d *Device) NumQueues() int { return numQueues }

// Config is guest_cid, 8 bytes (virtio 1.2, section 5.10.4).
func (d *Device) Config() []byte { return d.config[:] }

// StartQueue implements virtio.Device.
func (d *Device) StartQueue(i int, q *virtio.Queue) {
	switch i {
	case queueRx:
		d.startRx(q)
	case queueTx:
		d.tx.q = q
	}
}

// HandleQueue implements virtio.Device.
func (d *Device) HandleQueue(i int) error {
	switch i {
	case queueRx:
		return d.fill()
	case queueTx:
		return d.drain(math.MaxInt)
	}
	return nil
}

// StopQueue implements virtio.Device.
//
// What the driver had put into the transmit queue is still taken: a guest that
// writes and then reboots means what it wrote, and its last notification may
// not have got through. Without a transmit queue the connections are reset, and
// with a receive queue that the driver broke. The guest may only have been paused, so the resets stay pending and are the first
// thing that it hears when it goes on; a driver that started anew ignores them.
func (d *Device) StopQueue(i int) {
	switch i {
	case queueRx:
		if d.stopRx() {
			d.resetAll()
		}
	case queueTx:
		_ = d.drain(d.tx.size()) // the transport has no use for the error any more
		d.tx = txSide{}
		d.shelf.clear()
		d.resetAll()
	}
}

// resetAll resets every connection that the guest may know of.
func (d *Device) resetAll() {
	for _, s := range d.snapshot() {
		s.mu.Lock()
		if s.pending&pendRequest == 0 {
			s.kill(unix.ECONNRESET, true)
		}
		s.mu.Unlock()
	}
}

// Close detaches the guest. Its connections are reset on both sides as far as
// the guest still takes packets; the CID is free afterwards. The device may
// still be carried by a transport, but does nothing any more. Close returns nil
// and may be called again.
func (d *Device) Close() error {
	if d.closed.Swap(true) {
		<-d.done
		d.pumped.Wait()
		return nil
	}
	d.mu.Lock()
	d.gone = true
	d.mu.Unlock()
	for _, s := range d.snapshot() {
		s.mu.Lock()
		s.kill(unix.ECONNRESET, s.pending&pendRequest == 0)
		s.mu.Unlock()
	}
	_ = d.fill() // the error would be the guest's, who is gone
	d.stopRx()
	close(d.done)
	d.pumped.Wait()
	d.sw.detach(d)
	return nil
}

func (d *Device) snapshot() []*stream {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make([]*stream, 0, len(d.streams))
	for _, s := range d.streams {
		all = append(all, s)
	}
	return all
}

// find returns the stream that a packet of the guest belongs to, nil if there
// is none.
func (d *Device) find(k key) *stream {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.streams[k]
}

// add enters a new stream and grants it a window. The error is unix.ENOBUFS at
// the limit, unix.EADDRINUSE if the key is taken.
func (d *Device) add(s *stream) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.gone {
		return unix.ENOBUFS
	}
	if d.streams[s.key] != nil {
		return unix.EADDRINUSE
	}
	a := d.account(canonical(d.cid, s.key.localCID))
	if a.live >= d.sw.cfg.MaxConns {
		return unix.ENOBUFS
	}
	s.account = a
	s.recv.alloc = uint32(d.sw.cfg.window(a.granted))
	a.granted += int(s.recv.alloc)
	a.live++
	d.streams[s.key] = s
	d.stats.connections.Add(1)
	return nil
}

// remove takes a stream out of the table and everything else, and sends a reset
// if the guest is to be told. The caller holds s.mu.
func (d *Device) remove(s *stream, rst bool) {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.streams[s.key] == s {
		delete(d.streams, s.key)
	}
	if s.queued {
		s.account.ready.remove(&s.turn)
		d.rotate(s.account)
	}
	if s.timer >= 0 {
		heap.Remove(&d.timers, s.timer)
	}
	if rst {
		d.resetLocked(s.account, reset{s.key, TypeStream})
	}
}

// forget ends the account of a stream.
func (d *Device) forget(s *stream) {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	s.account.live--
	s.account.granted -= int(s.recv.alloc)
	d.tidy(s.account)
}

// enqueue notes that s has something to send. The caller holds s.mu, and calls
// fill or wake when it has unlocked it.
func (d *Device) enqueue(s *stream) {
	if d == nil || s.queued {
		return
	}
	s.queued = true
	d.mu.Lock()
	s.account.ready.push(&s.turn)
	d.activate(s.account)
	d.mu.Unlock()
}

// dequeue ends the turn of s, and of its account. Each goes to the back if it is
// to have another one. The caller holds s.mu.
func (d *Device) dequeue(s *stream, again bool) {
	if !s.queued {
		return
	}
	s.queued = again
	d.mu.Lock()
	s.account.ready.remove(&s.turn)
	if again {
		s.account.ready.push(&s.turn)
	}
	d.rotate(s.account)
	d.mu.Unlock()
}

// reset queues an RST that belongs to no stream.
func (d *Device) reset(r reset) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.resetLocked(&d.own, r)
}

func (d *Device) resetLocked(a *account, r reset) {
	if !a.resets.push(r) {
		d.note(&d.stats.lostRST)
	}
	d.activate(a)
}
