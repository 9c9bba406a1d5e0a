package vsock

import (
	"fmt"
	"math"
)

// Context identifiers with a meaning, virtio 1.2 section 5.10.4 and the Nitro
// Enclaves convention (reference/enclave-abi.md section 5.4).
const (
	CIDHypervisor uint32 = 0              // the Nitro hypervisor: the debug console, port 10000 + enclave CID
	CIDLocal      uint32 = 1              // loopback inside a guest; never on the wire
	CIDHost       uint32 = 2              // what an enclave may call its parent; to the parent, the Host itself
	CIDParent     uint32 = 3              // the parent instance
	CIDAny        uint32 = math.MaxUint32 // wildcard of bind(2); never on the wire
)

// PortAny asks [Switch.Listen] to choose a free port (VMADDR_PORT_ANY).
const PortAny uint32 = math.MaxUint32

// ConsolePort is the port at [CIDHypervisor] at which a parent reads the
// console of the debug enclave cid.
func ConsolePort(cid uint32) uint32 { return 10000 + cid }

// An Addr is one end of a connection. It implements net.Addr.
type Addr struct {
	CID  uint32
	Port uint32
}

// Network is "vsock".
func (Addr) Network() string { return "vsock" }

// String is CID:port in decimal, as in socat and nitro-cli's messages.
func (a Addr) String() string { return fmt.Sprintf("%d:%d", a.CID, a.Port) }
