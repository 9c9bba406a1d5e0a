package qemu

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Kernel is what the guest boots.
type Kernel struct {
	Image  string // path of a bzImage, or of an uncompressed kernel with a PVH note
	Initrd string // path, empty for none
	Append string // command line; the other devices' parts follow it
}

func (k Kernel) Args() []string {
	args := []string{"-kernel", k.Image}
	if k.Initrd != "" {
		args = append(args, "-initrd", k.Initrd)
	}
	return args
}

func (k Kernel) KernelArgs() []string {
	if k.Append == "" {
		return nil
	}
	return []string{k.Append}
}

// Validate implements [Validator].
func (k Kernel) Validate() error {
	if err := readable("Kernel.Image", k.Image); err != nil {
		return err
	}
	if k.Initrd != "" {
		if err := readable("Kernel.Initrd", k.Initrd); err != nil {
			return err
		}
	}
	if i := strings.IndexAny(k.Append, "\x00\n"); i >= 0 {
		return fmt.Errorf("Kernel.Append has the control character %q", k.Append[i])
	}
	return nil
}

func readable(field, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("%s: %w", field, err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return fmt.Errorf("%s: %w", field, err)
	}
	if !st.Mode().IsRegular() {
		return fmt.Errorf("%s: %s is no regular file", field, path)
	}
	return nil
}

// Firmware replaces the machine's own.
type Firmware struct {
	Path string // or a name that QEMU finds in its own directories
}

func (f Firmware) Args() []string     { return []string{"-bios", f.Path} }
func (Firmware) KernelArgs() []string { return nil }

// TSC tells the kernel the frequency of the time stamp counter, in kHz, so that
// it need not measure it against a timer. Under TCG that measurement is luck:
// QEMU's timer ticks late when the host is busy, and the kernel then hangs in
// calibrate_delay or falls back to 4 ms jiffies. See [HostTSCKHz].
type TSC struct{ KHz int }

func (TSC) Args() []string         { return nil }
func (t TSC) KernelArgs() []string { return []string{"tsc_early_khz=" + strconv.Itoa(t.KHz)} }

// Validate implements [Validator].
func (t TSC) Validate() error {
	if t.KHz < minTSCKHz || t.KHz > maxTSCKHz {
		return fmt.Errorf("TSC.KHz is %d, must be %d to %d", t.KHz, minTSCKHz, maxTSCKHz)
	}
	return nil
}
