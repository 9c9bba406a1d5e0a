package emulator

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/nitrolab/nitrolab/devices/guestmem"
	"github.com/nitrolab/nitrolab/devices/nsm/attestation"
	"github.com/nitrolab/nitrolab/devices/weaken"
	"github.com/nitrolab/nitrolab/emulator/qemu"
	"github.com/nitrolab/nitrolab/emulator/services"
	"github.com/nitrolab/nitrolab/images/toolchain"
)

// Config describes one emulated Nitro host.
type Config struct {
	// Tools are the QEMU and the kernel to use. Required.
	Tools *toolchain.Toolchain

	// Accel is how guests run, from qemu.ProbeAccel. Required.
	Accel qemu.Accel

	// StateDir is where the Host makes a directory of its own, for kernels,
	// consoles and sockets; it is removed with the Host, however that ends.
	// Required.
	StateDir string

	// ArtifactsDir gets a folder with console and command line for each enclave
	// that fails. Empty: nothing is kept.
	ArtifactsDir string

	// CacheDir keeps kernels taken out of bzImages. Empty: they are not taken
	// out and boot a second slower.
	CacheDir string

	// KeepEnclaveDirs leaves the folder of an ended enclave until the Host is
	// closed, for [Host.SaveArtifacts].
	KeepEnclaveDirs bool

	// Identity makes the Host a known one. The zero value draws a new one from
	// Entropy.
	Identity Identity

	// Role is the ARN of the IAM role of the parent instance, the source of
	// PCR3; empty for an instance without a role.
	Role string

	// Account is the AWS account of 12 digits to which the instances and their keys
	// belong. Empty means that of Role, or
	// services.DefaultAccount.
	Account string

	// KMS describes the key service.
	KMS services.KMSConfig

	// Names and Encoding choose the form of documents, see package attestation.
	Names    attestation.Names
	Encoding attestation.Encoding

	// Clock is the time of the Host, from which documents and certificates are
	// dated; nil means time.Now.
	Clock func() time.Time

	// Entropy feeds every random choice of the Host, including what enclaves
	// get from GetRandom; nil means crypto/rand.
	Entropy io.Reader

	// Log gets what happens, each record with the enclave's id; nil discards.
	Log *slog.Logger

	// Weaken switches one protection off, in tests.
	Weaken weaken.Set
}

func (c Config) withDefaults() (Config, error) {
	if c.Tools == nil {
		return c, errors.New("new host: no tool chain")
	}
	if c.StateDir == "" {
		return c, errors.New("new host: no state directory")
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Entropy == nil {
		c.Entropy = rand.Reader
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Identity.InstanceID == "" {
		id, err := NewIdentity(c.Entropy)
		if err != nil {
			return c, fmt.Errorf("new host: %w", err)
		}
		c.Identity = id
	}
	if err := c.Identity.check(); err != nil {
		return c, fmt.Errorf("new host: %w", err)
	}
	return c, nil
}

// EnclaveConfig describes one enclave, in nitro-cli's terms.
type EnclaveConfig struct {
	// EIFPath is the image file. Required.
	EIFPath string

	// Name is for people, at most 255 bytes; empty means [DefaultName].
	Name string

	// MemoryMiB and CPUs are what the enclave gets. The memory must be at least
	// 64 MiB and 4 times the image.
	MemoryMiB int
	CPUs      int

	// CPUIDs are the numbers that the parent's CPUs are said to have had, as many
	// as CPUs and no two the same; empty counts from 0. They are shown and have
	// no other effect: no parent loses a CPU here.
	CPUIDs []int

	// CID is the enclave's vsock address; 0 chooses one.
	CID uint32

	// Debug runs it in debug mode: its console can be read, and its PCR0 to
	// PCR2 are zero.
	Debug bool

	// Form of the machine; FormAuto, the zero value, chooses by the image.
	Form Form

	// Encoding of this enclave's documents; zero means the Host's.
	Encoding attestation.Encoding

	// BootTimeout is how long the heartbeat may take. Zero means what nitro-cli
	// allows, 90 s for each started 6 GiB of image and 90 s for each started
	// 100 GiB of memory, which is 180 s and more.
	BootTimeout time.Duration

	// HangTimeout ends an enclave whose kernel has not answered on vsock for
	// this long. Zero means one minute, scaled for slow machines; negative
	// switches the watchdog off, for a guest under a debugger.
	HangTimeout time.Duration

	// Remove lists absolute paths to remove if this process is killed while the
	// enclave runs. As long as it lives they are the caller's business.
	Remove []string

	// checked is called when the image has passed every check, before anything of
	// the enclave is there. Nil does nothing.
	checked func() error

	// ram is the enclave's memory, nil for one that QEMU makes. The caller closes
	// it.
	ram *guestmem.RAM

	// panicWait replaces panicTimeout, in tests.
	panicWait time.Duration
}

// Limits of an enclave. The least memory, and the factor between image and memory,
// are nitro-cli's (src/enclave_proc/resource_manager.rs).
const (
	MinMemoryMiB = 64
	MaxMemoryMiB = 1 << 20 // a TiB: beyond any host this runs on
	MaxCPUs      = 255     // of microvm without x2APIC

	maxName        = 255 // as file names
	imageMemFactor = 4
)

// Check refuses what can be refused without the image. StartEnclave does so too.
func (c EnclaveConfig) Check() error {
	switch {
	case c.EIFPath == "":
		return errors.New("enclave image path is empty")
	case c.MemoryMiB < MinMemoryMiB || c.MemoryMiB > MaxMemoryMiB:
		return &RequestError{"memory", fmt.Sprintf("%d MiB", c.MemoryMiB), fmt.Sprintf("%d to %d MiB", MinMemoryMiB, MaxMemoryMiB)}
	case c.CPUs < 1 || c.CPUs > MaxCPUs:
		return &RequestError{"CPU count", fmt.Sprint(c.CPUs), fmt.Sprintf("1 to %d", MaxCPUs)}
	case len(c.CPUIDs) > 0 && len(c.CPUIDs) != c.CPUs:
		return &RequestError{"number of CPU ids", fmt.Sprint(len(c.CPUIDs)), fmt.Sprintf("%d, one for each CPU, or none", c.CPUs)}
	case hasDuplicate(c.CPUIDs):
		return &RequestError{"list of CPU ids", fmt.Sprint(c.CPUIDs), "one without repetition"}
	case len(c.Name) > maxName:
		return &RequestError{"enclave name", fmt.Sprintf("of %d bytes", len(c.Name)), fmt.Sprintf("at most %d bytes", maxName)}
	case c.CID >= 1 && c.CID <= 3, c.CID == 1<<32-1:
		return &RequestError{"enclave CID", fmt.Sprint(c.CID), "4 to 4294967294, or 0 to choose one"}
	}
	return nil
}

func hasDuplicate(ids []int) bool {
	ids = slices.Sorted(slices.Values(ids))
	return len(slices.Compact(ids)) != len(ids)
}

// bootTimeout is nitro-cli's rule (resource_manager.rs, ENCLAVE_READY_TIMEOUT).
func (c EnclaveConfig) bootTimeout(imageSize int64) time.Duration {
	if c.BootTimeout > 0 {
		return c.BootTimeout
	}
	const unit = 90 * time.Second
	images := (imageSize + 6<<30 - 1) / (6 << 30)
	memory := (int64(c.MemoryMiB) + 100<<10 - 1) / (100 << 10)
	return unit * time.Duration(max(images, 1)+max(memory, 1))
}

// panicTimeout is how long a kernel that panicked before its heartbeat may take
// to reset. Stock images wait 30 s (panic=30); one that failed in its panic would
// else be waited for until the boot's own limit, with the reason on its console.
func (c EnclaveConfig) panicTimeout() time.Duration {
	if c.panicWait != 0 {
		return c.panicWait
	}
	return 45 * time.Second
}
