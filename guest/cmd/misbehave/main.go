// Command misbehave does on purpose what an enclave must not do, so that tests
// can see what becomes of it. It is the application of an image or, with init
// left out, PID 1 itself; then it reads its arguments from /cmd and nothing else
// has happened before: no module is loaded and no heartbeat was sent.
package main

import (
	"fmt"
	"os"
	"runtime"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/nitrolab/nitrolab/guest/boot"
)

func main() {
	args := os.Args[1:]
	if os.Getpid() == 1 {
		raw, err := os.ReadFile("/cmd")
		if err != nil {
			fatal(err)
		}
		command, err := boot.ParseCommand(raw)
		if err != nil {
			fatal(err)
		}
		args = command[1:]
	}
	act, err := parse(args)
	if err != nil {
		fatal(err)
	}
	fatal(act())
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, "misbehave:", err)
	os.Exit(2)
}

// crash makes the kernel panic. As PID 1 there may be no /proc to ask it
// through, but then the end of this process does it.
func crash() error {
	if os.Getpid() == 1 {
		os.Exit(1)
	}
	return os.WriteFile("/proc/sysrq-trigger", []byte("c"), 0)
}

// reset resets the machine without a word to the init process.
func reset() error { return unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART) }

// halt stops all CPUs with interrupts off: nothing in the guest answers any
// more, and the virtual machine sees no event.
func halt() error { return unix.Reboot(unix.LINUX_REBOOT_CMD_HALT) }

// sleep does nothing for ever. As PID 1 it is an enclave that never starts.
func sleep() error {
	for {
		if err := unix.Pause(); err != unix.EINTR {
			return err
		}
	}
}

// spin keeps all CPUs busy for ever.
func spin() error {
	var sum atomic.Uint64
	for range runtime.NumCPU() {
		go func() {
			for {
				sum.Add(1)
			}
		}()
	}
	return sleep()
}
