package enclavestest

import (
	"sync"

	"github.com/nitrolab/nitrolab/devices/enclaves"
)

// An Enclave is one of a [Hypervisor].
type Enclave struct {
	Config enclaves.LaunchConfig // as the device gave it

	h       *Hypervisor
	cid     uint32
	done    chan struct{}
	end     sync.Once
	stopped bool // guarded by h.mu
}

// CID implements enclaves.Enclave.
func (e *Enclave) CID() uint32 { return e.cid }

// Done implements enclaves.Enclave.
func (e *Enclave) Done() <-chan struct{} { return e.done }

// Crash ends the enclave without the device's doing.
func (e *Enclave) Crash() { e.end.Do(func() { close(e.done) }) }

// Stop implements enclaves.Enclave.
func (e *Enclave) Stop() error {
	e.h.mu.Lock()
	hook := e.h.onStop
	e.h.mu.Unlock()
	if hook != nil {
		if err := hook(e); err != nil {
			return err
		}
	}
	e.h.mu.Lock()
	if e.stopped {
		e.h.problem("the enclave in slot %#x was stopped twice", e.Config.SlotUID)
	}
	e.stopped = true
	e.h.mu.Unlock()
	e.Crash()
	return nil
}

// Stopped reports whether Stop succeeded.
func (e *Enclave) Stopped() bool {
	e.h.mu.Lock()
	defer e.h.mu.Unlock()
	return e.stopped
}

// used reports whether the enclave still uses memory and CPUs. Locked.
func (e *Enclave) used() bool { return !e.stopped }

// ended reports whether Done is closed.
func (e *Enclave) ended() bool {
	select {
	case <-e.done:
		return true
	default:
		return false
	}
}
