package vfiouser_test

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nitrolab/nitrolab/devices/internal/leaktest"
	"github.com/nitrolab/nitrolab/devices/pci"
	"github.com/nitrolab/nitrolab/devices/vfiouser"
	vt "github.com/nitrolab/nitrolab/devices/vfiouser/vfiousertest"
)

// piece is one sendmsg of FuzzServe: which descriptors, how many bytes, the bytes.
func piece(fds byte, b []byte) []byte { return append([]byte{fds, byte(len(b))}, b...) }

// seedStream is a conversation with everything in it.
func seedStream(change func(command uint16, payload []byte)) (stream []byte) {
	add := func(fds byte, command uint16, flags uint32, payload []byte) {
		if change != nil {
			change(command, payload)
		}
		stream = append(stream, piece(fds, append(vt.Header(1, command, len(payload), flags), payload...))...)
	}
	region := vt.U64(vt.U32(nil, 32, 0, 0, 0), 0, 0)
	add(0, vt.Version, 0, append([]byte{0, 0, 0, 0}, `{"capabilities":{"write_multiple":true}}`+"\x00"...))
	add(1, vt.DMAMap, 0, vt.Mapping(0, 0x8000, 0x1000, 3))
	add(0, vt.DMAMap, 0, vt.Mapping(0xfffc0000, 0x1000, 0, 1))
	add(0, vt.GetInfo, 0, vt.U32(nil, 16, 0, 0, 0))
	add(0, vt.GetRegionInfo, 0, region)
	add(0, vt.GetRegionFDs, 0, vt.U32(nil, 16, 0, 0, 0))
	add(0, vt.GetIRQInfo, 0, vt.U32(nil, 16, 0, 2, 0))
	add(2, vt.SetIRQs, 0, vt.IRQs(assign, vt.INTx, 0, 1))
	add(2, vt.SetIRQs, 0, vt.IRQs(vt.DataEventFD|vt.ActionUnmask, vt.INTx, 0, 1))
	add(4, vt.SetIRQs, 0, vt.IRQs(assign, vt.MSIX, 0, 2))
	add(0, vt.SetIRQs, 0, append(vt.IRQs(vt.DataBool|vt.ActionTrigger, vt.MSIX, 0, 2), 1, 0))
	add(0, vt.SetIRQs, 0, vt.IRQs(vt.DataNone|vt.ActionMask, vt.INTx, 0, 1))
	add(0, vt.SetIRQs, 0, vt.IRQs(trigger, vt.MSIX, 0, 0))
	add(0, vt.RegionRead, 0, vt.Access(vt.ConfigSpace, 0, 4096))
	add(0, vt.RegionWrite, 0, append(vt.Access(vt.ConfigSpace, 4, 2), 6, 0))
	add(0, vt.RegionWrite, vt.FlagNoReply, append(vt.Access(0, regRaise, 4), 1, 0, 0, 0))
	add(0, vt.RegionWriteMulti, vt.FlagNoReply, append(append(vt.U64(nil, 1), vt.Access(0, 0, 4)...), make([]byte, 8)...))
	add(0, vt.DMARead, vt.FlagReply, vt.U64(nil, 0, 8, 0))
	add(0, vt.DeviceFeature, 0, vt.U32(nil, 16, 1<<16, 0, 0))
	add(0, vt.DMAUnmap, 0, vt.U64(vt.U32(nil, 24, 0), 0x1000, 0x1000))
	add(0, vt.DeviceReset, 0, nil)
	add(0, vt.DMAUnmap, 0, vt.U64(vt.U32(nil, 24, 2), 0, 0))
	return stream
}

// FuzzServe feeds a stream of bytes to Serve, cut into pieces of which each may bring
// descriptors. Serve must end with the stream, by nil or a ProtocolError, leave
// nothing behind and the function usable.
func FuzzServe(f *testing.F) {
	f.Add(seedStream(nil))
	for _, at := range []int{0, 4, 8, 12, 16, 19} {
		f.Add(seedStream(func(_ uint16, p []byte) {
			if at < len(p) {
				p[at] ^= 0xff
			}
		}))
	}
	hello := piece(0, append(vt.Header(1, vt.Version, 4, 0), 0, 0, 0, 0))
	f.Add(append(hello, piece(32, vt.Header(1, 99, 0, 0))...))
	f.Add(append(hello, piece(0, vt.Header(1, vt.RegionWrite, 1<<20, 0))...))
	f.Add(piece(3, []byte{1, 0, 0}))

	ram := vt.NewRAM(f, 1<<16)
	leaktest.WarmUp(f)
	f.Fuzz(func(t *testing.T, stream []byte) {
		before := held(t)
		d := newDevice(t, nil)
		ours, theirs := vt.Socketpair(t)
		done := make(chan error, 1)
		go func() {
			done <- vfiouser.Serve(t.Context(), theirs, d.f, &vfiouser.Config{Messages: new(vfiouser.Messages)})
		}()
		drained := make(chan struct{})
		go func() { defer close(drained); _, _ = io.Copy(io.Discard, ours) }()
		play(t, ours, ram.FD, stream)
		_ = ours.CloseWrite()
		select {
		case err := <-done:
			var pe *vfiouser.ProtocolError
			if err != nil && !errors.As(err, &pe) {
				t.Errorf("Serve = %v", err)
			}
		case <-time.After(vt.Wait):
			panic("Serve does not return")
		}
		<-drained
		_ = ours.Close()
		if err := d.f.Attach(nilBus{}); err != nil {
			t.Errorf("function is not free: %v", err)
		}
		d.f.Detach()
		if err := d.f.WriteConfig(4, []byte{byte(pci.CommandMemory), 0}); err != nil {
			t.Error(err)
		}
		if after := held(t); after != before {
			t.Errorf("left behind: %+v before, %+v after", before, after)
		}
	})
}

// play writes the pieces of a stream, until the peer has gone.
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
		for range which >> 1 & 31 {
			fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
			fds = append(fds, fd)
		}
		var oob []byte
		if len(fds) > 0 {
			oob = unix.UnixRights(fds...)
		}
		if _, _, err := conn.WriteMsgUnix(b, oob, nil); err != nil {
			return
		}
	}
}
