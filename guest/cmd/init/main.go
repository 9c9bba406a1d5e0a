// Command init is PID 1 of the bootstrap ramdisk of an enclave image. What it
// does is in package boot.
package main

import (
	"os"

	"github.com/nitrolab/nitrolab/guest/boot"
)

func main() {
	if os.Getpid() != 1 {
		os.Stderr.WriteString("init: must be PID 1 of an enclave\n")
		os.Exit(2)
	}
	if err := boot.Run(); err != nil {
		// The write goes to the console even if standard error is closed: the
		// kernel opened it for PID 1, or run.go reopened it.
		os.Stderr.WriteString("init: " + err.Error() + "\n")
		os.Exit(1)
	}
}
