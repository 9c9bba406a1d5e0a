package nsm

import (
	"crypto/sha512"
	"fmt"

	"github.com/nitrolab/nitrolab/devices/nsm/wire"
)

// A Bank is the module's 32 platform configuration registers. The zero value
// has every PCR zero and none locked. It is not safe for concurrent use; a copy
// is a snapshot.
//
// Errors wrap [wire.InvalidIndex] or [wire.ReadOnlyIndex].
type Bank struct {
	pcrs   [wire.NumPCRs]wire.PCR
	locked uint32 // bit i: PCR i is read-only
}

// Describe is the value of PCR i and whether it is locked.
func (b *Bank) Describe(i uint16) (value wire.PCR, locked bool, err error) {
	if i >= wire.NumPCRs {
		return wire.PCR{}, false, fmt.Errorf("describe PCR %d: %w", i, wire.InvalidIndex)
	}
	return b.pcrs[i], b.locked&(1<<i) != 0, nil
}

// Extend replaces PCR i by SHA384(PCR ‖ data) and returns the new value. Data
// is hashed as it is; no data changes the PCR too.
func (b *Bank) Extend(i uint16, data []byte) (wire.PCR, error) {
	if err := b.writable(i); err != nil {
		return wire.PCR{}, fmt.Errorf("extend PCR %d: %w", i, err)
	}
	b.pcrs[i] = extend(b.pcrs[i], data)
	return b.pcrs[i], nil
}

// Lock makes PCR i read-only for the life of the bank. To lock it again is an
// error.
func (b *Bank) Lock(i uint16) error {
	if err := b.writable(i); err != nil {
		return fmt.Errorf("lock PCR %d: %w", i, err)
	}
	b.locked |= 1 << i
	return nil
}

// LockRange makes the PCRs 0 to n-1 read-only; n is 0 to 32. Those that are
// locked already stay so, and that is no error.
func (b *Bank) LockRange(n uint16) error {
	if n > wire.NumPCRs {
		return fmt.Errorf("lock %d PCRs: %w", n, wire.InvalidIndex)
	}
	b.locked |= uint32(1<<n - 1)
	return nil
}

// Locked is a copy of the locked PCRs by index, which is what a document is
// about.
func (b *Bank) Locked() map[uint16]wire.PCR {
	m := make(map[uint16]wire.PCR, wire.NumPCRs)
	for _, i := range b.LockedIndexes() {
		m[i] = b.pcrs[i]
	}
	return m
}

// LockedIndexes are the indexes of the locked PCRs, ascending.
func (b *Bank) LockedIndexes() []uint16 {
	indexes := make([]uint16, 0, wire.NumPCRs)
	for i := range uint16(wire.NumPCRs) {
		if b.locked&(1<<i) != 0 {
			indexes = append(indexes, i)
		}
	}
	return indexes
}

// writable is nil if PCR i exists and is not locked.
func (b *Bank) writable(i uint16) error {
	if i >= wire.NumPCRs {
		return wire.InvalidIndex
	}
	if b.locked&(1<<i) != 0 {
		return wire.ReadOnlyIndex
	}
	return nil
}

// extend is SHA384(old ‖ data).
func extend(old wire.PCR, data []byte) (value wire.PCR) {
	h := sha512.New384()
	h.Write(old[:]) // a hash never fails
	h.Write(data)
	h.Sum(value[:0])
	return value
}
