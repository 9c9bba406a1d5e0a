package vsock

import "github.com/nitrolab/nitrolab/devices/weaken"

// canonical resolves the alias that a guest may use for its parent: an enclave
// that dials CID 2 means CID 3. The parent itself has no parent.
func canonical(src, dst uint32) uint32 {
	if dst == CIDHost && src != CIDParent {
		return CIDParent
	}
	return dst
}

// allowed reports whether src may open a connection to dst, both canonical.
// One of them has to be the parent: an enclave has no path to another enclave,
// nor to the console of one.
func (sw *Switch) allowed(src, dst uint32) bool {
	switch {
	case src == dst || dst == CIDLocal || dst == CIDAny:
		return false
	case src == CIDParent || dst == CIDParent:
		return true
	}
	return sw.cfg.Weaken.Off(weaken.EnclaveIsolation)
}
