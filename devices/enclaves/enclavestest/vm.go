package enclavestest

import (
	"math"
	"slices"
	"sync"
	"syscall"

	"github.com/nitrolab/nitrolab/devices/enclaves"
)

// Errors that Linux's driver gives without asking the device
// (uapi/linux/nitro_enclaves.h); user space sees them as errno.
const (
	ErrMaxRegions   syscall.Errno = 265
	ErrNoMemory     syscall.Errno = 266
	ErrNoVCPU       syscall.Errno = 267
	ErrLittleMemory syscall.Errno = 268
	ErrNotInit      syscall.Errno = 270
	ErrFlag         syscall.Errno = 274
	ErrCID          syscall.Errno = 275
)

// A VM is an enclave as Linux's driver has it, behind the file descriptor that
// NE_CREATE_VM returns.
type VM struct {
	UID uint64

	d          *Driver
	maxRegions uint64
	hangup     chan struct{}

	mu      sync.Mutex // enclave_info_mutex
	state   enclaves.State
	regions uint64
	memory  uint64
	vcpus   int
}

// CreateVM is the ioctl NE_CREATE_VM.
func (d *Driver) CreateVM() (*VM, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r, err := d.Do(enclaves.SlotAlloc, enclaves.EmptyRequest{})
	if err != nil {
		return nil, err
	}
	vm := &VM{UID: r.SlotUID, d: d, maxRegions: r.MemRegions, hangup: make(chan struct{})}
	d.vms = append(d.vms, vm)
	return vm, nil
}

// AddMemory is one ioctl NE_SET_USER_MEMORY_REGION over pages that lie in these
// physically contiguous runs.
func (vm *VM) AddMemory(runs ...enclaves.Region) error {
	vm.mu.Lock()
	defer vm.mu.Unlock()
	if vm.state != enclaves.StateInit {
		return ErrNotInit
	}
	if vm.regions+uint64(len(runs)) > vm.maxRegions {
		return ErrMaxRegions
	}
	for _, r := range runs {
		if _, err := vm.d.Do(enclaves.SlotAddMem, enclaves.AddMemRequest{SlotUID: vm.UID, Region: r}); err != nil {
			return err
		}
		vm.regions++
		vm.memory += r.Size
	}
	return nil
}

// AddVCPU is the ioctl NE_ADD_VCPU for a CPU of the pool.
func (vm *VM) AddVCPU(n uint32) error {
	vm.mu.Lock()
	defer vm.mu.Unlock()
	if vm.state != enclaves.StateInit {
		return ErrNotInit
	}
	if _, err := vm.d.Do(enclaves.SlotAddVCPU, enclaves.AddVCPURequest{SlotUID: vm.UID, VCPU: n}); err != nil {
		return err
	}
	vm.vcpus++
	return nil
}

// Start is the ioctl NE_START_ENCLAVE. It returns the CID that the device
// answered.
func (vm *VM) Start(cid, flags uint64) (uint64, error) {
	switch {
	case flags > enclaves.FlagDebug:
		return 0, ErrFlag
	case cid > 0 && cid <= 3, cid >= math.MaxUint32:
		return 0, ErrCID
	}
	vm.mu.Lock()
	defer vm.mu.Unlock()
	switch {
	case vm.state != enclaves.StateInit:
		return 0, ErrNotInit
	case vm.regions == 0:
		return 0, ErrNoMemory
	case vm.memory < 64<<20:
		return 0, ErrLittleMemory
	case vm.vcpus == 0:
		return 0, ErrNoVCPU
	}
	r, err := vm.d.Do(enclaves.EnclaveStart, enclaves.StartRequest{SlotUID: vm.UID, CID: cid, Flags: flags})
	if err != nil {
		return 0, err
	}
	vm.state = enclaves.StateRunning
	return r.CID, nil
}

// State is the state that the driver believes the enclave is in.
func (vm *VM) State() enclaves.State {
	vm.mu.Lock()
	defer vm.mu.Unlock()
	return vm.state
}

// Hangup is closed when poll(2) would give POLLHUP: an event changed the state.
func (vm *VM) Hangup() <-chan struct{} { return vm.hangup }

// Close is the close of the file descriptor, ne_enclave_release. After an error
// Linux loses the slot until the device is disabled.
func (vm *VM) Close() error {
	d := vm.d
	d.mu.Lock()
	defer d.mu.Unlock()
	vm.mu.Lock()
	defer vm.mu.Unlock()
	slot := enclaves.SlotRequest{SlotUID: vm.UID}
	if vm.state != enclaves.StateInit && vm.state != enclaves.StateStopped {
		if _, err := d.Do(enclaves.EnclaveStop, slot); err != nil {
			return err
		}
	}
	if _, err := d.Do(enclaves.SlotFree, slot); err != nil {
		return err
	}
	d.vms = slices.DeleteFunc(d.vms, func(x *VM) bool { return x == vm })
	return nil
}

// work is the work queue of ne_event_work_handler.
func (d *Driver) work() {
	defer d.worker.Done()
	for {
		select {
		case <-d.event:
			d.scan()
		case <-d.stop:
			return
		}
	}
}

// scan asks for the state of every enclave that is believed to run. Linux looks
// at the state in the reply even if the command failed, or at that of the enclave
// before if no reply came.
func (d *Driver) scan() {
	d.mu.Lock()
	defer d.mu.Unlock()
	var r enclaves.Reply
	for _, vm := range d.vms {
		vm.mu.Lock()
		if vm.state == enclaves.StateRunning {
			if got, err := d.Do(enclaves.SlotInfo, enclaves.SlotRequest{SlotUID: vm.UID}); err == nil || got.RC < 0 {
				r = got
			}
			if vm.state != r.State {
				vm.state = r.State
				close(vm.hangup)
			}
		}
		vm.mu.Unlock()
	}
}
