// Package vfiouser carries a pci.Function into QEMU (or any other vfio-user
// client): [Serve] is a vfio-user server over one connected socket.
//
// It implements docs/interop/vfio-user of QEMU, version 0.0 of the protocol, as far
// as QEMU 10.1 to 11.1 uses it for a device without migration: regions, posted and
// multiple writes, INTx, MSI and MSI-X by eventfds, and a DMA window of shared
// memory. README.md says what is left out and how it was checked.
//
// # Who owns what
//
// One goroutine, the caller's, reads requests and carries them out one after the
// other; the device's handlers run on it. It blocks in the kernel, because the
// runtime's poller would add two system calls to each register read: a connection
// occupies one thread. Interrupts and DMA are for any goroutine. A second goroutine
// exists only while the client has given an eventfd by which it says that INTx was
// handled (KVM does).
//
// A handler must not wait for the guest: its virtual CPU stands still until the
// reply, and with QEMU the whole machine does.
package vfiouser
