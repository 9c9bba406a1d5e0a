package allocator

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"syscall"

	"github.com/nitrolab/nitrolab/guest/nitrocli/cpulist"
)

// PoolPath is the driver's parameter: the CPUs for enclaves, which it takes
// off-line.
const PoolPath = "/sys/module/nitro_enclaves/parameters/ne_cpus"

// ErrEnclavesRun says that the CPUs of an earlier run cannot be given back.
var ErrEnclavesRun = errors.New("CPUs cannot be given back while an enclave runs: terminate all enclaves first")

// Run sets aside what c says, and tells out about it; that out cannot be written
// changes nothing. The error wraps a [Code]
// where there is one.
func Run(files Files, c Config, out io.Writer) (err error) {
	a := &allocator{files, out}
	if err := a.freeCPUs(); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.freeCPUs())
		}
	}()
	cpus := fmt.Sprintf("%d CPUs", c.CPUCount)
	if c.CPUPool != nil {
		cpus = "CPU pool: " + cpulist.Format(c.CPUPool)
		err = a.byPool(c)
	} else {
		err = a.byCount(c)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "Successfully allocated Nitro Enclaves resources: %d MiB, %s\n", c.MemoryMiB, cpus)
	return nil
}

type allocator struct {
	files Files
	out   io.Writer
}

// freeCPUs brings the CPUs of the pool on-line. Only a write that has something
// in it reaches the driver, so a newline stands for an empty list. The driver
// gives the old pool back first, and then refuses the empty new one (Linux 6.12,
// ne_setup_cpu_pool: "No CPUs available in CPU pool").
func (a *allocator) freeCPUs() error {
	err := a.files.WriteFile(PoolPath, []byte("\n"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("the driver nitro_enclaves is not loaded: %w", err)
	case errors.Is(err, syscall.EPERM):
		return fmt.Errorf("%w: %w", ErrEnclavesRun, err)
	case errors.Is(err, syscall.EINVAL) && a.poolIsEmpty():
		return nil
	case err != nil:
		return fmt.Errorf("give CPUs back: %w", err)
	}
	return nil
}

func (a *allocator) poolIsEmpty() bool {
	text, err := a.files.ReadFile(PoolPath)
	return err == nil && strings.TrimSpace(string(text)) == ""
}

func (a *allocator) setPool(ids []uint32) error {
	fmt.Fprintln(a.out, "Configuring the enclave CPU pool...")
	if err := a.files.WriteFile(PoolPath, []byte(cpulist.Format(ids)+"\n")); err != nil {
		return fmt.Errorf("configure the CPU pool %s: %w", cpulist.Format(ids), err)
	}
	return nil
}

// reserve reserves huge pages on a node.
func (a *allocator) reserve(memoryMiB uint64, node uint32) (undo func() error, err error) {
	fmt.Fprintf(a.out, "Reserving %d MiB of huge pages on NUMA node %d...\n", memoryMiB, node)
	pages, err := readPageSizes(a.files, a.out, node)
	if err != nil {
		return nil, err
	}
	return pages.reserve(int64(memoryMiB) << 20)
}

// byPool sets aside the CPUs that the configuration names. Whether they are
// suitable is for the driver to say.
func (a *allocator) byPool(c Config) error {
	if err := a.setPool(c.CPUPool); err != nil {
		return err
	}
	// Not c.CPUPool: what counts is what the driver made of it.
	text, err := a.files.ReadFile(PoolPath)
	if err != nil {
		return fmt.Errorf("read the CPU pool: %w", err)
	}
	ids, err := cpulist.Parse(strings.TrimSpace(string(text)))
	if err != nil {
		return fmt.Errorf("read the CPU pool: %w", err)
	}
	node, err := commonNode(a.files, ids)
	if err != nil {
		return err
	}
	_, err = a.reserve(c.MemoryMiB, node)
	return err
}

// byCount chooses CPUs, on the first node that has enough of them and of memory.
func (a *allocator) byCount(c Config) error {
	fmt.Fprintln(a.out, "Choosing the CPUs for the enclave CPU pool...")
	cpus, err := readCPUs(a.files)
	if err != nil {
		return err
	}
	sets, err := candidates(cpus, c.CPUCount)
	if err != nil {
		return err
	}
	var failed error
	for _, set := range sets {
		undo, err := a.reserve(c.MemoryMiB, set.node)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("NUMA node %d: %w", set.node, err))
			continue
		}
		fmt.Fprintf(a.out, "Chose the CPU pool: %s.\n", cpulist.Format(set.ids))
		if err := a.setPool(set.ids); err != nil {
			return errors.Join(err, undo())
		}
		return nil
	}
	return failed
}
