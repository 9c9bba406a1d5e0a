package guestmem

import "fmt"

// An AddressSpace says how an address counts.
type AddressSpace string

// The two ways in which vhost-user names memory, and that of a device behind an
// IOMMU.
const (
	GuestPhysical AddressSpace = "guest-physical"
	FrontEnd      AddressSpace = "front-end"
	Bus           AddressSpace = "bus"
)

// An AddressError reports a range that is not mapped, or not wholly.
type AddressError struct {
	Space AddressSpace
	Addr  uint64
	Len   int   // bytes
	Err   error // ErrPermission or ErrNoMemory of a [Window]; nil: not mapped
}

func (e *AddressError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%s address %#x+%#x: %v", e.Space, e.Addr, e.Len, e.Err)
	}
	return fmt.Sprintf("%s address %#x+%#x: not mapped", e.Space, e.Addr, e.Len)
}

func (e *AddressError) Unwrap() error { return e.Err }

// An OverlapError reports two regions of a table that share addresses.
type OverlapError struct {
	Space AddressSpace
	Addr  uint64 // where the second begins
}

func (e *OverlapError) Error() string {
	return fmt.Sprintf("%s address %#x: two regions overlap", e.Space, e.Addr)
}

// A RegionError reports a region that cannot be mapped.
type RegionError struct {
	Index int // position in the list given to Map
	GPA   uint64
	Size  uint64
	Err   error
}

func (e *RegionError) Error() string {
	return fmt.Sprintf("memory region %d at %#x+%#x: %v", e.Index, e.GPA, e.Size, e.Err)
}

func (e *RegionError) Unwrap() error { return e.Err }
