package nsm

import (
	"fmt"
	"maps"

	"github.com/nitrolab/nitrolab/devices/nsm/wire"
)

// The PCRs that the platform fills before the enclave boots
// (enclave-abi.md, section 4.4); the other PCRs start as zero.
const (
	PCRImage       = 0 // kernel, command line and all ramdisks
	PCRKernel      = 1 // kernel, command line and the first ramdisk
	PCRApplication = 2 // the ramdisks after the first
	PCRRole        = 3 // IAM role of the parent instance, see RolePCR; zero without one
	PCRInstance    = 4 // id of the parent instance, see InstancePCR
	PCRCertificate = 8 // signing certificate of the image; zero if unsigned

	// FirstUserPCR is the first PCR that the enclave may extend: the platform
	// locks those below.
	FirstUserPCR = 16
)

// Measurements are the platform's PCR values by index. A PCR that is not named
// is zero.
type Measurements map[uint16]wire.PCR

// RolePCR is PCR3 for the ARN of the parent instance's IAM role, such as
// "arn:aws:iam::123456789012:role/Webserver": the zero PCR extended once. The
// formula is AWS's documentation; it was not checked on hardware.
func RolePCR(arn string) wire.PCR { return extend(wire.PCR{}, []byte(arn)) }

// InstancePCR is PCR4 for the id of the parent instance, such as
// "i-1234567890abcdef0": the zero PCR extended once, as on hardware.
func InstancePCR(id string) wire.PCR { return extend(wire.PCR{}, []byte(id)) }

// Debug is what the PCRs of the same enclave are in debug mode: those that
// vouch for the image are zero. Hardware keeps those of the parent instance,
// against AWS's documentation ("PCRs made up entirely of zeros"). That PCR8 is
// zero is inferred.
func (m Measurements) Debug() Measurements {
	d := maps.Clone(m)
	for _, i := range []uint16{PCRImage, PCRKernel, PCRApplication, PCRCertificate} {
		delete(d, i)
	}
	return d
}

// Bank is the bank with which the enclave boots: the measurements in place and
// every PCR below FirstUserPCR locked. It fails for a PCR that the platform does
// not measure.
func (m Measurements) Bank() (Bank, error) {
	var b Bank
	for i, value := range m {
		switch i {
		case PCRImage, PCRKernel, PCRApplication, PCRRole, PCRInstance, PCRCertificate:
			b.pcrs[i] = value
		default:
			return Bank{}, fmt.Errorf("measurement of PCR %d: not a PCR of the platform", i)
		}
	}
	return b, b.LockRange(FirstUserPCR)
}
