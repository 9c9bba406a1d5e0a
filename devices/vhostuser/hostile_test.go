package vhostuser_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/nitrolab/nitrolab/devices/guestmem"
	"github.com/nitrolab/nitrolab/devices/vhostuser"
)

// TestRefused sends requests that are well-formed messages and wrong. With
// need_reply the answer says no and the connection goes on; without, the
// connection ends.
func TestRefused(t *testing.T) {
	unsealed, err := unix.MemfdCreate("vhostuser-test-unsealed", unix.MFD_CLOEXEC)
	if err == nil {
		err = unix.Ftruncate(unsealed, ramSize)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(unsealed) })
	event := newEvent(t).fd
	mem := newRAM(t, ramSize)
	t.Cleanup(func() { _ = unix.Close(mem) })

	many := make([]region, 9)
	for i := range many {
		many[i] = region{uint64(i) << 20, 4096, uint64(i) << 20, 0}
	}
	fds := func(fd, n int) (l []int) {
		for range n {
			l = append(l, fd)
		}
		return l
	}
	tests := []struct {
		name    string
		request uint32
		payload []byte
		fds     []int
		want    error
	}{
		{"request 0", 0, nil, nil, vhostuser.ErrUnsupported},
		{"unknown request", 99, make([]byte, 100), nil, vhostuser.ErrUnsupported},
		{"largest request", 0xffffffff, nil, nil, vhostuser.ErrUnsupported},
		{"unknown request with descriptors", 99, nil, fds(event, 3), vhostuser.ErrUnsupported},
		{"RESET_DEVICE", resetDevice, nil, nil, vhostuser.ErrUnsupported},
		{"short features", setFeatures, make([]byte, 7), nil, vhostuser.ErrSize},
		{"long features", setFeatures, make([]byte, 9), nil, vhostuser.ErrSize},
		{"owner with payload", setOwner, []byte{1}, nil, vhostuser.ErrSize},
		{"feature not offered", setFeatures, u64(1 << 26), nil, vhostuser.ErrFeatures},
		{"protocol feature not offered", setProtocolFeatures, u64(protoAck | 1<<16), nil, vhostuser.ErrFeatures},
		{"CONFIG without a configuration", setProtocolFeatures, u64(protoAck | protoConfig), nil, vhostuser.ErrFeatures},
		{"features changed under a ring", setFeatures, u64(featLegacy), nil, vhostuser.ErrRunning},
		{"descriptor with SET_OWNER", setOwner, nil, fds(event, 1), vhostuser.ErrDescriptors},
		{"queue 2 size", setVringNum, state(2, 8), nil, vhostuser.ErrQueueIndex},
		{"queue 2 base", setVringBase, state(2, 8), nil, vhostuser.ErrQueueIndex},
		{"last queue address", setVringAddr, append(state(0xffffffff, 0), make([]byte, 32)...), nil, vhostuser.ErrQueueIndex},
		{"queue 2 enable", setVringEnable, state(2, 1), nil, vhostuser.ErrQueueIndex},
		{"queue 255 kick", setVringKick, u64(255), fds(event, 1), vhostuser.ErrQueueIndex},
		{"queue 256 call", setVringCall, u64(1 << 9), fds(event, 1), vhostuser.ErrValue},
		{"queue and high bits", setVringErr, u64(1 << 40), fds(event, 1), vhostuser.ErrValue},
		{"size of a running queue", setVringNum, state(0, 16), nil, vhostuser.ErrRunning},
		{"base of a running queue", setVringBase, state(0, 16), nil, vhostuser.ErrRunning},
		{"base beyond 16 bits", setVringBase, state(1, 65536), nil, vhostuser.ErrValue},
		{"enable 2", setVringEnable, state(0, 2), nil, vhostuser.ErrValue},
		{"kick without descriptor", setVringKick, u64(0), nil, vhostuser.ErrDescriptors},
		{"kick with two descriptors", setVringKick, u64(0), fds(event, 2), vhostuser.ErrDescriptors},
		{"kick by polling", setVringKick, u64(noFD), nil, vhostuser.ErrUnsupported},
		{"kick by polling and a descriptor", setVringKick, u64(noFD), fds(event, 1), vhostuser.ErrDescriptors},
		{"kick is a file", setVringKick, u64(0), fds(mem, 1), vhostuser.ErrDescriptors},
		{"call without descriptor", setVringCall, u64(0), nil, vhostuser.ErrDescriptors},
		{"configuration write", setConfig, make([]byte, 20), nil, vhostuser.ErrUnsupported},
		{"memory table without regions", setMemTable, table(), nil, vhostuser.ErrMemory},
		{"memory table without descriptor", setMemTable, wholeRAM(), nil, vhostuser.ErrDescriptors},
		{"memory table with spare descriptor", setMemTable, wholeRAM(), fds(mem, 2), vhostuser.ErrDescriptors},
		{"memory table shorter than it says", setMemTable, append(state(2, 0), wholeRAM()[8:]...), fds(mem, 2), vhostuser.ErrSize},
		{"memory table says 2^32-1", setMemTable, append(state(0xffffffff, 0), wholeRAM()[8:]...), fds(mem, 1), vhostuser.ErrSize},
		{"nine regions", setMemTable, table(many...), fds(mem, 8), vhostuser.ErrSize},
		{"region larger than its file", setMemTable, table(region{0, ramSize, 0, 4096}), fds(mem, 1), guestmem.ErrFileSize},
		{"region wraps around", setMemTable, table(region{^uint64(0), 4096, 0, 0}), fds(mem, 1), guestmem.ErrRange},
		{"file that may shrink", setMemTable, wholeRAM(), fds(unsealed, 1), guestmem.ErrUnsealed},
		{"memory is an eventfd", setMemTable, wholeRAM(), fds(event, 1), vhostuser.ErrMemory},
		{"regions overlap", setMemTable, table(region{0, 8192, 0, 0}, region{4096, 4096, 1 << 20, 0}), fds(mem, 2), vhostuser.ErrMemory},
	}
	for _, tt := range tests {
		t.Run(tt.name+"/need_reply", func(t *testing.T) {
			checkLeaks(t)
			f := connect(t, newEcho(t, 2), nil)
			q := f.running(2, 8, featAll)[0]
			f.ask(getVringBase, state(1, 0)) // queue 0 runs, queue 1 does not
			if got := f.acked(tt.request, tt.payload, tt.fds...); got == 0 {
				t.Error("acknowledged as done")
			}
			if got := q.exchange("alive"); got != "ALIVE" {
				t.Errorf("answer %q", got)
			}
			if !strings.Contains(f.logs.String(), tt.want.Error()) {
				t.Errorf("log does not say %q", tt.want)
			}
		})
		t.Run(tt.name+"/no reply", func(t *testing.T) {
			checkLeaks(t)
			f := connect(t, newEcho(t, 2), nil)
			f.running(2, 8, featAll)
			f.ask(getVringBase, state(1, 0))
			f.send(tt.request, tt.payload, tt.fds...)
			if tt.request == setConfig {
				f.sync() // ignored
				return
			}
			err := f.result()
			var pe *vhostuser.ProtocolError
			if !errors.As(err, &pe) || !errors.Is(err, tt.want) {
				t.Errorf("Serve = %v, want a ProtocolError of %q", err, tt.want)
			}
		})
	}
}

// TestNoReplyBeforeNegotiation: need_reply means nothing without REPLY_ACK.
func TestNoReplyBeforeNegotiation(t *testing.T) {
	checkLeaks(t)
	f := connect(t, newEcho(t, 1), nil)
	f.write(raw(setOwner, 1|needReply, nil))
	f.sync() // fails if SET_OWNER was answered
	f.send(setProtocolFeatures, u64(protoAck))
	if got := f.acked(setOwner, nil); got != 0 {
		t.Errorf("SET_OWNER: %d", got)
	}
	// A request with an answer of its own gets only that.
	f.write(raw(getFeatures, 1|needReply, nil))
	f.answer(getFeatures)
	f.sync()
}

// TestFraming breaks the stream of messages itself, after which there is
// nothing to answer.
func TestFraming(t *testing.T) {
	good := raw(setFeatures, 1, u64(featAll))
	event := newEvent(t).fd
	nine := make([]int, 9)
	hundred := make([]int, 100)
	for i := range hundred {
		hundred[i] = event
	}
	copy(nine, hundred)
	tests := []struct {
		name  string
		bytes []byte
		fds   []int
		close bool
		want  error
	}{
		{"version 0", raw(setFeatures, 0, u64(0)), nil, false, vhostuser.ErrHeader},
		{"version 2", raw(setFeatures, 2, u64(0)), nil, false, vhostuser.ErrHeader},
		{"version 3", raw(setFeatures, 3, u64(0)), nil, false, vhostuser.ErrHeader},
		{"a reply", raw(setFeatures, 1|4, u64(0)), nil, false, vhostuser.ErrHeader},
		{"payload too large", raw(setFeatures, 1, make([]byte, 513)), nil, false, vhostuser.ErrSize},
		{"payload of 4 GiB", append(state(setFeatures, 1), 0xff, 0xff, 0xff, 0xff), nil, false, vhostuser.ErrSize},
		{"ends in the header", good[:1], nil, true, vhostuser.ErrTruncated},
		{"ends before the size", good[:8], nil, true, vhostuser.ErrTruncated},
		{"ends before the payload", good[:12], nil, true, vhostuser.ErrTruncated},
		{"ends in the payload", good[:19], nil, true, vhostuser.ErrTruncated},
		{"ends in the payload, with descriptors", good[:19], nine[:8], true, vhostuser.ErrTruncated},
		{"nine descriptors", good, nine, false, vhostuser.ErrDescriptors},
		{"a hundred descriptors", good, hundred, false, vhostuser.ErrDescriptors},
	}
	for _, tt := range tests {
		for _, flags := range []uint32{0, needReply} {
			t.Run(fmt.Sprintf("%s, flags %#x", tt.name, flags), func(t *testing.T) {
				checkLeaks(t)
				f := connect(t, newEcho(t, 1), nil)
				f.send(setProtocolFeatures, u64(protoAck))
				f.sync()
				b := append([]byte{}, tt.bytes...)
				if len(b) > 4 {
					b[4] |= byte(flags)
				}
				f.write(b, tt.fds...)
				if tt.close {
					_ = f.conn.Close()
				}
				err := f.result()
				var pe *vhostuser.ProtocolError
				if !errors.As(err, &pe) || !errors.Is(err, tt.want) {
					t.Errorf("Serve = %v, want a ProtocolError of %q", err, tt.want)
				}
			})
		}
	}
}

// TestFragments sends a whole conversation byte by byte.
func TestFragments(t *testing.T) {
	checkLeaks(t)
	f := connect(t, newEcho(t, 1), nil)
	for _, b := range raw(setFeatures, 1, u64(featAll)) {
		f.write([]byte{b})
	}
	for i, b := range raw(setMemTable, 1, wholeRAM()) {
		if i == 0 {
			f.write([]byte{b}, f.mem)
			continue
		}
		f.write([]byte{b})
	}
	q := f.newQueue(0, 8, featAll)
	q.setUp(0)
	q.enable(1)
	if got := q.exchange("bytes"); got != "BYTES" {
		t.Errorf("answer %q", got)
	}
}

func TestConfigRange(t *testing.T) {
	checkLeaks(t)
	dev := newEcho(t, 1)
	dev.config = []byte{1, 2, 3, 4, 5, 6, 7, 8}
	f := connect(t, dev, nil)
	tests := []struct {
		offset, size uint32
		want         []byte // nil: error
	}{
		{0, 8, dev.config},
		{2, 3, []byte{3, 4, 5}},
		{8, 0, []byte{}},
		{0, 9, nil},
		{8, 1, nil},
		{9, 0, nil},
		{0xffffffff, 0xffffffff, nil},
		{0, 0xffffffff, nil},
	}
	for _, tt := range tests {
		head := append(state(tt.offset, tt.size), 0, 0, 0, 0)
		got := f.ask(getConfig, head)
		var want []byte
		if tt.want != nil {
			want = append(head, tt.want...)
		}
		if string(got) != string(want) {
			t.Errorf("offset %d size %d: % x, want % x", tt.offset, tt.size, got, want)
		}
	}
}

// TestUnsealedIfAllowed is QEMU's memory-backend-file.
func TestUnsealedIfAllowed(t *testing.T) {
	checkLeaks(t)
	fd, err := unix.MemfdCreate("vhostuser-test-unsealed", unix.MFD_CLOEXEC)
	if err == nil {
		err = unix.Ftruncate(fd, ramSize)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	f := connect(t, newEcho(t, 1), &vhostuser.Config{AllowUnsealedMemory: true})
	f.send(setProtocolFeatures, u64(protoAck))
	if got := f.acked(setMemTable, wholeRAM(), fd); got != 0 {
		t.Errorf("SET_MEM_TABLE: %d", got)
	}
}
