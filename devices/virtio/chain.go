package virtio

// A Chain is one buffer that the driver made available: a gather list the
// device reads and a scatter list it fills. The memory is the guest's and may
// change at any time; copy what decisions depend on (CopyOut) before looking.
// Segments may be empty.
//
// The zero value is ready for [Queue.Pop], which reuses the lists.
type Chain struct {
	Head uint16   // names the chain for Push
	Out  [][]byte // device-readable segments, in order
	In   [][]byte // device-writable segments, in order
}

// OutLen is the number of device-readable bytes.
func (c *Chain) OutLen() int { return total(c.Out) }

// InLen is the number of device-writable bytes.
func (c *Chain) InLen() int { return total(c.In) }

// CopyOut gathers the device-readable bytes into dst and returns how many were
// copied, the smaller of len(dst) and OutLen.
func (c *Chain) CopyOut(dst []byte) int {
	n := 0
	for _, s := range c.Out {
		if n == len(dst) {
			break
		}
		n += copy(dst[n:], s)
	}
	return n
}

// CopyIn scatters src over the device-writable bytes and returns how many were
// copied, the smaller of len(src) and InLen.
func (c *Chain) CopyIn(src []byte) int {
	n := 0
	for _, s := range c.In {
		if n == len(src) {
			break
		}
		n += copy(s, src[n:])
	}
	return n
}

// reset empties the lists, keeps their capacity and drops references to guest
// memory.
func (c *Chain) reset() {
	clear(c.Out)
	clear(c.In)
	c.Head, c.Out, c.In = 0, c.Out[:0], c.In[:0]
}

func total(segments [][]byte) int {
	n := 0
	for _, s := range segments {
		n += len(s)
	}
	return n
}
