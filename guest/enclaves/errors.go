package enclaves

import (
	"fmt"
	"syscall"
)

// An Errno is an error number of the driver's own, NE_ERR_* in
// uapi/linux/nitro_enclaves.h. They begin behind those of the kernel, so that
// no C library has a text for them.
type Errno uint16

// The error numbers. What the device behind the driver refuses is a
// [syscall.Errno] instead.
const (
	ErrVCPUAlreadyUsed        Errno = 256 // another slot or this one has the vCPU
	ErrVCPUNotInCPUPool       Errno = 257
	ErrVCPUInvalidCPUCore     Errno = 258
	ErrInvalidMemRegionSize   Errno = 259 // zero or no multiple of 2 MiB
	ErrInvalidMemRegionAddr   Errno = 260
	ErrUnalignedMemRegionAddr Errno = 261
	ErrMemRegionAlreadyUsed   Errno = 262
	ErrMemNotHugePage         Errno = 263
	ErrMemDifferentNUMANode   Errno = 264
	ErrMemMaxRegions          Errno = 265
	ErrNoMemRegionsAdded      Errno = 266
	ErrNoVCPUsAdded           Errno = 267
	ErrEnclaveMemMinSize      Errno = 268 // below MinMemory
	ErrFullCoresNotUsed       Errno = 269
	ErrNotInInitState         Errno = 270 // started already, or ended
	ErrInvalidVCPU            Errno = 271
	ErrNoCPUsAvailInPool      Errno = 272
	ErrInvalidPageSize        Errno = 273
	ErrInvalidFlagValue       Errno = 274
	ErrInvalidEnclaveCID      Errno = 275
)

const firstErrno, lastErrno = ErrVCPUAlreadyUsed, ErrInvalidEnclaveCID

// errnos has the header's name and a sentence for each number, from firstErrno.
var errnos = [...]struct{ name, text string }{
	{"NE_ERR_VCPU_ALREADY_USED", "the vCPU is in use already"},
	{"NE_ERR_VCPU_NOT_IN_CPU_POOL", "the vCPU is not in the CPU pool"},
	{"NE_ERR_VCPU_INVALID_CPU_CORE", "the vCPU's core is not one of the CPU pool"},
	{"NE_ERR_INVALID_MEM_REGION_SIZE", "the size of the memory region is no multiple of 2 MiB"},
	{"NE_ERR_INVALID_MEM_REGION_ADDR", "the address of the memory region is invalid"},
	{"NE_ERR_UNALIGNED_MEM_REGION_ADDR", "the address of the memory region is not aligned to 2 MiB"},
	{"NE_ERR_MEM_REGION_ALREADY_USED", "the memory region is in use already"},
	{"NE_ERR_MEM_NOT_HUGE_PAGE", "the memory region is not made of huge pages"},
	{"NE_ERR_MEM_DIFFERENT_NUMA_NODE", "the memory region is of another NUMA node than the CPUs"},
	{"NE_ERR_MEM_MAX_REGIONS", "the enclave has as many memory regions as it may have"},
	{"NE_ERR_NO_MEM_REGIONS_ADDED", "the enclave has no memory"},
	{"NE_ERR_NO_VCPUS_ADDED", "the enclave has no vCPU"},
	{"NE_ERR_ENCLAVE_MEM_MIN_SIZE", "the enclave has less than 64 MiB"},
	{"NE_ERR_FULL_CORES_NOT_USED", "the vCPUs of the enclave are not whole cores"},
	{"NE_ERR_NOT_IN_INIT_STATE", "the enclave has been started already"},
	{"NE_ERR_INVALID_VCPU", "there is no such CPU"},
	{"NE_ERR_NO_CPUS_AVAIL_IN_POOL", "no CPU of the pool is free"},
	{"NE_ERR_INVALID_PAGE_SIZE", "the page size of the memory region is no multiple of 2 MiB"},
	{"NE_ERR_INVALID_FLAG_VALUE", "a flag is unknown"},
	{"NE_ERR_INVALID_ENCLAVE_CID", "the CID is a well-known one or out of range"},
}

// The table has every number.
var _ [len(errnos)]struct{} = [lastErrno - firstErrno + 1]struct{}{}

// Name is the number's name in the kernel's header, "" for none of the driver's.
func (e Errno) Name() string {
	if e < firstErrno || e > lastErrno {
		return ""
	}
	return errnos[e-firstErrno].name
}

// Error says what the driver refused.
func (e Errno) Error() string {
	if e.Name() == "" {
		return fmt.Sprintf("nitro_enclaves error %d", uint16(e))
	}
	return fmt.Sprintf("%s (%s, %d)", errnos[e-firstErrno].text, e.Name(), uint16(e))
}

// driverError is the error for what an ioctl left in errno.
func driverError(e syscall.Errno) error {
	if e >= syscall.Errno(firstErrno) && e <= syscall.Errno(lastErrno) {
		return Errno(e)
	}
	return e
}

// An OpError says which request failed. Err is an [Errno], what the driver
// refused, or a [syscall.Errno], what the kernel or the device did.
type OpError struct {
	// Op is the name of the ioctl, such as "NE_ADD_VCPU".
	Op string
	// Object is what it was about, such as "vCPU 3"; empty for the enclave.
	Object string
	Err    error
}

// Error is one line: request, object, reason.
func (e *OpError) Error() string {
	if e.Object == "" {
		return e.Op + ": " + e.Err.Error()
	}
	return e.Op + " " + e.Object + ": " + e.Err.Error()
}

// Unwrap returns Err.
func (e *OpError) Unwrap() error { return e.Err }

// An InsufficientMemoryError says that there are not enough huge pages.
type InsufficientMemoryError struct {
	Requested, Missing uint64 // bytes
}

// Error has both sizes, in MiB.
func (e *InsufficientMemoryError) Error() string {
	return fmt.Sprintf("allocate enclave memory: %d MiB of %d MiB are missing: there are not enough huge pages",
		(e.Missing+1<<20-1)>>20, e.Requested>>20)
}
