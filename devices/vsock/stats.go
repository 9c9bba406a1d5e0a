package vsock

import (
	"context"
	"log/slog"
	"sync/atomic"
)

// Stats counts what happened on a [Device] since it was attached.
type Stats struct {
	Connections uint64 // accepted or dialled, whether they still exist or not
	Refused     uint64 // RST for a request: policy, unknown address, backlog, limit
	BytesIn     uint64 // payload from the guest
	BytesOut    uint64 // payload to the guest

	// What a well-behaved driver never does.
	Spoofed   uint64 // packets with a foreign source CID, dropped
	Malformed uint64 // packets that make no sense; answered with RST where that is possible
	Overruns  uint64 // connections reset because the guest exceeded its credit, also of what a fault holds
	BadBuffer uint64 // receive buffers too small for a header, returned unused
	LostRST   uint64 // resets not sent because the guest took none for too long
}

// An event is something worth counting, and worth telling of when it is new.
type event struct {
	n     atomic.Uint64
	what  string
	level slog.Level
}

// counters is the live form of [Stats].
type counters struct {
	connections, bytesIn, bytesOut atomic.Uint64

	refused, spoofed, malformed, overruns, badBuffer, lostRST event
}

func (c *counters) init() {
	for e, what := range map[*event]string{
		&c.spoofed:   "packet with a foreign source CID dropped",
		&c.malformed: "malformed packet",
		&c.overruns:  "guest exceeded its credit, connection reset",
		&c.badBuffer: "receive buffer too small for a header",
		&c.lostRST:   "reset lost: the guest takes no packets",
	} {
		e.what, e.level = what, slog.LevelWarn
	}
	c.refused.what, c.refused.level = "connection refused", slog.LevelDebug
}

// note counts e. It logs the first time and whenever the count has doubled: a
// guest can provoke these at will and must not be able to fill a disk.
func (d *Device) note(e *event, args ...any) {
	n := e.n.Add(1)
	if n&(n-1) != 0 || !d.log.Enabled(context.Background(), e.level) {
		return
	}
	d.log.Log(context.Background(), e.level, e.what, append(args, "count", n)...)
}

// Stats returns the counters so far.
func (d *Device) Stats() Stats {
	c := &d.stats
	return Stats{
		Connections: c.connections.Load(),
		Refused:     c.refused.n.Load(),
		BytesIn:     c.bytesIn.Load(),
		BytesOut:    c.bytesOut.Load(),
		Spoofed:     c.spoofed.n.Load(),
		Malformed:   c.malformed.n.Load(),
		Overruns:    c.overruns.n.Load(),
		BadBuffer:   c.badBuffer.n.Load(),
		LostRST:     c.lostRST.n.Load(),
	}
}
