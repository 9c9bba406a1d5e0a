// Package enclavestest has both sides of the Nitro Enclaves device for tests
// without QEMU: a [Hypervisor] whose enclaves are records, with delays, errors
// and crashes on request, and a [Driver] that does to the registers what Linux's
// nitro_enclaves driver does.
package enclavestest
