package instance

import (
	"context"
	"fmt"
)

// Quiesce implements [control.Handler]. What follows is a snapshot, which holds every
// page that is not zero: the fewer there are, the sooner it is restored. Caches are
// given up and what is left is moved together, which makes room for large pages in
// each clone: enclaves want them.
func (a *Agent) Quiesce(context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.end()
	if err := a.mach.Remove(stateFile); err != nil {
		return fmt.Errorf("remove %s: %w", stateFile, err)
	}
	a.mach.Sync()
	a.mach.FreeMemory()
	for _, s := range []struct{ path, value string }{
		{"/proc/sys/vm/drop_caches", "3"},
		{"/proc/sys/vm/compact_memory", "1"},
	} {
		if err := a.mach.Set(s.path, s.value); err != nil {
			return fmt.Errorf("write %s: %w", s.path, err)
		}
	}
	return nil
}
