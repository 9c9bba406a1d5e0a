// Package toolchain finds what an emulated host is started from: a QEMU with the
// devices that nitrolab needs, a Linux kernel with its modules, and a static
// busybox for the debug shell. No root, nothing installed.
//
// Each is looked for where the caller or the environment says, QEMU then on the
// machine itself, and else as Debian packages in a private cache, which are
// fetched by the machine's own apt if they are not there yet
// (images/toolchain/debian). [Find] does all of that; with a filled cache it
// reads a few files and takes milliseconds, and never uses the network.
//
// The cache repairs itself. Every file in it is recorded with size, times and
// SHA-256; [Find] compares the first two each time, [Verify] all. What is
// missing or changed is unpacked again from the packages, which are kept for that
// and are themselves checked and fetched again if need be.
package toolchain

import (
	"fmt"
	"os"
	"path/filepath"
)

// Environment variables that stand in for options that are not given.
const (
	EnvQEMU          = "NITROLAB_QEMU"
	EnvKernel        = "NITROLAB_KERNEL"
	EnvKernelModules = "NITROLAB_KERNEL_MODULES"
	EnvBusybox       = "NITROLAB_BUSYBOX"
	EnvCache         = "NITROLAB_CACHE"
	EnvMirror        = "NITROLAB_DEBIAN_MIRROR"
	EnvKeyring       = "NITROLAB_DEBIAN_KEYRING"
)

// A Part is a part of the tool chain, or several of them.
type Part uint8

// The parts. An enclave image brings its own kernel, so running one takes
// PartQEMU only.
const (
	PartQEMU Part = 1 << iota
	PartKernel
	PartBusybox

	AllParts = PartQEMU | PartKernel | PartBusybox
)

// String names a single part.
func (p Part) String() string {
	switch p {
	case PartQEMU:
		return "qemu"
	case PartKernel:
		return "kernel"
	case PartBusybox:
		return "busybox"
	}
	return "tool chain"
}

// Options says where to look. The zero value is right for most callers: empty
// fields are filled from the environment, and what is empty then too is found.
type Options struct {
	// Parts is what is wanted; zero means all.
	Parts Part

	QEMU          string // program, or its name on the search path; NITROLAB_QEMU
	Kernel        string // bzImage or ELF for x86-64; NITROLAB_KERNEL
	KernelModules string // lib/modules/RELEASE of Kernel; NITROLAB_KERNEL_MODULES
	Busybox       string // static busybox for x86-64; NITROLAB_BUSYBOX

	// CacheDir is the folder of everything that nitrolab keeps; the tool chain
	// takes the folder "toolchain" in it. NITROLAB_CACHE, else "nitrolab" in the
	// user's cache folder.
	CacheDir string

	// Mirror is the URI of a mirror of Debian's main archive, any kind that apt
	// knows. NITROLAB_DEBIAN_MIRROR, else those of the machine's own apt sources.
	Mirror string
	// Keyring is the file with Debian's archive keys. NITROLAB_DEBIAN_KEYRING,
	// else that of the machine's debian-archive-keyring package.
	Keyring string

	// Progress is told what goes on; nil means nobody is.
	Progress Progress

	suites []suiteChoice               // in place of the table, for tests
	free   func(string) (int64, error) // bytes free where a folder is, for tests
}

// withDefaults fills empty fields from the environment and the machine.
func (o Options) withDefaults() (Options, error) {
	for _, f := range []struct {
		field *string
		env   string
	}{
		{&o.QEMU, EnvQEMU},
		{&o.Kernel, EnvKernel},
		{&o.KernelModules, EnvKernelModules},
		{&o.Busybox, EnvBusybox},
		{&o.CacheDir, EnvCache},
		{&o.Mirror, EnvMirror},
		{&o.Keyring, EnvKeyring},
	} {
		if *f.field == "" {
			*f.field = os.Getenv(f.env)
		}
	}
	if o.Parts == 0 {
		o.Parts = AllParts
	}
	if o.CacheDir == "" {
		dir, err := CacheDir()
		if err != nil {
			return o, &UnavailableError{Parts: o.Parts, Reason: err.Error(), Err: err}
		}
		o.CacheDir = dir
	}
	abs, err := filepath.Abs(o.CacheDir)
	if err != nil {
		return o, &UnavailableError{Parts: o.Parts, Reason: fmt.Sprintf("no folder for the cache: %v", err), Err: err, Hint: "set " + EnvCache}
	}
	o.CacheDir = abs
	if o.Progress == nil {
		o.Progress = silent{}
	}
	if o.suites == nil {
		o.suites = suites
	}
	if o.free == nil {
		o.free = freeBytes
	}
	return o, nil
}
