package enclaves

// A slot is what an enclave is made in: it collects memory and CPUs, has the
// enclave while that runs, and keeps everything until it is freed.
//
// StateInit, then StateRunning by ENCLAVE_START, then StateStopped by
// ENCLAVE_STOP or the enclave's end. Nothing leads back.
type slot struct {
	uid     uint64
	state   State
	flags   uint64 // of ENCLAVE_START
	regions []Region
	size    uint64 // of all regions, bytes
	cpus    []uint32

	enclave  Enclave // nil until started
	cid      uint32  // enclave.CID()
	stopping bool    // by us: its end is no event
	stopped  bool    // Stop returned without error
}

// info is the reply to SLOT_INFO.
func (s *slot) info() Reply {
	return Reply{
		SlotUID:    s.uid,
		MemRegions: uint64(len(s.regions)),
		MemSize:    s.size,
		VCPUs:      uint64(len(s.cpus)),
		Flags:      s.flags,
		State:      s.state,
	}
}
