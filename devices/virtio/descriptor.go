package virtio

import (
	"encoding/binary"
	"fmt"
)

// A descriptor is struct virtq_desc, virtio 1.2 section 2.7.5, in a private
// copy.
type descriptor struct {
	addr  uint64
	len   uint32
	flags uint16
	next  uint16
}

// Descriptor size in bytes and flags.
const (
	descSize = 16

	descNext     = 1
	descWrite    = 2
	descIndirect = 4
)

// fetch copies descriptor i of a table out of guest memory, once.
func fetch(table []byte, i uint16) descriptor {
	var raw [descSize]byte
	copy(raw[:], table[descSize*int(i):])
	return descriptor{
		addr:  binary.LittleEndian.Uint64(raw[0:]),
		len:   binary.LittleEndian.Uint32(raw[8:]),
		flags: binary.LittleEndian.Uint16(raw[12:]),
		next:  binary.LittleEndian.Uint16(raw[14:]),
	}
}

// take walks the chain that begins at head into c and marks it as held.
func (q *Queue) take(c *Chain, head uint16) error {
	if head >= q.size {
		return ErrHead
	}
	if !q.hold(head) {
		return ErrInFlight
	}
	if err := q.walk(c, head); err != nil {
		_ = q.release(head) // held since a moment ago
		return err
	}
	c.Head = head
	return nil
}

// walk collects the segments of a chain. A chain is zero or more direct
// descriptors, the last of which may name an indirect table
// (virtio 1.2, 2.7.5.3.2).
func (q *Queue) walk(c *Chain, head uint16) error {
	table, entries, at := q.cfg.Desc, int(q.size), head
	direct := true
	for left := min(entries, MaxSegments); ; {
		if left == 0 {
			return ErrChainLong
		}
		left--
		d := fetch(table, at)
		if d.flags&descIndirect != 0 {
			if err := q.checkIndirect(d, direct); err != nil {
				return err
			}
			t, err := q.cfg.Memory.Slice(d.addr, int(d.len))
			if err != nil {
				return fmt.Errorf("%w: indirect table: %w", ErrAddress, err)
			}
			table, entries, at, direct = t, int(d.len)/descSize, 0, false
			left = min(entries, MaxSegments)
			continue
		}
		if err := q.segment(c, d); err != nil {
			return err
		}
		if d.flags&descNext == 0 {
			return nil
		}
		if int(d.next) >= entries {
			return ErrNext
		}
		at = d.next
	}
}

// checkIndirect checks a descriptor that names a table (virtio 1.2,
// 2.7.5.3.1). Its write flag is to be ignored.
func (q *Queue) checkIndirect(d descriptor, direct bool) error {
	switch {
	case !q.indirect:
		return fmt.Errorf("%w: not negotiated", ErrIndirect)
	case !direct:
		return fmt.Errorf("%w: inside an indirect table", ErrIndirect)
	case d.flags&descNext != 0:
		return fmt.Errorf("%w: with a next descriptor", ErrIndirect)
	case d.len == 0 || d.len%descSize != 0:
		return fmt.Errorf("%w: table of %d bytes", ErrIndirect, d.len)
	}
	return nil
}

// nothing is the segment of a descriptor of length zero. Linux's NSM driver
// makes one of an ioctl with an empty request, which any process of the guest
// may send: refusing it would let that process take the device from the rest.
// Its address means nothing.
var nothing = []byte{}

// segment adds the buffer of one descriptor to c.
func (q *Queue) segment(c *Chain, d descriptor) (err error) {
	list := &c.Out
	if d.flags&descWrite != 0 {
		list = &c.In
	} else if len(c.In) != 0 {
		return ErrOrder
	}
	if d.len == 0 {
		*list = append(*list, nothing)
	} else if *list, err = q.cfg.Memory.Append(*list, d.addr, int(d.len)); err != nil {
		return fmt.Errorf("%w: %w", ErrAddress, err)
	}
	if len(c.Out)+len(c.In) > MaxSegments {
		return ErrChainLong
	}
	return nil
}
