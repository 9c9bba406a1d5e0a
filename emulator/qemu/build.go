package qemu

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// A CommandLine is QEMU's arguments, without the program itself.
type CommandLine struct {
	Args  []string   // for the process
	Files []*os.File // its descriptors 3, 4, ...

	// Typed are the arguments for a person's shell, where no file is inherited,
	// and Notes says what is different then.
	Typed []string
	Notes []string
}

// firstFD is the number of the first inherited file.
const firstFD = 3

// Build joins the halves of the devices, in order, and checks what can be
// checked without QEMU: each device for itself, and that nothing which must be
// unique is there twice. Errors are the caller's mistakes and name the field.
func Build(devices ...Device) (*CommandLine, error) {
	c := new(CommandLine)
	var kernel []string
	for _, d := range devices {
		if v, ok := d.(Validator); ok {
			if err := v.Validate(); err != nil {
				return nil, fmt.Errorf("qemu: %w", err)
			}
		}
		kernel = append(kernel, d.KernelArgs()...)
		typed := d.Args()
		c.Typed = append(c.Typed, typed...)
		in, ok := d.(Inheritor)
		if !ok {
			c.Args = append(c.Args, typed...)
			continue
		}
		var fds []int
		for _, f := range in.Files() {
			fds = append(fds, firstFD+len(c.Files))
			c.Files = append(c.Files, f)
		}
		c.Args = append(c.Args, in.FileArgs(fds)...)
		if note := in.Note(); note != "" {
			c.Notes = append(c.Notes, note)
		}
	}
	if len(kernel) > 0 {
		if !slices.Contains(c.Args, "-kernel") {
			return nil, fmt.Errorf("qemu: kernel arguments %q without a Kernel", strings.Join(kernel, " "))
		}
		line := []string{"-append", strings.Join(kernel, " ")}
		c.Args = append(c.Args, line...)
		c.Typed = append(c.Typed, line...)
	}
	if err := checkUnique(c.Args); err != nil {
		return nil, fmt.Errorf("qemu: %w", err)
	}
	return c, nil
}

// closeFiles closes the inherited files of all devices.
func closeFiles(devices []Device) {
	for _, d := range devices {
		if in, ok := d.(Inheritor); ok {
			for _, f := range in.Files() {
				if f != nil {
					_ = f.Close()
				}
			}
		}
	}
}
