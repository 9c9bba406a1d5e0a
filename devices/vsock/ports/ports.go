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

// Ports of the Host, CID 2, on which an instance reaches the services of its
// region (guest/linklocal). An enclave cannot: its CID 2 is its parent.
const (
	IMDS uint32 = 80  // HTTP, the instance metadata service
	DNS  uint32 = 53  // DNS over a stream, two bytes of length before each message (RFC 1035 section 4.2.2)
	AWS  uint32 = 443 // TLS; the server name says which service
)

// KMSProxy is where the parent's vsock-proxy takes an enclave's connections to the
// key service (vsock-proxy.service of nitro-cli; kmstool's --proxy-port).
const KMSProxy uint32 = 8000

// Ports on which the enclave of the confidential inference sample listens.
const (
	Provision uint32 = 5200 // from its parent; protocol: guest/inference
	Inference uint32 = 5443 // attested TLS; protocol: guest/channel
)
