// Package vsock is the virtio socket device (virtio 1.2, section 5.10) and the
// switch behind it that decides who may talk to whom on one Host.
//
// A [Switch] has two kinds of members. A guest is attached with
// [Switch.Attach], which gives a [Device] for a transport such as
// devices/vhostuser to carry into a virtual machine. A Go endpoint listens
// with [Switch.Listen] or connects with [Switch.Dial] and sees net.Conn. Two
// guests are joined directly, without a Go endpoint between them, and so are two
// Go endpoints.
//
// # Addresses
//
// A guest that dials CID 2 reaches CID 3, the parent instance, as an enclave
// on Nitro hardware does; the replies carry the CID that it dialled. To the
// parent itself CID 2 is the Host. A connection is allowed only if one of its
// ends is the parent. Everything else is refused at once with RST: enclave to
// enclave, enclave to the hypervisor (CID 0), unknown CIDs and ports, sockets that
// are not of stream type.
//
// # Flow
//
// Every connection has its own credit in both directions. Bytes from the guest
// wait in a buffer no larger than the credit we gave, so the guest's transmit
// queue is always taken empty and never waits for a reader. Bytes to the guest
// are copied out of the writer's slice straight into the guest's receive
// buffers, so a slow connection holds up nobody else and nothing is queued in
// between. Members take turns at a guest's receive buffers, and so do the
// connections of each: an enclave with thousands of busy connections to its
// parent slows another enclave down as one with a single connection would.
//
// # Faults
//
// [Switch.Inject] disturbs chosen packets: it stalls, loses, resets, delays or
// corrupts them.
//
// # Locks
//
// In the order in which they are taken:
//
//   - Conn.writing makes Write calls on one connection exclusive.
//   - Device.rx.mu protects the receive queue of a guest (queue 0). A goroutine
//     that works for another guest only tries to lock it.
//   - stream.mu protects everything about one connection. Its two ends share
//     one where both belong to the switch.
//   - Device.mu protects the connection table, the timers and the accounts of a
//     guest: who is ready to send, pending resets, what counts against limits.
//     loops.mu protects the set of connections between Go endpoints. Nothing is
//     locked while either is held.
//
// Switch.mu (membership), Listener.mu (backlog) and shelf.mu (packets that a fault
// holds) are held on their own only. The transmit queue (queue 1) needs no lock:
// the transport calls for it from one goroutine.
package vsock
