package enclaves

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"log/slog"
	"time"

	"github.com/nitrolab/nitrolab/devices/weaken"
)

// Config describes a [Device]. Hypervisor and CPUs are required.
type Config struct {
	Hypervisor Hypervisor

	// CPUs is the number of the parent's CPUs, 1 to 4096. It may not give away
	// the core of CPU 0.
	CPUs int

	// ThreadsPerCore says that CPUs n*ThreadsPerCore and up are one core, as
	// QEMU numbers them. An enclave gets whole cores. Default 1.
	ThreadsPerCore int

	// MaxSlots bounds the slots, at most 64. Default 4: AWS documents "up to four
	// separate enclaves" for one parent.
	MaxSlots int

	// MaxRegions bounds the regions of one slot, and is what SLOT_ALLOC tells
	// the driver. Default and maximum 65536: 2 MiB pages of 128 GiB.
	MaxRegions int

	// MinMemory is the least memory of an enclave in bytes. Default 64 MiB, as
	// the Linux driver has it.
	MinMemory uint64

	// NewSlotUID gives the uid of a new slot. Where it gives 0 or one that is
	// in use, the next free number is taken. It must not block. Nil is random.
	NewSlotUID func() uint64

	// LaunchTimeout bounds Hypervisor.Launch. Default 100 s, so that the driver,
	// which waits 120 s, hears of it.
	LaunchTimeout time.Duration

	// Faults make the device misbehave from the start, see [Device.SetFaults].
	Faults Faults

	// ForceBusMaster is that of pci.Config: for drivers that do not set Bus
	// Master Enable. Linux's does (6.12).
	ForceBusMaster bool

	// Weaken can lift weaken.ScrubOnFree, in tests.
	Weaken weaken.Set

	// Log receives enclaves that start and end at level Info, those that the
	// hypervisor does not start at Warn, what cannot be stopped or scrubbed at
	// Error, and what the driver does wrong at Debug: it can do that as often as
	// it likes. Nil discards it.
	Log *slog.Logger
}

// Defaults and bounds of [Config].
const (
	maxCPUs       = 4096
	maxSlots      = 64
	maxRegions    = 65536
	defaultSlots  = 4
	defaultMemory = 64 << 20
	defaultLaunch = 100 * time.Second
)

// withDefaults is c with defaults, or the error that names the field.
func (c Config) withDefaults() (Config, error) {
	setDefault(&c.ThreadsPerCore, 1)
	setDefault(&c.MaxSlots, defaultSlots)
	setDefault(&c.MaxRegions, maxRegions)
	setDefault(&c.MinMemory, defaultMemory)
	setDefault(&c.LaunchTimeout, defaultLaunch)
	if c.NewSlotUID == nil {
		c.NewSlotUID = randomUID
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	invalid := func(field string, value any) (Config, error) {
		return Config{}, fmt.Errorf("enclaves config %s: %v", field, value)
	}
	switch {
	case c.Hypervisor == nil:
		return invalid("Hypervisor", "none")
	case c.CPUs < 1 || c.CPUs > maxCPUs:
		return invalid("CPUs", c.CPUs)
	case c.ThreadsPerCore < 1 || c.ThreadsPerCore > c.CPUs:
		return invalid("ThreadsPerCore", c.ThreadsPerCore)
	case c.MaxSlots < 1 || c.MaxSlots > maxSlots:
		return invalid("MaxSlots", c.MaxSlots)
	case c.MaxRegions < 1 || c.MaxRegions > maxRegions:
		return invalid("MaxRegions", c.MaxRegions)
	case c.LaunchTimeout < 0:
		return invalid("LaunchTimeout", c.LaunchTimeout)
	}
	if err := c.Faults.check(); err != nil {
		return invalid("Faults", err)
	}
	return c, nil
}

func setDefault[T int | uint64 | time.Duration](v *T, to T) {
	if *v == 0 {
		*v = to
	}
}

func randomUID() uint64 {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return binary.LittleEndian.Uint64(b[:])
}
