package vfiouser

import (
	"fmt"

	"github.com/nitrolab/nitrolab/devices/internal/eventfd"
)

// A resampler waits for an eventfd by which the client says that INTx was handled
// (KVM signals it at the guest's end of interrupt). The zero value has none.
type resampler struct {
	handled func() // called on a goroutine of its own
	event   *eventfd.Listener
	done    chan struct{} // closed when the goroutine ends
}

// set replaces the descriptor and takes ownership of fd.
func (r *resampler) set(fd int) error {
	l, err := eventfd.NewListener(fd, "resample")
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDescriptors, err)
	}
	r.close()
	r.event, r.done = l, make(chan struct{})
	go func(done chan struct{}) {
		defer close(done)
		var buf [8]byte
		for l.Wait(&buf) == nil {
			r.handled()
		}
	}(r.done)
	return nil
}

// close gives up the descriptor and waits for the goroutine.
func (r *resampler) close() {
	if r.event == nil {
		return
	}
	r.event.Stop()
	<-r.done
	r.event.Close()
	r.event = nil
}
