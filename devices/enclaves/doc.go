// Package enclaves is the Nitro Enclaves device of a parent instance, PCI id
// 1d0f:e4c1: what the stock nitro_enclaves driver of Linux binds to in order
// to start enclaves from memory and CPUs that the parent gives away.
//
// The device owns the rules: slots and their states, which memory and CPUs are
// whose, replies and events. A [Hypervisor] starts and ends the enclaves and
// reaches the parent's RAM.
//
// # Commands
//
// A write to RegCommand executes the request at RegSend. The reply is at
// RegReceive when vector 0 is raised, once for each command. ENCLAVE_START,
// ENCLAVE_STOP and SLOT_FREE wait for the hypervisor and run on a goroutine,
// all others inside the register write. A command that comes while one of those
// three runs is refused with EBUSY at once: drivers send one at a time, and
// only one that gave up waiting sends so early.
//
// # Off
//
// Writing 0 to RegEnable, a reset of the function and [Device.Close] take
// everything down: a launch under way is cancelled, enclaves are stopped, their
// memory is scrubbed. Until that is done RegEnable reads 1, and from the write
// on there is neither a reply nor an event: Linux disables a device that it
// finds enabled when it has interrupt handlers, but not yet what they use. If
// something cannot be taken down, RegEnable stays at 1 and writing 0 to it tries
// again.
//
// Sources: drivers/virt/nitro_enclaves of Linux 6.12 (ne_pci_dev.h,
// ne_pci_dev.c, ne_misc_dev.c), and README.md for what nobody knows of real
// hardware.
//
// # Locks
//
// Device.mu protects all state. The hypervisor is called without it, except
// HasRAM. At most one goroutine executes a command, and the one that takes
// everything down waits for it; register writes meanwhile change no slot.
package enclaves
