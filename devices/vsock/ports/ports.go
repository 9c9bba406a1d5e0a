// Package ports holds the vsock ports that both ends of an enclave must know:
// that of the heartbeat, and those of nitrolab's own guest programs. It is apart
// from package vsock so that PID 1 of a guest can have the numbers without the
// switch.
package ports

// The heartbeat of the real stack: a starting enclave connects to its parent
// (CID 3) at this port, writes HeartbeatByte and expects one such byte back
// (enclave_ready in init.c of aws-nitro-enclaves-sdk-bootstrap,
// ENCLAVE_READY_VSOCK_PORT of nitro-cli).
const (
	Heartbeat     uint32 = 9000
	HeartbeatByte byte   = 0xb7
)

// Ports on which nitrolab's guest programs listen.
const (
	Attest uint32 = 5005 // guest/cmd/attest; protocol: devices/nsm/ask
	Agent  uint32 = 5122 // guest/cmd/agent; protocol: SSH
)
