package vsock

import (
	"math"

	"github.com/nitrolab/nitrolab/devices/weaken"
)

// canonical resolves the alias that a guest may use for its parent: an enclave
// that dials CID 2 means CID 3. To the parent itself, CID 2 is the Host.
func canonical(src, dst uint32) uint32 {
	if dst == CIDHost && src != CIDParent {
		return CIDParent
	}
	return dst
}

// allowed reports whether src may open a connection to dst, both canonical.
// One of them has to be the parent: an enclave has no path to another enclave,
// to the console of one, or to the Host.
func (sw *Switch) allowed(src, dst uint32) bool {
	switch {
	case src == dst || dst == CIDLocal || dst == CIDAny:
		return false
	case src == CIDParent || dst == CIDParent:
		return true
	}
	return sw.cfg.Weaken.Off(weaken.EnclaveIsolation)
}

// claimed returns the guest in whose name a packet speaks that another guest
// sent: nil, for its sender is who is at the other end of the queue and not who
// it says.
func (sw *Switch) claimed(src uint64) *Device {
	if !sw.cfg.Weaken.Off(weaken.SourceCID) || src > math.MaxUint32 {
		return nil
	}
	guest, _ := sw.lookup(Addr{CID: uint32(src)})
	return guest
}
