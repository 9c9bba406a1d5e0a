package vhostuser_test

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nitrolab/nitrolab/devices/internal/leaktest"
	"github.com/nitrolab/nitrolab/devices/vhostuser"
)

// FuzzServe feeds a byte stream to Serve, cut into pieces of which each may
// bring descriptors: one byte that says which, one with the length, then the
// bytes. The content of guest memory is arbitrary, too. Serve must end with
// the stream, by nil or a ProtocolError, and leave nothing behind.
func FuzzServe(f *testing.F) {
	piece := func(fds byte, b []byte) []byte { return append([]byte{fds, byte(len(b))}, b...) }
	start := func(features uint64, change func(request uint32, payload []byte)) (stream []byte) {
		add := func(fds byte, request, flags uint32, payload []byte) {
			if change != nil {
				change(request, payload)
			}
			stream = append(stream, piece(fds, raw(request, flags, payload))...)
		}
		add(0, getFeatures, 1, nil)
		add(0, setProtocolFeatures, 1, u64(protoAck|protoMQ))
		add(0, getQueueNum, 1, nil)
		add(0, setFeatures, 1|needReply, u64(features))
		add(1, setMemTable, 1|needReply, table(region{0, fuzzRAM, 0, 0}))
		add(0, setVringNum, 1, state(0, 8))
		add(0, setVringBase, 1, state(0, 0))
		addr := state(0, 0)
		for _, v := range []uint64{0, 0x100, 0x80, 0} {
			addr = append(addr, u64(v)...)
		}
		add(0, setVringAddr, 1, addr)
		add(2, setVringKick, 1, u64(0))
		add(2, setVringCall, 1, u64(0))
		add(2, setVringErr, 1, u64(0))
		add(0, setVringEnable, 1|needReply, state(0, 1))
		add(0, getConfig, 1, append(state(0, 8), 0, 0, 0, 0))
		add(1, setMemTable, 1|needReply, table(region{0, fuzzRAM, 0, 0}))
		add(0, getVringBase, 1, state(0, 0))
		return stream
	}
	// The table at 0, the available ring at 0x80, the used ring at 0x100.
	mem := make([]byte, 0x88)
	copy(mem, append(u64(0x3000), 16, 0, 0, 0, 1, 0, 2, 0)) // 16 bytes, then 2
	copy(mem[16:], append(u64(0x3000), 255, 255, 0, 0, 4))  // indirect
	copy(mem[32:], append(u64(0x3100), 8, 0, 0, 0, 2))      // writable
	copy(mem[0x80:], []byte{0, 0, 2, 0, 0, 0, 1, 0})        // heads 0 and 1
	f.Add(start(featAll, nil), mem)
	f.Add(start(featLegacy, nil), mem)
	f.Add(start(0, nil), mem)
	f.Add(start(featAll, func(r uint32, p []byte) {
		if r == setVringNum {
			p[4] = 7
		}
	}), mem)
	f.Add(start(featAll, func(r uint32, p []byte) {
		if r == setMemTable {
			p[17] = 0xff
		}
	}), mem)
	f.Add(piece(8, raw(99, 1|needReply, nil)), []byte{})
	f.Add([]byte{0, 3, 1, 0, 0}, []byte{})

	ram := newRAM(f, fuzzRAM)
	f.Cleanup(func() { _ = unix.Close(ram) })
	leaktest.WarmUp(f)
	f.Fuzz(func(t *testing.T, stream, content []byte) {
		if _, err := unix.Pwrite(ram, append(content, make([]byte, fuzzRAM)...)[:fuzzRAM], 0); err != nil {
			t.Fatal(err)
		}
		before := held(t)
		ours, theirs := socketpair(t)
		done := make(chan error, 1)
		go func() { done <- vhostuser.Serve(t.Context(), theirs, newEcho(t, 2), nil) }()
		go func() { _, _ = io.Copy(io.Discard, ours) }()
		play(t, ours, ram, stream)
		_ = ours.CloseWrite()
		select {
		case err := <-done:
			var pe *vhostuser.ProtocolError
			if err != nil && !errors.As(err, &pe) {
				t.Errorf("Serve = %v", err)
			}
		case <-time.After(wait):
			panic("Serve does not return")
		}
		_ = ours.Close()
		if after := held(t); after != before {
			t.Errorf("left behind: %+v before, %+v after", before, after)
		}
	})
}

const fuzzRAM = 64 << 10

// play writes the pieces of a stream of FuzzServe, until the peer has gone.
func play(t *testing.T, conn *net.UnixConn, ram int, stream []byte) {
	t.Helper()
	for pieces := 0; len(stream) >= 2 && pieces < 64; pieces++ {
		which, n := stream[0], min(int(stream[1]), len(stream)-2)
		b := stream[2 : 2+n]
		stream = stream[2+n:]
		if n == 0 {
			continue
		}
		var fds []int
		if which&1 != 0 {
			fds = append(fds, ram)
		}
		for range which >> 1 & 15 {
			fds = append(fds, eventfd(t))
		}
		var oob []byte
		if len(fds) > 0 {
			oob = unix.UnixRights(fds...)
		}
		_, _, err := conn.WriteMsgUnix(b, oob, nil)
		for _, fd := range fds {
			if fd != ram {
				_ = unix.Close(fd)
			}
		}
		if err != nil {
			return
		}
	}
}
