package vsock

import (
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A FaultKind says what a [Fault] does to a packet. The zero value is invalid.
type FaultKind int

// The kinds of faults.
const (
	// FaultStall holds the packet, and everything behind it in its direction
	// of its connection, until the fault is removed. Nothing is lost. Other
	// connections, and the other direction, go on as far as credit lets them.
	FaultStall FaultKind = iota + 1

	// FaultDrop loses the packet. A stream has no retransmission: its receiver
	// never sees lost payload, and its sender never gets the credit back.
	FaultDrop

	// FaultReset resets the connection, for both ends, in place of the packet.
	FaultReset

	// FaultDelay holds the packet for Fault.Delay. Order is kept.
	FaultDelay

	// FaultCorrupt changes Fault.Bytes bytes of the payload. Packets without
	// payload are not affected.
	FaultCorrupt
)

var faultNames = [...]string{"none", "stall", "drop", "reset", "delay", "corrupt"}

// String is a word for reports.
func (k FaultKind) String() string {
	if k >= 0 && int(k) < len(faultNames) {
		return faultNames[k]
	}
	return fmt.Sprintf("fault(%d)", int(k))
}

// Bounds of a [Fault].
const (
	maxFaultDelay = time.Hour
	maxFaultBytes = MaxPayload
)

// A Fault disturbs packets of connections that have at least one guest for an
// end. It says which packets, how many of them, and how.
//
// A packet of a guest is what its driver put into one buffer of the transmit
// queue. A packet of a Go endpoint is a control packet that the switch makes for
// it (REQUEST, RESPONSE, SHUTDOWN, credit), or up to [MaxPayload] bytes of one
// Write, as Linux would have sent them; they reach the guest in as many receive
// buffers as they need. Each packet is looked at once, where its sender hands it
// to the switch. The resets that the switch itself makes are no packets in this
// sense: refusals, the end of a guest or of its peer.
//
// The quirk that users of Nitro Enclaves report, data of large packets that
// arrives changed (reference/enclave-abi.md section 5.4), is
//
//	Fault{Kind: FaultCorrupt, From: 16, To: CIDParent, Over: 32 << 10}
type Fault struct {
	Kind FaultKind

	// From and To are the sender's and the receiver's CID, [CIDAny] for
	// everybody. CID 3 is the parent also where an enclave calls it 2.
	From, To uint32

	// Port is the port at either end, 0 for all.
	Port uint32

	// Op restricts the fault to one kind of packet. 0 means all.
	Op Op

	// Over restricts the fault to packets with more than so many bytes of
	// payload, if it is not 0.
	Over int

	// After matching packets pass before the first one is hit.
	After int

	// Limit is the number of packets that are hit at most, 0 for no limit.
	Limit int

	// Rate is the share of the packets that are hit otherwise, 0 to 1. 0 means
	// all of them.
	Rate float64

	// Delay is for [FaultDelay], up to an hour.
	Delay time.Duration

	// Bytes is for [FaultCorrupt], the number of bytes to change in a packet, up
	// to [MaxPayload]. 0 means 1.
	Bytes int

	// Seed determines which packets Rate picks, and where and how their payload
	// is changed: a function of the seed, of the packet's number among those that
	// match and of its length, and of nothing else.
	Seed uint64
}

// check finds the first field that makes no sense.
func (f *Fault) check() error {
	bad := func(field string, v any) error { return fmt.Errorf("vsock fault: %s %v: %w", field, v, unix.EINVAL) }
	switch {
	case f.Kind < FaultStall || f.Kind > FaultCorrupt:
		return bad("kind", f.Kind)
	case f.From == f.To && f.From != CIDAny:
		return bad("from and to", f.To)
	case f.Op > OpCreditRequest:
		return bad("operation", f.Op)
	case f.Over < 0:
		return bad("over", f.Over)
	case f.After < 0:
		return bad("after", f.After)
	case f.Limit < 0:
		return bad("limit", f.Limit)
	case !(f.Rate >= 0 && f.Rate <= 1): // NaN is bad too
		return bad("rate", f.Rate)
	case f.Delay < 0 || f.Delay > maxFaultDelay || (f.Kind == FaultDelay) != (f.Delay > 0):
		return bad("delay", f.Delay)
	case f.Bytes < 0 || f.Bytes > maxFaultBytes:
		return bad("bytes", f.Bytes)
	}
	return nil
}

// FaultStats counts what a [Fault] did.
type FaultStats struct {
	Matched uint64 // packets that it could have hit
	Hit     uint64 // packets that it did hit
	Bytes   uint64 // payload of those
}

// An Injection is a [Fault] at work in a [Switch].
type Injection struct {
	sw    *Switch
	fault Fault // immutable

	removed             atomic.Bool
	matched, hit, bytes atomic.Uint64
}

// Inject sets a fault to work on all packets from now on, of existing
// connections as well as of new ones. Faults apply in the order in which they
// were injected. Without any, they cost the data path one load per packet.
//
// The error wraps unix.EINVAL and names the field.
func (sw *Switch) Inject(f Fault) (*Injection, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	if f.Rate == 0 {
		f.Rate = 1
	}
	f.Bytes = max(f.Bytes, 1)
	i := &Injection{sw: sw, fault: f}
	sw.mu.Lock()
	defer sw.mu.Unlock()
	sw.setFaults(append(sw.loadFaults(), i))
	return i, nil
}

// Remove takes the fault away and lets go what it holds. It may be called
// again.
func (i *Injection) Remove() {
	sw := i.sw
	sw.mu.Lock()
	if i.removed.Swap(true) {
		sw.mu.Unlock()
		return
	}
	sw.setFaults(slices.DeleteFunc(sw.loadFaults(), func(x *Injection) bool { return x == i }))
	guests := make([]*Device, 0, len(sw.guests))
	for _, d := range sw.guests {
		guests = append(guests, d)
	}
	sw.mu.Unlock()
	for _, d := range guests {
		d.letGo()
	}
}

// Stats returns the counters so far.
func (i *Injection) Stats() FaultStats {
	return FaultStats{Matched: i.matched.Load(), Hit: i.hit.Load(), Bytes: i.bytes.Load()}
}

// loadFaults is a copy of the list that may be changed; mu is held.
func (sw *Switch) loadFaults() faults {
	if p := sw.faults.Load(); p != nil {
		return slices.Clone(*p)
	}
	return nil
}

func (sw *Switch) setFaults(fs faults) {
	if len(fs) == 0 {
		sw.faults.Store(nil)
		return
	}
	sw.faults.Store(&fs)
}
