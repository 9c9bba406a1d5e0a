package enclaves

import (
	"fmt"
	"slices"
)

// cpus is the parent's CPUs. CPU n belongs to core n/threads.
type cpus struct {
	owner   []*slot // of each CPU; nil if the parent has it
	threads int
}

// add gives CPU n to s. The parent needs a core for itself, so it cannot give
// away CPU 0 or its siblings; the driver refuses that too, when its pool is set.
func (c *cpus) add(n uint32, s *slot) error {
	switch {
	case uint64(n) >= uint64(len(c.owner)):
		return fmt.Errorf("CPU %d: the parent has %d: %w", n, len(c.owner), errInvalid)
	case int(n) < c.threads:
		return fmt.Errorf("CPU %d: on the core of CPU 0, which stays: %w", n, errInvalid)
	case c.owner[n] != nil:
		return fmt.Errorf("CPU %d: donated already: %w", n, errTaken)
	}
	c.owner[n] = s
	s.cpus = append(s.cpus, n)
	return nil
}

// addBulk gives any n CPUs to s, all or none: the siblings of those that s has,
// then the lowest of cores that nobody has begun.
func (c *cpus) addBulk(n uint64, s *slot) error {
	if n == 0 {
		return fmt.Errorf("no CPU asked for: %w", errInvalid)
	}
	var begun, fresh []uint32
	for i := c.threads; i < len(c.owner); i++ {
		if c.owner[i] != nil {
			continue
		}
		core := c.core(uint32(i))
		switch {
		case slices.Contains(core, s):
			begun = append(begun, uint32(i))
		case !slices.ContainsFunc(core, func(o *slot) bool { return o != nil }):
			fresh = append(fresh, uint32(i))
		}
	}
	free := append(begun, fresh...)
	if n > uint64(len(free)) {
		return fmt.Errorf("%d CPUs asked for, %d free: %w", n, len(free), errFull)
	}
	for _, i := range free[:n] {
		c.owner[i] = s
	}
	s.cpus = append(s.cpus, free[:n]...)
	return nil
}

// core is the owners of the CPUs that share a core with CPU n.
func (c *cpus) core(n uint32) []*slot {
	first := int(n) / c.threads * c.threads
	return c.owner[first:min(first+c.threads, len(c.owner))]
}

// whole reports whether s has all CPUs of each core that it has one of. Two
// parties on one core could watch each other.
func (c *cpus) whole(s *slot) bool {
	for _, n := range s.cpus {
		if slices.ContainsFunc(c.core(n), func(o *slot) bool { return o != s }) {
			return false
		}
	}
	return true
}

// release takes back all CPUs of s.
func (c *cpus) release(s *slot) {
	for _, n := range s.cpus {
		c.owner[n] = nil
	}
}
