package allocator

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/nitrolab/nitrolab/guest/nitrocli/cpulist"
)

const cpuDir = "/sys/devices/system/cpu"

// A cpu is one CPU that is on-line.
type cpu struct {
	id       uint32
	node     uint32
	siblings []uint32 // threads of its core, with itself
}

// readCPUs reads which CPUs there are, in the order of their numbers, and how
// they belong together. CPUs that are off-line have no siblings that could be
// read, so they must be on-line.
func readCPUs(files Files) ([]cpu, error) {
	online, err := readList(files, cpuDir+"/online")
	if err != nil {
		return nil, err
	}
	var cpus []cpu
	for _, id := range online {
		node, err := nodeOf(files, id)
		if err != nil {
			return nil, err
		}
		siblings, err := readList(files, fmt.Sprintf("%s/cpu%d/topology/thread_siblings_list", cpuDir, id))
		if err != nil {
			return nil, err
		}
		if !slices.Contains(siblings, id) {
			return nil, fmt.Errorf("read CPUs: CPU %d is not among the threads of its own core", id)
		}
		cpus = append(cpus, cpu{id, node, siblings})
	}
	return cpus, nil
}

func readList(files Files, path string) ([]uint32, error) {
	text, err := files.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read CPUs: %w", err)
	}
	list, err := cpulist.Parse(string(text))
	if err != nil {
		return nil, fmt.Errorf("read CPUs: %s: %w", path, err)
	}
	return list, nil
}

// nodeOf is the NUMA node of a CPU, which may be off-line: its folder has an
// entry node<n>.
func nodeOf(files Files, id uint32) (uint32, error) {
	entries, err := files.ReadDir(fmt.Sprintf("%s/cpu%d", cpuDir, id))
	if err != nil {
		return 0, fmt.Errorf("CPU %d: %w: %w", id, MissingNode, err)
	}
	for _, e := range entries {
		if text, ok := strings.CutPrefix(e.Name(), "node"); ok {
			if n, err := strconv.ParseUint(text, 10, 16); err == nil {
				return uint32(n), nil
			}
		}
	}
	return 0, fmt.Errorf("CPU %d: %w", id, MissingNode)
}

// commonNode is the NUMA node that all CPUs belong to.
func commonNode(files Files, ids []uint32) (uint32, error) {
	if len(ids) == 0 {
		return 0, EmptyCPUPool
	}
	first, err := nodeOf(files, ids[0])
	if err != nil {
		return 0, err
	}
	for _, id := range ids[1:] {
		node, err := nodeOf(files, id)
		if err != nil {
			return 0, err
		}
		if node != first {
			return 0, fmt.Errorf("CPU %d is of node %d, CPU %d of node %d: %w", ids[0], first, id, node, InvalidNode)
		}
	}
	return first, nil
}

// A candidate is a set of CPUs for the pool, all of one node.
type candidate struct {
	node uint32
	ids  []uint32
}

// candidates are the sets of count CPUs that could be the pool, one for each node
// that has one, in the order of nodes: whole cores, the first ones of the node,
// and not the core of CPU 0.
func candidates(cpus []cpu, count int) ([]candidate, error) {
	threads := 1
	nodes := make(map[uint32][]cpu)
	for _, c := range cpus {
		threads = max(threads, len(c.siblings))
		nodes[c.node] = append(nodes[c.node], c)
	}
	switch {
	case count > len(cpus):
		return nil, fmt.Errorf("cpu_count is %d, the instance has %d CPUs", count, len(cpus))
	case count%threads != 0:
		return nil, fmt.Errorf("cpu_count is %d, which is not a multiple of %d, the threads per core", count, threads)
	}
	var found []candidate
	for _, node := range slices.Sorted(maps.Keys(nodes)) {
		var ids []uint32
		for _, c := range nodes[node] {
			whole := len(c.siblings) == threads && !slices.Contains(c.siblings, 0)
			if whole && !slices.Contains(ids, c.id) && len(ids) < count {
				ids = append(ids, c.siblings...)
			}
		}
		if len(ids) == count {
			found = append(found, candidate{node, ids})
		}
	}
	if found == nil {
		return nil, fmt.Errorf("no NUMA node has whole cores with %d CPUs, besides the core of CPU 0", count)
	}
	return found, nil
}
