package wire

// A Request is one of the seven operations of the module: [DescribePCR],
// [ExtendPCR], [LockPCR], [LockPCRs], [DescribeNSM], [Attestation] and
// [GetRandom], by value.
type Request interface {
	// Name is the operation's name on the wire.
	Name() string

	isRequest()
}

// DescribePCR asks for the value and the lock of one PCR; the reply is a
// [DescribePCRResponse].
type DescribePCR struct {
	Index uint16 `cbor:"index"`
}

// ExtendPCR asks to replace a PCR by SHA384(PCR ‖ Data); the reply is an
// [ExtendPCRResponse]. Data may have any length, none included; nil is sent as
// no bytes, because the field is not optional.
type ExtendPCR struct {
	Index uint16 `cbor:"index"`
	Data  []byte `cbor:"data"`
}

// LockPCR asks to make one PCR read-only for good; the reply is a
// [LockPCRResponse].
type LockPCR struct {
	Index uint16 `cbor:"index"`
}

// LockPCRs asks to make the PCRs 0 to Range-1 read-only for good; the reply is a
// [LockPCRsResponse].
type LockPCRs struct {
	Range uint16 `cbor:"range"`
}

// DescribeNSM asks what the module is; the reply is a [DescribeNSMResponse].
type DescribeNSM struct{}

// Attestation asks for a signed document over the locked PCRs and the caller's
// three fields; the reply is an [AttestationResponse].
//
// Each field is copied into the document as it is: nil as null, empty as an
// empty byte string. The module limits their sum only, through MaxRequest.
// The order is the one in which AWS's clients send them.
type Attestation struct {
	UserData  []byte `cbor:"user_data"`
	Nonce     []byte `cbor:"nonce"`
	PublicKey []byte `cbor:"public_key"`
}

// GetRandom asks for entropy; the reply is a [GetRandomResponse].
type GetRandom struct{}

// Name implements [Request].
func (DescribePCR) Name() string { return "DescribePCR" }

// Name implements [Request].
func (ExtendPCR) Name() string { return "ExtendPCR" }

// Name implements [Request].
func (LockPCR) Name() string { return "LockPCR" }

// Name implements [Request].
func (LockPCRs) Name() string { return "LockPCRs" }

// Name implements [Request].
func (DescribeNSM) Name() string { return "DescribeNSM" }

// Name implements [Request].
func (Attestation) Name() string { return "Attestation" }

// Name implements [Request].
func (GetRandom) Name() string { return "GetRandom" }

func (DescribePCR) isRequest() {}
func (ExtendPCR) isRequest()   {}
func (LockPCR) isRequest()     {}
func (LockPCRs) isRequest()    {}
func (DescribeNSM) isRequest() {}
func (Attestation) isRequest() {}
func (GetRandom) isRequest()   {}
