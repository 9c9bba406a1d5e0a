// Package bundle makes a bootable enclave image out of an application: a static
// binary, a directory, a container image or files in memory, together with a
// kernel and its modules, a command line and the bootstrap that runs it. It is
// what Docker and linuxkit do for nitro-cli, without either.
//
// The image has the layout of nitro-cli's. Ramdisk 0 is the bootstrap: /init,
// /dev, kernel modules. Ramdisk 1 is the application: its root filesystem below
// /rootfs, and the files /cmd and /env with one argument or variable per line.
// The init of the bootstrap makes /rootfs its root and runs the command there.
// PCR1 therefore covers the kernel, the command line and the bootstrap, PCR2
// the application.
//
// Equal inputs give equal bytes on any machine, in any directory, at any time.
package bundle
