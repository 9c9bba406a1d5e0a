// Package allocator sets CPUs and memory of a parent instance aside for
// enclaves, as AWS's nitro-enclaves-allocator does from its file allocator.yaml:
// it takes whole cores off-line by the driver's parameter ne_cpus, and reserves
// huge pages on their NUMA node.
//
// A run begins by giving the CPUs of an earlier one back. One that fails leaves
// all CPUs on-line, and as many huge pages as there were.
package allocator
