package harness

import (
	"fmt"
	"io"
	"time"

	"github.com/nitrolab/nitrolab/devices/nsm/attestation"
	"github.com/nitrolab/nitrolab/devices/weaken"
	"github.com/nitrolab/nitrolab/emulator"
)

// A HostOption changes what [New] makes. Nil is no option.
type HostOption func(*emulator.Config) error

// Weaken switches one protection off, for a counter-proof.
func Weaken(w weaken.Set) HostOption {
	return func(c *emulator.Config) error { c.Weaken = w; return nil }
}

// Clock gives the Host its time.
func Clock(now func() time.Time) HostOption {
	return func(c *emulator.Config) error { c.Clock = now; return nil }
}

// Entropy gives the Host its randomness: with equal entropy and clock two Hosts
// are the same Host.
func Entropy(r io.Reader) HostOption {
	return func(c *emulator.Config) error { c.Entropy = r; return nil }
}

// Role gives the parent instance an IAM role, by its ARN. It is in PCR3.
func Role(arn string) HostOption {
	return func(c *emulator.Config) error { c.Role = arn; return nil }
}

// Names chooses the subject names of certificates.
func Names(n attestation.Names) HostOption {
	return func(c *emulator.Config) error { c.Names = n; return nil }
}

// An EnclaveOption changes what [Host.RunEnclave] starts. Nil is no option.
type EnclaveOption func(*emulator.EnclaveConfig) error

// Memory of the enclave in MiB; default 256.
func Memory(mib int) EnclaveOption {
	return func(c *emulator.EnclaveConfig) error { c.MemoryMiB = mib; return nil }
}

// CPUs of the enclave; default 1.
func CPUs(n int) EnclaveOption {
	return func(c *emulator.EnclaveConfig) error { c.CPUs = n; return nil }
}

// Debug runs the enclave in debug mode.
func Debug() EnclaveOption {
	return func(c *emulator.EnclaveConfig) error { c.Debug = true; return nil }
}

// CID of the enclave; default a free one.
func CID(cid uint32) EnclaveOption {
	return func(c *emulator.EnclaveConfig) error { c.CID = cid; return nil }
}

// Form of the machine; default by the image.
func Form(f emulator.Form) EnclaveOption {
	return func(c *emulator.EnclaveConfig) error { c.Form = f; return nil }
}

// Encoding of the enclave's documents; default the Host's.
func Encoding(e attestation.Encoding) EnclaveOption {
	return func(c *emulator.EnclaveConfig) error { c.Encoding = e; return nil }
}

// BootTimeout is how long the heartbeat may take, unscaled; default as nitro-cli,
// 180 s and more.
func BootTimeout(d time.Duration) EnclaveOption {
	return func(c *emulator.EnclaveConfig) error {
		if d <= 0 {
			return fmt.Errorf("boot timeout is %v; allowed are positive ones", d)
		}
		c.BootTimeout = d
		return nil
	}
}

// HangTimeout is how long the guest's kernel may stay silent, unscaled; negative
// is for ever.
func HangTimeout(d time.Duration) EnclaveOption {
	return func(c *emulator.EnclaveConfig) error { c.HangTimeout = d; return nil }
}
