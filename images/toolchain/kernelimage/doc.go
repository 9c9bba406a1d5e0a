// Package kernelimage reads Linux kernel images as a boot loader meets them: it
// tells what an image is and how it will look for its devices, and takes the
// uncompressed kernel out of a bzImage.
//
// Images come from enclave image files, which anybody may have written, so every
// number in them is checked before use: a reader takes bounded memory
// ([MaxPayload] and [MaxVmlinux]) and bounded time whatever the image says, and
// never panics.
//
// Sources: Documentation/arch/x86/boot.rst (setup header, protocol 2.08 and
// later), arch/x86/boot/compressed (payload and the size appended to it),
// include/xen/interface/elfnote.h (PVH entry), Documentation/arch/arm64/booting.rst,
// the xz file format 1.2.1.
package kernelimage

import "errors"

// Limits on what a reader takes from an image.
const (
	// MaxPayload is the most compressed bytes that are read from a bzImage.
	// Debian's 6.12 cloud kernel has 11 MB, a kernel with everything built in 40.
	MaxPayload = 128 << 20

	// MaxVmlinux is the most bytes that an uncompressed kernel may have, whatever
	// its form. Debian's 6.12 cloud kernel has 58 MB.
	MaxVmlinux = 256 << 20

	// maxConfig bounds a kernel configuration; Debian's has 133 kB.
	maxConfig = 4 << 20
)

// Errors that callers tell apart.
var (
	// ErrFormat says that the image is no Linux kernel of a known form, or that
	// what it says of itself does not hold together.
	ErrFormat = errors.New("not a usable Linux kernel image")

	// ErrCompression says that the payload is compressed in a way that is not
	// read here (LZO). Such a kernel boots all the same: it unpacks itself.
	ErrCompression = errors.New("payload compression not supported")

	// ErrTooBig says that the image or what it unpacks to is over the limits.
	ErrTooBig = errors.New("kernel image too big")
)
