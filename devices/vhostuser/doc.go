// Package vhostuser carries a virtio.Device into QEMU (or any other vhost-user
// front-end): [Serve] is a vhost-user back-end over one connected socket.
//
// It implements docs/interop/vhost-user of QEMU as far as QEMU 10.2 to 11.1
// uses it for a device without migration: split rings in shared memory,
// eventfds for notifications and interrupts, REPLY_ACK, CONFIG and MQ.
// README.md says what is left out and how it was checked.
//
// # Who owns what
//
// One goroutine, the caller's, reads requests and owns all state of the
// connection. Each running ring has a goroutine of its own, the only one that
// calls the device for that queue; the connection's goroutine joins it before
// it touches anything the ring uses. Guest memory in particular is unmapped
// only while no ring runs.
package vhostuser
