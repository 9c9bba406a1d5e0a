// Package provision is the wire format by which a parent hands its enclave what
// the enclave cannot have by itself: the credentials of the parent's role and the
// sealed weights. Over a stream, usually vsock port 5200 of the enclave:
//
//	request   uint32 length, 1 to 16384     JSON, a [Request] without Weights
//	          uint32 length, 1 and more     sealed weights (package sealed)
//	reply     uint32 length, 1 to 8192      JSON, a [Reply]
//
// Integers are big-endian. One request a connection; the server closes it after the
// reply. Nothing on this stream is secret from the parent, and nothing the parent
// says is believed: credentials are good or not, weights open or not.
package provision

import "github.com/nitrolab/nitrolab/guest/inference/sealed"

// Limits, in bytes.
const (
	MaxHead    = 16 << 10
	MaxWeights = sealed.MaxFile
	MaxReply   = 8 << 10
)
