package vhostuser

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/nitrolab/nitrolab/devices/internal/eventfd"
)

// stateOf decodes a vring state: index and a number.
func (s *session) stateOf(m *message) (r *ring, num uint32, err error) {
	r, err = s.ring(binary.LittleEndian.Uint32(m.payload))
	return r, binary.LittleEndian.Uint32(m.payload[4:]), err
}

// setVringNum: the number comes from the guest, so that a bad one is a matter
// of the ring.
func (s *session) setVringNum(m *message) ([]byte, error) {
	r, num, err := s.stateOf(m)
	if err != nil {
		return nil, err
	}
	if r.run != nil && num != r.num {
		return nil, fmt.Errorf("%w: queue %d, size %d to %d", ErrRunning, r.index, r.num, num)
	}
	r.num = num
	return nil, nil
}

// setVringAddr moves the ring, also while it runs. Its flag asks for logging,
// which is not offered; the log address is not looked at.
func (s *session) setVringAddr(m *message) ([]byte, error) {
	r, err := s.ring(binary.LittleEndian.Uint32(m.payload))
	if err != nil {
		return nil, err
	}
	s.halt(r)
	r.addr = ringAddr{
		desc:  binary.LittleEndian.Uint64(m.payload[8:]),
		used:  binary.LittleEndian.Uint64(m.payload[16:]),
		avail: binary.LittleEndian.Uint64(m.payload[24:]),
	}
	r.located = true
	s.start(r)
	return nil, nil
}

func (s *session) setVringBase(m *message) ([]byte, error) {
	r, base, err := s.stateOf(m)
	switch {
	case err != nil:
		return nil, err
	case base > math.MaxUint16:
		return nil, fmt.Errorf("%w: available index %d", ErrValue, base)
	case r.run != nil:
		return nil, fmt.Errorf("%w: queue %d, available index", ErrRunning, r.index)
	}
	r.base = uint16(base)
	return nil, nil
}

// getVringBase stops the ring and answers where it would go on.
func (s *session) getVringBase(m *message) ([]byte, error) {
	r, _, err := s.stateOf(m)
	if err != nil {
		return nil, err
	}
	s.halt(r)
	r.dropKick()
	reply := binary.LittleEndian.AppendUint32(nil, uint32(r.index))
	return binary.LittleEndian.AppendUint32(reply, uint32(r.base)), nil
}

// setVringEnable lets the ring run or not.
func (s *session) setVringEnable(m *message) ([]byte, error) {
	r, num, err := s.stateOf(m)
	if err != nil {
		return nil, err
	}
	if num > 1 {
		return nil, fmt.Errorf("%w: enable %d", ErrValue, num)
	}
	if r.enabled = num == 1; r.enabled {
		s.start(r)
	} else {
		s.halt(r)
	}
	return nil, nil
}

// Payload of the requests that pass an eventfd.
const (
	vringIndexMask = 0xff
	vringNoFD      = 0x100 // no descriptor: the other side is to poll
)

// fdOf decodes a request that passes an eventfd; fd is -1 if the front-end
// says that there is none, else the caller's to close.
func (s *session) fdOf(m *message) (r *ring, fd int, err error) {
	v := binary.LittleEndian.Uint64(m.payload)
	if v&^(vringIndexMask|vringNoFD) != 0 {
		return nil, 0, fmt.Errorf("%w: %#x", ErrValue, v)
	}
	if r, err = s.ring(uint32(v & vringIndexMask)); err != nil {
		return nil, 0, err
	}
	want := 1
	if v&vringNoFD != 0 {
		want = 0
	}
	if len(m.fds) != want {
		return nil, 0, fmt.Errorf("%w: %d, want %d", ErrDescriptors, len(m.fds), want)
	}
	if want == 0 {
		return r, -1, nil
	}
	return r, m.fds.Take(), nil
}

// setVringKick gives the ring its notifications and thereby starts it, in the
// protocol's sense. Without a descriptor the back-end would have to poll; that
// is not done, the ring stays stopped.
func (s *session) setVringKick(m *message) ([]byte, error) {
	r, fd, err := s.fdOf(m)
	if err != nil {
		return nil, err
	}
	if fd < 0 {
		return nil, fmt.Errorf("%w: polled ring", ErrUnsupported)
	}
	k, err := eventfd.NewListener(fd, "kick")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDescriptors, err)
	}
	s.halt(r)
	r.dropKick()
	r.kick = k
	s.start(r)
	return nil, nil
}

// setVringCall replaces the interrupt. The device may have used the old one
// after QEMU stopped looking at it, so the new one is signalled once: a
// spurious interrupt is harmless, a lost one is a guest that waits for ever.
func (s *session) setVringCall(m *message) ([]byte, error) {
	r, fd, err := s.fdOf(m)
	if err != nil {
		return nil, err
	}
	if err := r.call.Set(fd); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDescriptors, err)
	}
	if !r.answered {
		return nil, nil
	}
	if _, err := r.call.Raise(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDescriptors, err)
	}
	return nil, nil
}

func (s *session) setVringErr(m *message) ([]byte, error) {
	r, fd, err := s.fdOf(m)
	if err != nil {
		return nil, err
	}
	if err := r.errs.Set(fd); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDescriptors, err)
	}
	return nil, nil
}
