// Package instance is what runs first in a parent instance: PID 1, and the agent
// that an emulated Host talks to. Both are one program, guest/cmd/instance.
//
// [Init] is PID 1. The initramfs is the root file system and stays it. It mounts
// what programs expect, loads the drivers of /modules, and then starts the agent
// again whenever it ends, and reaps orphans. It does nothing else, because its end
// would be the kernel's.
//
// [Agent] serves two virtio-serial ports: the control protocol (package control) on
// one, SSH streams (package mux) on the other. SSH is on vsock port ports.Agent as
// well, for the Host alone: there CID 2 is the Host and all others are enclaves.
//
// # Snapshots
//
// An instance is usually a clone: the machine was booted once, told to quiesce,
// and saved; each instance is restored from that. So nothing that must be secret
// or different may be made before the Host's resume has brought randomness, time
// and identity. The SSH server, with its host key, starts then and not before.
// What Go's own runtime has drawn before (seeds of maps and of math/rand) is the
// same in all clones and protects nothing; crypto/rand asks the kernel each time,
// and its state in the vDSO is thrown away when the kernel's is reseeded.
package instance
