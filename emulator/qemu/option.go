package qemu

import "strings"

// headless is a machine without screen, default devices and reboot: when the
// guest resets, QEMU ends. Every guest of ours is; Start sees to it.
type headless struct{}

func (headless) Args() []string {
	return []string{"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"}
}

func (headless) KernelArgs() []string { return nil }

// Extra is arguments that no other value makes.
type Extra struct {
	QEMU   []string
	Kernel []string
}

func (e Extra) Args() []string       { return e.QEMU }
func (e Extra) KernelArgs() []string { return e.Kernel }

// escape writes a value inside QEMU's comma-separated options, where a comma is
// doubled.
func escape(s string) string { return strings.ReplaceAll(s, ",", ",,") }

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}
