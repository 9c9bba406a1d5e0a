// Package virtio holds what a virtio device model needs and nothing of the
// transport that carries it: the [Device] interface and split virtqueues
// (virtio 1.2, section 2.7). devices/vhostuser carries a Device into QEMU;
// virtiotest plays the driver in tests.
package virtio

// Device types, virtio 1.2 section 5 and content.tex of the specification
// (33 is reserved there as "NitroSecureModule"; drivers/misc/nsm.c binds it).
const (
	IDVsock uint32 = 19
	IDNSM   uint32 = 33
)

// A Device is one virtio device model. The transport owns the rings and calls
// the device; the device never learns which transport that is.
//
// Calls for one queue are serial and come from one goroutine. Calls for
// different queues may be concurrent.
type Device interface {
	// DeviceID is the virtio device type.
	DeviceID() uint32

	// Features are the device's own feature bits. Ring and transport bits
	// (VERSION_1, INDIRECT_DESC, EVENT_IDX) are added by the transport.
	Features() uint64

	// NumQueues is the number of queues the device serves; it never changes.
	NumQueues() int

	// Config is the device's configuration space, nil if it has none. The
	// caller does not modify it.
	Config() []byte

	// StartQueue hands queue i to the device. The device may use q until
	// StopQueue(i) returns.
	StartQueue(i int, q *Queue)

	// HandleQueue is called once after StartQueue and again after each
	// notification by the driver. An error means that the driver broke the
	// rules of the ring: the transport stops the queue and reports it.
	HandleQueue(i int) error

	// StopQueue takes queue i back. After it returned, the device does not
	// touch q, nor any memory it got from it. Chains it still holds it first
	// returns with Push, or with Unpop in reverse order: otherwise the driver
	// never gets them back.
	StopQueue(i int)
}
