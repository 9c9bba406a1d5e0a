// Package mux carries connections from an emulated Host to the agent of a parent
// instance over one virtio-serial port, [Port]. It is the way in when there is no
// vsock: before the card is plugged, or when a test is about vsock being broken.
//
// A port is a pipe that has no beginning and no end: QEMU holds its end open for
// as long as the machine lives, a snapshot is taken in the middle, and the restored
// Host begins anew. So the bytes are cut into frames that can be told apart from
// any point on, and a [Host] begins with a frame that ends all earlier streams.
//
// # Wire form
//
// A frame is encoded by Consistent Overhead Byte Stuffing (Cheshire and Baker,
// 1999), which leaves no zero byte in it, and has a zero before and after. Decoded
// it is one byte of kind, four of stream (little endian) and up to [maxPayload]
// bytes.
//
//	kind    from   payload
//	hello   Host   all streams have ended; stream 0
//	open    Host   version (1 byte)
//	opened  guest  the agent will take the stream
//	data    both   bytes, no more than the receiver has room for
//	credit  both   bytes that the receiver has taken since (4 bytes, little endian)
//	close   both   in both directions; also in the place of opened
//
// Each end has room for [window] bytes of a stream. What is no frame is dropped. The
// guest answers data and credit of a stream that it does not know with close, since
// its agent may have been started again, and the Host sends credit, of 0 bytes if
// there is none, every [keepAlive]. The Host drops what it does not know, and its
// reading never waits for its writing, so that the guest's writing ends.
package mux

import "time"

// Port is the name of the virtio-serial port.
const Port = "org.nitrolab.ssh.0"

// MaxStreams bounds how many streams are open at a time; the next is refused.
const MaxStreams = 32

// keepAlive is how soon the Host notices that the guest's agent was started again.
const keepAlive = 2 * time.Second

const (
	version    = 1
	maxPayload = 16 << 10
	window     = 128 << 10
)
