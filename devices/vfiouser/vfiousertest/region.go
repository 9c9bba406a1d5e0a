package vfiousertest

import (
	"encoding/binary"
	"syscall"
)

// Read fills p from a region, by one REGION_READ of any length. The result is the
// errno of the server; p is as it was then.
func (c *Client) Read(region uint32, off uint64, p []byte) syscall.Errno {
	c.t.Helper()
	c.head(RegionRead, 0, region, off, len(p), 0)
	m := c.reply(RegionRead)
	if m.Flags&FlagError != 0 {
		return syscall.Errno(m.Errno)
	}
	if len(m.Payload) != 16+len(p) || binary.LittleEndian.Uint64(m.Payload) != off ||
		binary.LittleEndian.Uint32(m.Payload[8:]) != region || binary.LittleEndian.Uint32(m.Payload[12:]) != uint32(len(p)) {
		c.t.Fatalf("vfiousertest: reply to a read of %d bytes at %d:%#x: %x", len(p), region, off, m.Payload)
	}
	copy(p, m.Payload[16:])
	return 0
}

// Write writes p to a region and waits for the reply.
func (c *Client) Write(region uint32, off uint64, p []byte) syscall.Errno {
	c.t.Helper()
	c.head(RegionWrite, 0, region, off, len(p), len(p))
	c.out = append(c.out, p...)
	m := c.reply(RegionWrite)
	if m.Flags&FlagError != 0 {
		return syscall.Errno(m.Errno)
	}
	if len(m.Payload) != 16 || binary.LittleEndian.Uint64(m.Payload) != off {
		c.t.Fatalf("vfiousertest: reply to a write of %d bytes at %d:%#x: %x", len(p), region, off, m.Payload)
	}
	return 0
}

// Post writes p to a region without a reply, as QEMU does with registers.
func (c *Client) Post(region uint32, off uint64, p []byte) {
	c.t.Helper()
	c.head(RegionWrite, FlagNoReply, region, off, len(p), len(p))
	c.out = append(c.out, p...)
	c.flush()
}

// A PostedWrite is one of those of a REGION_WRITE_MULTI.
type PostedWrite struct {
	Region uint32
	Off    uint64
	Data   []byte // up to 8 bytes
}

// PostMulti writes all of them by one message without a reply.
func (c *Client) PostMulti(writes []PostedWrite) {
	c.t.Helper()
	c.id++
	c.out = append(c.out[:0], Header(c.id, RegionWriteMulti, 8+24*len(writes), FlagNoReply)...)
	c.out = U64(c.out, uint64(len(writes)))
	for _, w := range writes {
		c.out = U32(U64(c.out, w.Off), w.Region, uint32(len(w.Data)))
		c.out = append(append(c.out, w.Data...), make([]byte, 8-len(w.Data))...)
	}
	c.flush()
}

// ReadBAR reads a register of n bytes, up to 8, which must be possible.
func (c *Client) ReadBAR(bar int, off uint64, n int) uint64 {
	c.t.Helper()
	var p [8]byte
	if errno := c.Read(uint32(bar), off, p[:n]); errno != 0 {
		c.t.Fatalf("vfiousertest: read of %d bytes at BAR %d:%#x: %v", n, bar, off, errno)
	}
	return binary.LittleEndian.Uint64(p[:])
}

// WriteBAR writes a register of n bytes, posted.
func (c *Client) WriteBAR(bar int, off uint64, n int, v uint64) {
	c.t.Helper()
	var p [8]byte
	binary.LittleEndian.PutUint64(p[:], v)
	c.Post(uint32(bar), off, p[:n])
}

// Config reads n bytes of configuration space, up to 4.
func (c *Client) Config(off, n int) uint32 {
	c.t.Helper()
	var p [4]byte
	if errno := c.Read(ConfigSpace, uint64(off), p[:n]); errno != 0 {
		c.t.Fatalf("vfiousertest: configuration read of %d bytes at %#x: %v", n, off, errno)
	}
	return binary.LittleEndian.Uint32(p[:])
}

// SetConfig writes n bytes of configuration space, up to 4, and waits like QEMU.
func (c *Client) SetConfig(off, n int, v uint32) {
	c.t.Helper()
	var p [4]byte
	binary.LittleEndian.PutUint32(p[:], v)
	if errno := c.Write(ConfigSpace, uint64(off), p[:n]); errno != 0 {
		c.t.Fatalf("vfiousertest: configuration write of %d bytes at %#x: %v", n, off, errno)
	}
}

// Reset is DEVICE_RESET.
func (c *Client) Reset() {
	c.t.Helper()
	c.Do(DeviceReset, nil)
}

// Sync waits until the server has carried out all that was sent.
func (c *Client) Sync() {
	c.t.Helper()
	c.Config(0, 2)
}

// head begins a region message in out; data bytes follow.
func (c *Client) head(command uint16, flags uint32, region uint32, off uint64, count, data int) {
	c.id++
	c.out = binary.LittleEndian.AppendUint16(c.out[:0], c.id)
	c.out = binary.LittleEndian.AppendUint16(c.out, command)
	c.out = U32(c.out, uint32(headerSize+16+data), flags, 0)
	c.out = U32(U64(c.out, off), region, uint32(count))
}

// flush sends out.
func (c *Client) flush() {
	c.t.Helper()
	c.Raw(c.out)
}

// reply sends out and waits for the reply.
func (c *Client) reply(command uint16) Message {
	c.t.Helper()
	c.flush()
	return c.Reply(c.id, command)
}
