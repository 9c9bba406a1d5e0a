package vhostuser

import (
	"encoding/binary"
	"fmt"

	"github.com/nitrolab/nitrolab/devices/virtio"
)

// featureProtocol (VHOST_USER_F_PROTOCOL_FEATURES) takes a bit of the virtio
// features to say that protocol features can be negotiated.
const featureProtocol uint64 = 1 << 30

// Protocol features.
const (
	protocolMQ       uint64 = 1 << 0
	protocolReplyAck uint64 = 1 << 3
	protocolConfig   uint64 = 1 << 9
)

// ringFeatures are what this transport adds to a device's own features.
const ringFeatures = virtio.FeatureVersion1 | virtio.FeatureIndirectDesc | virtio.FeatureEventIdx | featureProtocol

func (s *session) offered() uint64 { return s.dev.Features() | ringFeatures }

// offeredProtocol are the protocol features offered. CONFIG goes with a
// configuration space: QEMU insists on it where it needs one (it reads a vsock
// device's CID when it is realized) and warns about it where it does not.
func (s *session) offeredProtocol() uint64 {
	f := protocolMQ | protocolReplyAck
	if len(s.dev.Config()) > 0 {
		f |= protocolConfig
	}
	return f
}

func u64(v uint64) []byte { return binary.LittleEndian.AppendUint64(nil, v) }

func (s *session) getFeatures(*message) ([]byte, error) { return u64(s.offered()), nil }

// setFeatures: without protocol features, rings need no SET_VRING_ENABLE.
func (s *session) setFeatures(m *message) ([]byte, error) {
	f := binary.LittleEndian.Uint64(m.payload)
	if extra := f &^ s.offered(); extra != 0 {
		return nil, fmt.Errorf("%w: bits %#x", ErrFeatures, extra)
	}
	if f != s.features && s.anyRunning() {
		return nil, fmt.Errorf("%w: features %#x to %#x", ErrRunning, s.features, f)
	}
	s.features = f
	if f&featureProtocol == 0 {
		for _, r := range s.rings {
			r.enabled = true
			s.start(r)
		}
	}
	return nil, nil
}

func (s *session) getProtocolFeatures(*message) ([]byte, error) { return u64(s.offeredProtocol()), nil }

func (s *session) setProtocolFeatures(m *message) ([]byte, error) {
	f := binary.LittleEndian.Uint64(m.payload)
	if extra := f &^ s.offeredProtocol(); extra != 0 {
		return nil, fmt.Errorf("%w: protocol bits %#x", ErrFeatures, extra)
	}
	s.protocol = f
	return nil, nil
}

// setOwner marks the beginning of a session; there is only one per connection.
func (s *session) setOwner(*message) ([]byte, error) { return nil, nil }

// resetOwner is deprecated: a back-end ignores it or disables all rings.
func (s *session) resetOwner(*message) ([]byte, error) {
	for _, r := range s.rings {
		s.halt(r)
		r.enabled = false
	}
	return nil, nil
}

func (s *session) getQueueNum(*message) ([]byte, error) { return u64(uint64(len(s.rings))), nil }

// getConfig answers with the same range of the device's configuration space.
// A range outside of it is answered by an empty payload, which the protocol
// defines as the error.
func (s *session) getConfig(m *message) ([]byte, error) {
	offset := binary.LittleEndian.Uint32(m.payload[0:])
	size := binary.LittleEndian.Uint32(m.payload[4:])
	config := s.dev.Config()
	if uint64(offset)+uint64(size) > uint64(len(config)) || size > maxConfig {
		s.log.Warn("configuration read refused", "offset", offset, "size", size, "config", len(config))
		return []byte{}, nil
	}
	reply := append([]byte{}, m.payload[:configHead]...)
	return append(reply, config[offset:offset+size]...), nil
}

// setConfig is refused: no device here has writable configuration.
func (s *session) setConfig(*message) ([]byte, error) {
	return nil, fmt.Errorf("%w: configuration is read-only", ErrUnsupported)
}
