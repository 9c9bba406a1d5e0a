package main

import (
	"errors"
	"syscall"

	"github.com/nitrolab/nitrolab/guest/enclaves"
)

// limits is where device and driver say no.
type limits struct {
	Slots     int // that were given
	SlotErrno int // of the one that was not
	CPUErrno  int // for CPU 1, whose core is CPU 0's; the driver's own numbers begin at 256
}

// maxLimit is where findLimits gives up.
const maxLimit = 1000

// findLimits takes slots until there are no more.
func findLimits() (l limits, err error) {
	device, err := enclaves.Linux{}.OpenDevice()
	if err != nil {
		return l, err
	}
	defer device.Close()
	for l.Slots < maxLimit {
		vm, err := device.CreateVM()
		if err != nil {
			l.SlotErrno = errno(err)
			return l, nil
		}
		defer vm.Close()
		if l.Slots == 0 {
			_, err := vm.AddVCPU(1)
			l.CPUErrno = errno(err)
		}
		l.Slots++
	}
	return l, errors.New("there is no limit")
}

func errno(err error) int {
	var own enclaves.Errno
	var system syscall.Errno
	switch {
	case errors.As(err, &own):
		return int(own)
	case errors.As(err, &system):
		return int(system)
	}
	return 0
}
