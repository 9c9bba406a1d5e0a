// Package pci models one PCI Express function as its driver sees it: a type 0
// configuration header, capabilities, base address registers, interrupts, resets
// and the right to reach memory. A device author fills in a [Config] and
// implements a [Handler] per BAR; a transport such as devices/vfiouser carries
// the [Function] to the machine that uses it.
//
// # Goroutines
//
// A transport makes one call at a time (configuration, BARs, Reset), and handlers
// and hooks run inside such calls, never with a lock of the Function held.
// [Function.Interrupt], [Function.SetINTx], [Function.BusMaster] and the memory of
// [Function.DMA] are for any goroutine at any time.
//
// Section numbers are those of the PCI Express Base Specification, revision 6.
package pci
