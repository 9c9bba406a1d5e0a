// Package wire is the message format of the Nitro Secure Module: the requests
// and replies that cross /dev/nsm, as Go types and as CBOR.
//
// The format is that of AWS's nsm-api crate (src/api/mod.rs): an enum in
// serde's externally tagged form. A variant without fields is a text string, any
// other is a map of one entry from the variant's name to the map of its fields.
//
// The two ends read differently, on purpose. [DecodeRequest] is what the module
// does: lenient as the hardware is, with a fixed error for everything else.
// [DecodeResponse] is what a careful client does: anything but a well-formed
// reply of a known kind is an error.
package wire

// Limits of one message, in bytes. Both are enforced by the Linux drivers
// (include/uapi/linux/nsm.h): a longer request fails with EMSGSIZE, a longer
// reply has no room.
const (
	MaxRequest  = 0x1000
	MaxResponse = 0x3000
)

// Sizes of the module.
const (
	NumPCRs    = 32  // platform configuration registers, indexes 0 to 31
	PCRSize    = 48  // bytes of one register, a SHA-384 digest
	RandomSize = 256 // bytes in one GetRandom reply
)

// DigestSHA384 is the name of the digest of every PCR bank seen so far.
const DigestSHA384 = "SHA384"

// A PCR is the value of one platform configuration register.
type PCR = [PCRSize]byte
