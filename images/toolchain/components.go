package toolchain

import (
	"context"
	"fmt"
	"strings"

	"github.com/nitrolab/nitrolab/images/toolchain/debian"
)

// A component is a part as it is made from Debian packages.
type component struct {
	part    Part
	resolve func(ctx context.Context, a *debian.Archive, c suiteChoice) ([]debian.Package, error)
	keep    func(path string) bool
	// finish makes what the packages do not hold, checks that the part is of
	// use, and gives its version. root is the folder that was unpacked into.
	finish func(ctx context.Context, root string) (version string, err error)
}

// components are all of them, in the order in which they are fetched.
var components = []component{
	{PartQEMU, resolveQEMU, keepQEMU, finishQEMU},
	{PartKernel, resolveKernel, keepKernel, finishKernel},
	{PartBusybox, resolveBusybox, keepBusybox, finishBusybox},
}

// Debian's names of what is wanted.
const (
	qemuPackage    = "qemu-system-x86"
	kernelPackage  = "linux-image-cloud-amd64" // depends on the kernel of the day
	busyboxPackage = "busybox-static"
)

// kernelPrefixes are the packages that a kernel consists of: the image, and
// since 6.16 its modules apart.
var kernelPrefixes = []string{"linux-image-", "linux-modules-"}

// resolveQEMU takes QEMU with all that it depends on. The archive's version is
// looked at first, since fetching 38 MB to find the devices missing is no use;
// what the program says counts in the end.
func resolveQEMU(ctx context.Context, a *debian.Archive, c suiteChoice) ([]debian.Package, error) {
	suite := c.qemu
	if suite == "" {
		suite = c.base
	}
	versions, err := a.Versions(ctx, qemuPackage)
	if err != nil {
		return nil, err
	}
	v, ok := versions[suite]
	if !ok {
		return nil, fmt.Errorf("package %s in %s: %w", qemuPackage, suite, debian.ErrNotThere)
	}
	if got, ok := parseVersion(v); !ok || got.less(minQEMU) {
		return nil, fmt.Errorf("package %s in %s is %s, needed is %s: %w", qemuPackage, suite, v, minQEMU, debian.ErrNotThere)
	}
	return a.Closure(ctx, suite, qemuPackage)
}

func resolveKernel(ctx context.Context, a *debian.Archive, c suiteChoice) ([]debian.Package, error) {
	return a.Follow(ctx, c.base, kernelPackage, kernelPrefixes...)
}

func resolveBusybox(ctx context.Context, a *debian.Archive, c suiteChoice) ([]debian.Package, error) {
	p, err := a.Alone(ctx, c.base, busyboxPackage)
	return []debian.Package{p}, err
}

// keepQEMU leaves out what only an installed system has a use for: a third of
// the bytes and two thirds of the files, each of which would be looked at on
// every start.
func keepQEMU(path string) bool {
	switch top, rest, _ := strings.Cut(path, "/"); top {
	case "lib", "lib64":
		return true
	case "usr":
		for _, want := range []string{"lib/", "lib64/", "bin/qemu-system-x86_64", "share/qemu/", "share/seabios/"} {
			if strings.HasPrefix(rest, want) {
				return true
			}
		}
	}
	return false
}

func keepKernel(path string) bool {
	path = strings.TrimPrefix(path, "usr/")
	return strings.HasPrefix(path, "boot/vmlinuz-") || strings.HasPrefix(path, "boot/config-") ||
		strings.HasPrefix(path, "lib/modules/")
}

func keepBusybox(path string) bool { return strings.HasSuffix(path, "bin/busybox") }
