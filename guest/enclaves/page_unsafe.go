package enclaves

import "unsafe"

// addressOf is the address of mapped memory, which the garbage collector does
// not move. It is 0 for an empty slice.
func addressOf(b []byte) uint64 { return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) }
