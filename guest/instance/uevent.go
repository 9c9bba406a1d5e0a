package instance

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// kernelGroup is the multicast group of the kernel's own events
// (lib/kobject_uevent.c).
const kernelGroup = 1

// Events listens to the kernel's events about devices. What they say does not
// matter; they are a reason to look.
func (realMachine) Events() (<-chan struct{}, func(), error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return nil, nil, err
	}
	f := os.NewFile(uintptr(fd), "uevent")
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: kernelGroup}); err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	events, stopped := make(chan struct{}, 1), make(chan struct{})
	go func() {
		defer close(stopped)
		buf := make([]byte, 8<<10) // a message has 2 KiB at most
		for {
			// ENOBUFS is that there were more than the socket holds.
			if _, err := f.Read(buf); err != nil && !errors.Is(err, unix.ENOBUFS) {
				return
			}
			select {
			case events <- struct{}{}:
			default:
			}
		}
	}()
	return events, func() {
		f.Close()
		<-stopped
	}, nil
}
