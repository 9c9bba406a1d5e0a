package instance

import (
	"context"
	"fmt"
	"time"

	"github.com/nitrolab/nitrolab/guest/instance/control"
)

// deviceTick is how often devices are looked at without an event: a driver may
// finish its work after the kernel has told everybody.
const deviceTick = 100 * time.Millisecond

// Devices implements [control.Handler].
func (a *Agent) Devices(ctx context.Context, want []string) ([]control.Device, error) {
	// Before the first look, or what comes in between is not seen.
	events, stop, err := a.mach.Events()
	if err != nil {
		return nil, fmt.Errorf("watch devices: %w", err)
	}
	defer stop()
	tick := time.NewTicker(a.tick)
	defer tick.Stop()
	for {
		list, err := a.mach.PCI()
		if err != nil {
			return nil, fmt.Errorf("list devices: %w", err)
		}
		missing := missingOf(want, list, a.mach.HasVsock)
		if len(missing) == 0 {
			return list, nil
		}
		select {
		case <-events:
		case <-tick.C:
		case <-ctx.Done():
			return nil, &control.Error{Code: control.Missing, Message: "devices are not there, or have no driver", Missing: missing}
		}
	}
}

// missingOf is those entries of want that list does not satisfy. Two equal entries
// want two devices; a device with a driver also counts as present, once.
func missingOf(want []string, list []control.Device, hasVsock func() bool) []string {
	var missing []string
	used := make([]bool, len(list))
	take := func(id string, bound bool) bool {
		for i, d := range list {
			if !used[i] && d.ID == id && (!bound || d.Driver != "") {
				used[i] = true
				return true
			}
		}
		return false
	}
	// Those that want a driver first: the others take what is left.
	for _, first := range []bool{true, false} {
		for _, w := range want {
			if w == control.Vsock {
				if first && !hasVsock() {
					missing = append(missing, w)
				}
				continue
			}
			if id, bound, _ := control.ParsePCI(w); bound == first && !take(id, bound) {
				missing = append(missing, w)
			}
		}
	}
	return missing
}
