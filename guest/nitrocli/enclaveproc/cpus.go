package enclaveproc

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/nitrolab/nitrolab/guest/nitrocli/cpulist"
	"github.com/nitrolab/nitrolab/guest/nitrocli/failure"
	"github.com/nitrolab/nitrolab/guest/nitrocli/wire"
)

// poolPath has the CPUs that are set aside for enclaves, whether one uses them
// or not.
const poolPath = "/sys/module/nitro_enclaves/parameters/ne_cpus"

// readPool reads the CPU pool.
func (c *Config) readPool() ([]uint32, error) {
	text, err := os.ReadFile(c.file(poolPath))
	if err != nil {
		return nil, failure.Wrap(failure.FileOperationFailure, err, poolPath, "Open")
	}
	pool, err := parsePool(string(text))
	return pool, failure.During("Failed to construct CPU information", err)
}

// parsePool reads the content of the pool's file.
func parsePool(text string) ([]uint32, error) {
	var pool []uint32
	for line := range strings.Lines(text) {
		cpus, err := cpulist.Parse(line)
		switch {
		case errors.Is(err, cpulist.ErrRange):
			return nil, failure.Wrap(failure.CPUError, err)
		case err != nil:
			return nil, failure.Wrap(failure.MalformedCPUID, err)
		}
		pool = append(pool, cpus...)
	}
	return pool, nil
}

// chooseCPUs is what to ask the driver for: IDs, 0 for any.
func chooseCPUs(args *wire.RunArgs, pool []uint32) ([]uint32, error) {
	switch {
	case args.CPUIDs != nil:
		return args.CPUIDs, checkCPUIDs(args.CPUIDs, pool)
	case args.CPUCount == nil:
		return nil, failure.New(failure.InvalidArgument, "neither CPU count nor CPU IDs were given")
	case uint64(*args.CPUCount) > uint64(len(pool)):
		return nil, failure.New(failure.InsufficientCPUs, "requested are %d CPUs, the pool has %d", *args.CPUCount, len(pool)).
			With("cpu-count", strconv.FormatUint(uint64(*args.CPUCount), 10))
	}
	return make([]uint32, *args.CPUCount), nil
}

// checkCPUIDs checks IDs as nitro-cli does: first that each is there once, then
// that each is in the pool, the smallest ID first.
func checkCPUIDs(ids, pool []uint32) error {
	sorted := slices.Sorted(slices.Values(ids))
	var twice []string
	for i, id := range sorted {
		if i > 0 && id == sorted[i-1] {
			if text := fmt.Sprint(id); !slices.Contains(twice, text) {
				twice = append(twice, text)
			}
		}
	}
	if twice != nil {
		return (&failure.Error{Code: failure.InvalidCPUConfiguration}).With("cpu-ids", strings.Join(twice, ", "))
	}
	for _, id := range sorted {
		if !slices.Contains(pool, id) {
			return failure.New(failure.NoSuchCPUAvailableInPool, "the pool is %q", cpulist.Format(pool)).
				With("cpu-ids", strconv.FormatUint(uint64(id), 10))
		}
	}
	return nil
}
