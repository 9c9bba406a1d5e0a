package wire

// A Response is one reply of the module, by value. An [ErrorCode] is the reply
// to a request that was not fulfilled.
type Response interface {
	// Name is the variant's name on the wire: that of the request it answers,
	// or "Error".
	Name() string

	isResponse()
}

// DescribePCRResponse is the state of one PCR.
type DescribePCRResponse struct {
	Lock bool `cbor:"lock"` // true if the PCR is read-only
	Data PCR  `cbor:"data"`
}

// ExtendPCRResponse is the value of the PCR after it was extended.
type ExtendPCRResponse struct {
	Data PCR `cbor:"data"`
}

// LockPCRResponse says that the PCR is locked now.
type LockPCRResponse struct{}

// LockPCRsResponse says that the range is locked now.
type LockPCRsResponse struct{}

// DescribeNSMResponse says what the module is.
type DescribeNSMResponse struct {
	VersionMajor uint16 `cbor:"version_major"`
	VersionMinor uint16 `cbor:"version_minor"`
	VersionPatch uint16 `cbor:"version_patch"`
	// ModuleID is "i-<17 hex digits>-enc<16 hex digits>" on Nitro; AWS's C
	// client keeps 100 bytes of it.
	ModuleID string `cbor:"module_id"`
	MaxPCRs  uint16 `cbor:"max_pcrs"`
	// LockedPCRs are the indexes of the read-only PCRs, ascending.
	LockedPCRs []uint16 `cbor:"locked_pcrs"`
	// Digest is the bank's digest: SHA256, SHA384 or SHA512.
	Digest string `cbor:"digest"`
}

// AttestationResponse holds one document, an untagged COSE_Sign1.
type AttestationResponse struct {
	Document []byte `cbor:"document"`
}

// GetRandomResponse holds entropy: RandomSize bytes from hardware. Linux
// misreads fewer than 24 bytes (cbor_object_get_array of drivers/misc/nsm.c).
type GetRandomResponse struct {
	Random []byte `cbor:"random"`
}

// Name implements [Response].
func (DescribePCRResponse) Name() string { return "DescribePCR" }

// Name implements [Response].
func (ExtendPCRResponse) Name() string { return "ExtendPCR" }

// Name implements [Response].
func (LockPCRResponse) Name() string { return "LockPCR" }

// Name implements [Response].
func (LockPCRsResponse) Name() string { return "LockPCRs" }

// Name implements [Response].
func (DescribeNSMResponse) Name() string { return "DescribeNSM" }

// Name implements [Response].
func (AttestationResponse) Name() string { return "Attestation" }

// Name implements [Response].
func (GetRandomResponse) Name() string { return "GetRandom" }

// Name implements [Response].
func (ErrorCode) Name() string { return "Error" }

func (DescribePCRResponse) isResponse() {}
func (ExtendPCRResponse) isResponse()   {}
func (LockPCRResponse) isResponse()     {}
func (LockPCRsResponse) isResponse()    {}
func (DescribeNSMResponse) isResponse() {}
func (AttestationResponse) isResponse() {}
func (GetRandomResponse) isResponse()   {}
func (ErrorCode) isResponse()           {}
