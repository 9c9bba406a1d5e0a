// Package control is the conversation between an emulated Host and PID 1 of a
// parent instance, over the virtio-serial port [Port]. Both ends are here: [Serve]
// for the guest, [Client] for the Host.
//
// It says what the Host must know to restore an instance from a snapshot and what
// the guest must be told when it was: new randomness, the time, who it is. It
// works before the guest has any other device, and survives a snapshot: the
// guest's end stays open and the restored Host's end begins anew.
//
// # Wire form
//
// One JSON object a line, at most [MaxLine] bytes with the line feed. The guest
// sends nothing until asked.
//
//	request  {"v":1,"id":7,"ping":{}}
//	answer   {"v":1,"re":7,"pong":{}}
//	failure  {"v":1,"re":7,"error":{"code":"failed","message":"..."}}
//
//	request  answer    what
//	ping     pong      the guest is there
//	resume   ready     randomness, clock and identity are set, the agent listens
//	quiesce  quiesced  the agent has stopped, memory is tidy: take the snapshot
//	devices  devices   the devices asked for have their drivers
//
// A request has exactly one of these. Ids are chosen by the Host, not 0, and not
// the same in two conversations: an answer to an id that nobody waits for belongs
// to an earlier conversation and is dropped. A request is carried out at a time; the
// next one cancels it, because a Host that sends one has given up waiting.
//
// What is no request, such as the second half of a line whose first half was lost,
// is dropped without an answer, so that two ends that misunderstand each other do
// not go on for ever. Each request begins with a line feed, which ends a line that
// was cut off.
//
// Unknown members of objects are ignored, unknown requests are answered with
// [Unsupported]. A change that older ends would misunderstand raises [Version].
package control

// Version is the protocol's version, member "v" of every line.
const Version = 1

// Port is the name of the virtio-serial port (virtserialport's property "name",
// /sys/class/virtio-ports/*/name in the guest). Streams to the agent have a port
// of their own, see package mux.
const Port = "org.nitrolab.agent.0"

// MaxLine bounds a line in bytes, its line feed included. The longest is a resume
// with MaxCABundle bytes of certificates, which are a third more in JSON.
const MaxLine = 128 << 10
