package toolchain

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A Source says where a part comes from.
type Source string

// The sources.
const (
	Explicit Source = "explicit" // the caller or the environment named it
	System   Source = "system"   // found on the search path
	Debian   Source = "debian"   // Debian packages in the cache
)

// QEMU is a program that has every device in [Devices].
type QEMU struct {
	Source  Source
	Path    string // of the program itself
	Version string // as it says, "11.1.3"

	// Argv is how it is started: the program, or for one from the cache its own
	// dynamic loader, and the arguments that it always needs. A caller appends
	// its own.
	Argv []string
	// Env is what it needs in its environment, NAME=value.
	Env []string

	missing []string
}

// Devices are what a QEMU must have: an NSM and a vsock of an enclave over
// vhost-user, PCIe devices of an instance over vfio-user and its vsock over
// vhost-user, and what they are plugged into.
var Devices = []string{
	"vhost-user-test-device", "vhost-user-vsock-device", "vhost-user-vsock-pci",
	"vfio-user-pci", "pcie-root-port", "intel-iommu", "virtserialport",
}

// Command prepares a run with the arguments. The caller may change everything
// about it but Path, the front of Args, and what [QEMU.Environ] gives.
func (q *QEMU) Command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, q.Argv[0], append(q.Argv[1:len(q.Argv):len(q.Argv)], args...)...)
	cmd.Env = q.Environ(os.Environ())
	return cmd
}

// Environ gives base as QEMU is to have it: with [QEMU.Env], and for one from
// the cache without what points a loader to the machine's own libraries, which
// its C library does not fit.
func (q *QEMU) Environ(base []string) []string {
	if q.Source != Debian {
		return append(base[:len(base):len(base)], q.Env...)
	}
	var out []string
	for _, kv := range base {
		if !strings.HasPrefix(kv, "LD_") && !strings.HasPrefix(kv, "QEMU_MODULE_DIR=") {
			out = append(out, kv)
		}
	}
	return append(out, q.Env...)
}

// Where Debian puts things on amd64. Before the merge of /usr they lay in /.
const (
	debianTriplet = "x86_64-linux-gnu"
	debianLoader  = "ld-linux-x86-64.so.2"
	debianQEMUBin = "usr/bin/qemu-system-x86_64"
)

// debianQEMU gives the QEMU in an unpacked tree. It does not run it.
//
// The loader gets its libraries from the tree alone: with the machine's cache of
// libraries a missing one would be found there, of another release.
func debianQEMU(root string) (*QEMU, error) {
	loader, err := oneOf("dynamic loader", root, "usr/lib64/"+debianLoader, "lib64/"+debianLoader,
		"usr/lib/"+debianTriplet+"/"+debianLoader, "lib/"+debianTriplet+"/"+debianLoader)
	if err != nil {
		return nil, err
	}
	bin, err := oneOf("QEMU", root, debianQEMUBin)
	if err != nil {
		return nil, err
	}
	libs := existing(root, "usr/lib/"+debianTriplet, "lib/"+debianTriplet)
	q := &QEMU{
		Source: Debian,
		Path:   bin,
		Argv:   []string{loader, "--inhibit-cache", "--library-path", strings.Join(libs, ":"), bin},
		Env:    []string{"QEMU_MODULE_DIR=" + filepath.Join(root, "usr/lib", debianTriplet, "qemu")},
	}
	if strings.Contains(root, ":") {
		return nil, fmt.Errorf("use QEMU in %s: a library path cannot have a colon in it", root)
	}
	// Firmware, in the order that Debian builds QEMU with.
	for _, d := range existing(root, "usr/share/qemu", "usr/share/seabios", "usr/lib/ipxe/qemu") {
		q.Argv = append(q.Argv, "-L", d)
	}
	return q, nil
}

// existing gives those of some paths below root that are there.
func existing(root string, paths ...string) []string {
	var out []string
	for _, p := range paths {
		name := filepath.Join(root, p)
		if _, err := os.Stat(name); err == nil {
			out = append(out, name)
		}
	}
	return out
}
