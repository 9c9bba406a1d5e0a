// Package pcitest plays the machine around a pci.Function in tests: a driver's
// accesses, the interrupt controller and memory behind an IOMMU, without QEMU.
package pcitest
