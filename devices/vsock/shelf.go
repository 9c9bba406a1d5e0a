package vsock

import (
	"sync"
	"sync/atomic"
	"time"
)

// A shelf holds the packets of one guest that faults keep back. They are copies,
// so the guest has its buffers again at once and its transmit queue goes on.
//
// What it holds is bounded: payload of a connection by [Config.Window], which a
// guest that keeps to its credit cannot exceed, everything of a guest by
// [Config.Memory], and its connections by [Config.MaxConns]. A connection that
// exceeds a limit is reset.
type shelf struct {
	n atomic.Int64 // lanes; so that nobody has to lock to see that there are none

	// mu protects what follows. Nothing is locked while it is held.
	mu    sync.Mutex
	lanes map[key]*lane
	cost  int       // of everything held, in bytes
	next  time.Time // when to look for packets that may go; zero for never
}

// A lane is a connection of which something is held. While there is a lane,
// every packet goes through it, so that none overtakes another.
type lane struct {
	q     []heldPacket
	bytes int // payload in q
}

// A heldPacket goes when its stall was removed and its time has come.
type heldPacket struct {
	h     Header
	data  []byte
	stall *Injection // nil: none
	due   time.Time  // zero: at once
}

const (
	heldCost    = 256              // what a packet costs besides its payload, in bytes
	mergeWithin = time.Millisecond // packets due so close to each other become one where they can
)

func (p *heldPacket) ready(now time.Time) bool {
	return (p.stall == nil || p.stall.removed.Load()) && !p.due.After(now)
}

// merge takes q, the next packet of the same connection, into p if that makes
// no difference to the receiver: payload has no packet boundaries, and credit
// is what the last packet says.
func (p *heldPacket) merge(q *heldPacket) bool {
	if p.h.Op != q.h.Op || p.stall != q.stall || q.due.Sub(p.due) >= mergeWithin {
		return false
	}
	switch p.h.Op {
	case OpRW:
		p.data = append(p.data, q.data...)
		p.h.Len = uint32(len(p.data))
	case OpCreditUpdate:
	default:
		return false
	}
	p.h.BufAlloc, p.h.FwdCnt = q.h.BufAlloc, q.h.FwdCnt
	return true
}

// The results of shelf.hold.
type holdResult int

const (
	holdPasses holdResult = iota // nothing is in its way
	holdTaken
	holdFull
)

// hold takes a packet in if it has to wait, or if others of its connection do.
func (sh *shelf) hold(k key, p heldPacket, wait bool, cfg *Config) holdResult {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	l := sh.lanes[k]
	cost := len(p.data) + heldCost
	switch {
	case l == nil && !wait:
		return holdPasses
	case sh.cost+cost > cfg.Memory,
		l == nil && len(sh.lanes) >= cfg.MaxConns,
		l != nil && l.bytes+len(p.data) > cfg.Window:
		return holdFull
	case l == nil:
		if sh.lanes == nil {
			sh.lanes = make(map[key]*lane)
		}
		l = &lane{}
		sh.lanes[k] = l
		sh.n.Add(1)
	}
	if n := len(l.q); n > 0 && l.q[n-1].merge(&p) {
		cost = len(p.data)
	} else {
		l.q = append(l.q, p)
	}
	sh.cost += cost
	l.bytes += len(p.data)
	if len(l.q) == 1 && p.stall == nil {
		sh.look(p.due) // others wait for the one before them
	}
	return holdTaken
}

// look makes sure that the pump looks at t; mu is held. Zero means now.
func (sh *shelf) look(t time.Time) {
	if t.IsZero() {
		t = time.Unix(0, 1)
	}
	if sh.next.IsZero() || t.Before(sh.next) {
		sh.next = t
	}
}

// drop forgets what is held of a connection.
func (sh *shelf) drop(k key) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if l := sh.lanes[k]; l != nil {
		sh.n.Add(-1)
		sh.cost -= l.bytes + heldCost*len(l.q)
		delete(sh.lanes, k)
	}
}

// clear forgets everything.
func (sh *shelf) clear() {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.n.Store(0)
	sh.lanes, sh.cost, sh.next = nil, 0, time.Time{}
}

// due returns the lanes to look at, if it is time to. Otherwise it returns how
// long that is from now, 0 for ever.
func (sh *shelf) due(now time.Time) (ks []key, wait time.Duration) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.next.IsZero() {
		return nil, 0
	}
	if wait := sh.next.Sub(now); wait > 0 {
		return nil, wait
	}
	sh.next = time.Time{}
	for k := range sh.lanes {
		ks = append(ks, k)
	}
	return ks, 0
}

// again makes sure that the pump looks at a lane again that it did not empty.
func (sh *shelf) again(k key) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	switch l := sh.lanes[k]; {
	case l == nil:
	case len(l.q) == 0:
		sh.look(time.Time{}) // to remove it
	case l.q[0].stall == nil || l.q[0].stall.removed.Load():
		sh.look(l.q[0].due)
	}
}

// take takes the oldest packet of a connection out if it may go. A lane without
// any is removed, which only happens when the last one was delivered.
func (sh *shelf) take(k key, now time.Time) (p heldPacket, ok bool) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	l := sh.lanes[k]
	switch {
	case l == nil:
		return p, false
	case len(l.q) == 0:
		delete(sh.lanes, k)
		sh.n.Add(-1)
		return p, false
	}
	p = l.q[0]
	if !p.ready(now) {
		return p, false
	}
	l.q[0] = heldPacket{}
	l.q = l.q[1:]
	l.bytes -= len(p.data)
	sh.cost -= len(p.data) + heldCost
	return p, true
}
