package virtiotest

import (
	"encoding/binary"

	"github.com/nitrolab/nitrolab/devices/guestmem"
	"github.com/nitrolab/nitrolab/devices/virtio"
)

// Used is one element of the used ring.
type Used struct {
	Head uint16
	Len  uint32   // bytes written, as the device says
	In   [][]byte // the device-writable buffers, cut to Len bytes in all
}

// Used returns what the device returned since the last call, oldest first, and
// with EVENT_IDX asks for an interrupt at the next element. The contents are
// copies. It fails the test if the device returned a chain it does not own.
func (d *Driver) Used() []Used {
	d.t.Helper()
	var all []Used
	idx := uint16(guestmem.LoadAcquire(d.rings.Used, 0) >> 16)
	for ; d.seen != idx; d.seen++ {
		at := 4 + 8*(int(d.seen)&(d.size-1))
		head := binary.LittleEndian.Uint32(d.rings.Used[at:])
		c := d.chains[uint16(head)]
		if head >= uint32(d.size) || c == nil {
			d.t.Fatalf("virtiotest: device returned chain %d, which it does not hold", head)
		}
		u := Used{Head: uint16(head), Len: binary.LittleEndian.Uint32(d.rings.Used[at+4:])}
		left := int(u.Len)
		for _, b := range c.in {
			n := min(left, len(b))
			u.In = append(u.In, append([]byte{}, b[:n]...))
			left -= n
		}
		if left > 0 {
			d.t.Fatalf("virtiotest: device claims to have written %d bytes more than chain %d has", left, head)
		}
		d.release(uint16(head), c)
		all = append(all, u)
	}
	if d.features&virtio.FeatureEventIdx != 0 {
		d.SetUsedEvent(d.seen)
	}
	return all
}

// SetUsedEvent asks for an interrupt once used.idx passes event; for EVENT_IDX
// only.
func (d *Driver) SetUsedEvent(event uint16) {
	guestmem.Store16(d.rings.Avail, 4+2*d.size, event)
	d.storeAvail() // release: the event is in place before the next look at used.idx
}

// Flags of a descriptor, virtio 1.2 section 2.7.5.
const (
	descSize     = 16
	descNext     = 1
	descWrite    = 2
	descIndirect = 4
)

// A desc is struct virtq_desc before its next field is known.
type desc struct {
	addr  uint64
	len   uint32
	flags uint16
}

// put writes the descriptor to slot i of a table.
func (x desc) put(table []byte, i, next int, last bool) {
	if !last {
		x.flags |= descNext
	}
	b := table[descSize*i : descSize*(i+1)]
	binary.LittleEndian.PutUint64(b[0:], x.addr)
	binary.LittleEndian.PutUint32(b[8:], x.len)
	binary.LittleEndian.PutUint16(b[12:], x.flags)
	binary.LittleEndian.PutUint16(b[14:], uint16(next))
}
