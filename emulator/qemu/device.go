package qemu

import "os"

// A Device is one feature of a machine, a value with two halves. [Build] joins
// the halves of all devices and adds nothing of its own.
type Device interface {
	// Args are QEMU's arguments, as a person could type them.
	Args() []string

	// KernelArgs are what the kernel's command line needs for it, nil for
	// nothing.
	KernelArgs() []string
}

// A Validator is a Device that can tell a mistake before QEMU does. The error
// names the field, what was found and what is allowed.
type Validator interface {
	Validate() error
}

// An Inheritor is a Device that hangs on open files, which QEMU inherits. Its
// Args are what stands for it on a command line that is typed.
type Inheritor interface {
	Device

	// Files are the files, in the order in which FileArgs expects their
	// descriptors. Start closes them.
	Files() []*os.File

	// FileArgs are QEMU's arguments, given the descriptors that the files have
	// in its process.
	FileArgs(fds []int) []string

	// Note says what is different without the files, empty if nothing is.
	Note() string
}
