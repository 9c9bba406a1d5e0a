package emulator

import (
	"fmt"
	"time"

	"github.com/nitrolab/nitrolab/devices/pci"
	"github.com/nitrolab/nitrolab/images/instance"
)

// InstanceConfig describes one parent instance. The zero value but for Image is
// an m5.xlarge with as much memory as it needs here.
type InstanceConfig struct {
	// Image is what it boots, from [instance.Build]. Required.
	Image *instance.Image

	// Name is for people, at most 255 bytes; empty means the instance id.
	Name string

	// Type is what the instance says it is, such as m5.xlarge; it has no other
	// effect. Empty means m5.xlarge.
	Type string

	// CPUs are its processors, in cores of Threads each. The first core cannot be
	// given to enclaves. Zero means 4 in cores of 2, as an m5.xlarge has.
	CPUs    int
	Threads int

	// MemoryMiB is its memory, out of which it donates that of its enclaves. Zero
	// means 1024; pages that are never touched cost nothing.
	MemoryMiB int

	// Cards are further PCIe functions to plug beside the Nitro cards, at most
	// MaxCards. Each is the instance's as long as it lives.
	Cards []Card `json:"-"`

	// Cold boots the instance. Else it is restored from a snapshot that is made
	// once for each image and shape of machine.
	Cold bool

	// Remove lists absolute paths to remove if this process is killed while the
	// instance runs. As long as it lives they are the caller's business.
	Remove []string
}

// A Card is one PCIe function of a device model.
type Card struct {
	Name     string // for the log
	Function *pci.Function
}

// MaxCards is how many cards an instance has room for beside the Nitro cards.
const MaxCards = rootPorts - nitroCards

// Limits of an instance.
const (
	MinInstanceMemoryMiB = 256
	MaxInstanceMemoryMiB = 64 << 10
	MaxInstanceCPUs      = 64

	defaultInstanceType   = "m5.xlarge"
	defaultInstanceMemory = 1024
	defaultInstanceCPUs   = 4
	defaultThreads        = 2

	maxType = 64 // bytes of an instance type
)

func (c InstanceConfig) withDefaults() InstanceConfig {
	if c.Type == "" {
		c.Type = defaultInstanceType
	}
	if c.CPUs == 0 {
		c.CPUs = defaultInstanceCPUs
	}
	if c.Threads == 0 {
		c.Threads = defaultThreads
		if c.CPUs%2 != 0 {
			c.Threads = 1
		}
	}
	if c.MemoryMiB == 0 {
		c.MemoryMiB = defaultInstanceMemory
	}
	return c
}

// Check refuses what can be refused without starting anything. Launch does so too.
func (c InstanceConfig) Check() error {
	c = c.withDefaults()
	switch {
	case c.Image == nil:
		return &RequestError{"instance image", "missing", "one that instance.Build made"}
	case len(c.Name) > maxName:
		return &RequestError{"instance name", fmt.Sprintf("of %d bytes", len(c.Name)), fmt.Sprintf("at most %d bytes", maxName)}
	case !validType(c.Type):
		return &RequestError{"instance type", fmt.Sprintf("%.80q", c.Type), "of the form m5.xlarge"}
	case c.CPUs < 2 || c.CPUs > MaxInstanceCPUs:
		return &RequestError{"CPU count of the instance", fmt.Sprint(c.CPUs), fmt.Sprintf("2 to %d: one core stays with the instance", MaxInstanceCPUs)}
	case c.Threads < 1 || c.Threads > 2 || c.CPUs%c.Threads != 0:
		return &RequestError{"threads per core", fmt.Sprintf("%d with %d CPUs", c.Threads, c.CPUs), "1 or 2, and a divisor of the CPU count"}
	case len(c.Cards) > MaxCards:
		return &RequestError{"number of cards", fmt.Sprint(len(c.Cards)), fmt.Sprintf("at most %d", MaxCards)}
	case c.MemoryMiB < MinInstanceMemoryMiB || c.MemoryMiB > MaxInstanceMemoryMiB || c.MemoryMiB%2 != 0:
		return &RequestError{"memory of the instance", fmt.Sprintf("%d MiB", c.MemoryMiB), fmt.Sprintf("%d to %d MiB, an even number", MinInstanceMemoryMiB, MaxInstanceMemoryMiB)}
	}
	return nil
}

// validType keeps what goes into firmware tables to letters, digits, dots and
// dashes.
func validType(t string) bool {
	for _, r := range t {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '-':
		default:
			return false
		}
	}
	return t != "" && len(t) <= maxType
}

// Deadlines of a launch, before scaling.
const (
	bootTimeout    = 30 * time.Second // from the first instruction to the agent, cold
	restoreTimeout = 10 * time.Second // the same from a snapshot
	cardsTimeout   = 10 * time.Second // until drivers have found the cards
	saveTimeout    = 20 * time.Second // of a snapshot
)
