// Package enclaves is a client of the Linux driver nitro_enclaves, for programs
// inside a parent instance: the ioctls of /dev/nitro_enclaves, the huge pages an
// enclave is made of, and the wait for its end.
//
// Starting an enclave is a sequence (uapi/linux/nitro_enclaves.h):
//
//	device.CreateVM          a slot, and a descriptor that stands for it
//	Allocate                 huge pages
//	vm.ImageLoadInfo         where in them the image goes
//	memory.WriteImage
//	memory.Donate            the pages are the enclave's from here on
//	vm.AddVCPU               once per CPU, whole cores
//	vm.Start
//	vm.Wait                  until the enclave ends
//	vm.Close                 ends it if it runs, and gives CPUs and memory back
//
// The driver binds a slot to the address space that created it: all steps must
// come from one process. The enclave lives as long as the descriptor is open.
//
// [Linux] is the kernel; package enclavestest has one that needs neither driver
// nor huge pages.
package enclaves
