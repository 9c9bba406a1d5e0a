package vfiouser_test

import (
	"encoding/binary"
	"fmt"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	vt "github.com/nitrolab/nitrolab/devices/vfiouser/vfiousertest"
)

// TestKernelBarrier is what the server relies on: a read of a unix stream socket ends
// with the first part of a message that has descriptors, if it comes to that, but may
// begin with messages before it. So the descriptors of a read belong to the message
// that holds its last byte.
func TestKernelBarrier(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	event := vt.NewEvent(t)
	send := func(text string, n int) {
		t.Helper()
		var oob []byte
		for range n {
			oob = unix.UnixRights(event.FD)
		}
		if err := unix.Sendmsg(pair[0], []byte(text), oob, nil, 0); err != nil {
			t.Fatal(err)
		}
	}
	send("aaaa", 0)
	send("bbbb", 0)
	send("CCCC", 1)
	send("dddd", 0)
	send("EEEE", 1)
	send("FFFF", 1)
	send("gggg", 0)
	read := func(size int) string {
		t.Helper()
		b, oob := make([]byte, size), make([]byte, 64)
		n, oobn, _, _, err := unix.Recvmsg(pair[1], b, oob, unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
		if err != nil {
			t.Fatal(err)
		}
		msgs, err := unix.ParseSocketControlMessage(oob[:oobn])
		if err != nil {
			t.Fatal(err)
		}
		fds := 0
		for i := range msgs {
			got, err := unix.ParseUnixRights(&msgs[i])
			if err != nil {
				t.Fatal(err)
			}
			for _, fd := range got {
				_ = unix.Close(fd)
				fds++
			}
		}
		return fmt.Sprintf("%s %d", b[:n], fds)
	}
	for _, tt := range []struct {
		size int
		want string
	}{{100, "aaaabbbbCCCC 1"}, {6, "ddddEE 1"}, {100, "EEFFFF 1"}, {100, "gggg 0"}} {
		if got := read(tt.size); got != tt.want {
			t.Errorf("read of %d: %q, want %q", tt.size, got, tt.want)
		}
	}
}

// TestDescriptorsStayWithTheirMessage, however many messages without any arrive with
// them, and wherever the server's buffer ends.
func TestDescriptorsStayWithTheirMessage(t *testing.T) {
	checkLeaks(t)
	d := newDevice(t, nil)
	c := vt.Attach(t, d.f, nil)
	ram := vt.NewRAM(t, ramSize)
	fds := held(t).FDs
	iova := uint64(0)
	for _, posted := range []int{0, 1, 3, 100, 150, 200} {
		for skew := range 40 {
			for range posted {
				c.Post(0, regScratch, make([]byte, 4))
			}
			if skew > 0 {
				c.Post(2, 0, make([]byte, skew))
			}
			with := c.Send(vt.DMAMap, 0, vt.Mapping(iova, 0x1000, 0, 3), ram.FD)
			without := c.Send(vt.DMAMap, 0, vt.Mapping(iova+0x1000, 0x1000, 0, 3))
			again := c.Send(vt.DMAMap, 0, vt.Mapping(iova+0x2000, 0x1000, 0, 3), ram.FD)
			for _, id := range []uint16{with, without, again} {
				if m := c.Reply(id, vt.DMAMap); m.Flags&vt.FlagError != 0 {
					t.Fatalf("%d posted, skew %d: errno %d", posted, skew, m.Errno)
				}
			}
			if !mapped(d, iova) || mapped(d, iova+0x1000) || !mapped(d, iova+0x2000) {
				t.Fatalf("%d posted, skew %d: memory %t, %t, %t, want that of the first and third", posted, skew,
					mapped(d, iova), mapped(d, iova+0x1000), mapped(d, iova+0x2000))
			}
			iova += 0x10000
		}
	}
	if got := held(t).FDs; got != fds {
		t.Errorf("%d descriptors, had %d", got, fds)
	}
}

// TestFullBuffer: more than the server reads at once, so that messages are cut at
// every place, also those with descriptors.
func TestFullBuffer(t *testing.T) {
	checkLeaks(t)
	d := newDevice(t, nil)
	c := vt.Attach(t, d.f, nil)
	ram := vt.NewRAM(t, ramSize)
	for i := range uint64(64) {
		// 64 KiB and a little in one sendmsg and then a message with a descriptor.
		c.Post(2, 0, make([]byte, 64<<10-96+int(i)))
		id := c.Send(vt.DMAMap, 0, vt.Mapping(i<<16, 0x1000, 0, 3), ram.FD)
		c.Post(2, 0, make([]byte, 1000))
		if m := c.Reply(id, vt.DMAMap); m.Errno != 0 || !mapped(d, i<<16) {
			t.Fatalf("%d: errno %d, mapped %t", i, m.Errno, mapped(d, i<<16))
		}
	}
	c.Sync()
}

// TestPieces: messages that arrive in pieces, with the descriptors on any of them.
func TestPieces(t *testing.T) {
	checkLeaks(t)
	ram := vt.NewRAM(t, ramSize)
	message := append(vt.Header(7, vt.DMAMap, 32, 0), vt.Mapping(0x10000, 0x1000, 0, 3)...)
	for cut := 1; cut < len(message); cut++ {
		d := newDevice(t, nil)
		c := vt.Attach(t, d.f, nil)
		fdFirst := cut%2 == 0
		if fdFirst {
			c.Raw(message[:cut], ram.FD)
			c.Raw(message[cut:])
		} else {
			c.Raw(message[:cut])
			c.Raw(message[cut:], ram.FD)
		}
		if m := c.Reply(7, vt.DMAMap); m.Errno != 0 || !mapped(d, 0x10000) {
			t.Errorf("cut at %d: errno %d, mapped %t", cut, m.Errno, mapped(d, 0x10000))
		}
		c.Close()
		if err := c.Result(); err != nil {
			t.Error(err)
		}
	}
	t.Run("byte by byte", func(t *testing.T) {
		d := newDevice(t, nil)
		c := vt.Attach(t, d.f, nil)
		for i := range message {
			if i == 20 {
				c.Raw(message[i:i+1], ram.FD)
			} else {
				c.Raw(message[i : i+1])
			}
		}
		if m := c.Reply(7, vt.DMAMap); m.Errno != 0 || !mapped(d, 0x10000) {
			t.Errorf("errno %d", m.Errno)
		}
	})
	t.Run("a descriptor for every byte", func(t *testing.T) {
		c := vt.Attach(t, newDevice(t, nil).f, nil)
		before := held(t)
		for i := range message {
			c.Raw(message[i:i+1], ram.FD)
		}
		if m := c.Reply(7, vt.DMAMap); m.Errno != uint32(unix.EINVAL) {
			t.Errorf("errno %d, want EINVAL", m.Errno)
		}
		if after := held(t); after != before {
			t.Errorf("left behind: %+v before, %+v after", before, after)
		}
	})
	t.Run("many in one", func(t *testing.T) {
		d := newDevice(t, nil)
		c := vt.Attach(t, d.f, nil)
		var all []byte
		for id := range uint16(2000) {
			all = append(append(all, vt.Header(id, vt.RegionRead, 16, 0)...), vt.Access(vt.ConfigSpace, uint64(id%64), 4)...)
		}
		var sender sync.WaitGroup
		defer sender.Wait()
		sender.Go(func() { c.Raw(all) })
		for id := range uint16(2000) {
			if m := c.Reply(id, vt.RegionRead); m.Errno != 0 || binary.LittleEndian.Uint64(m.Payload) != uint64(id%64) {
				t.Fatalf("reply %+v", m)
			}
		}
	})
}
