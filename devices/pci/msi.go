package pci

import "math/bits"

// An msi is the MSI capability, section 7.7.1. It belongs to Function.mu.
type msi struct {
	at      int // 0: none
	vectors int
	masking bool

	// pending has a bit for each message that could not be sent. Without
	// per-vector masking a driver cannot see it; it then covers the moment
	// between the driver's enabling MSI and the transport's knowing where
	// messages go.
	pending uint32
}

const (
	msiControl = 2
	msiData    = 12
	msiMask    = 16
	msiPending = 20

	msiEnable     = 1 << 0
	msiCapable    = 1 // shift of log2 of the vectors on offer
	msiAllocated  = 4 // shift of log2 of the vectors the driver granted
	msi64         = 1 << 7
	msiPerVector  = 1 << 8
	msiSize       = 14
	msiSizeMasked = 24
)

func (m *msi) block(cfg MSIConfig) (block, error) {
	if cfg.Vectors < 1 || cfg.Vectors > 32 || cfg.Vectors&(cfg.Vectors-1) != 0 {
		return block{}, invalid("MSI.Vectors", "%d, want 1, 2, 4, 8, 16 or 32", cfg.Vectors)
	}
	m.vectors, m.masking = cfg.Vectors, cfg.Masking
	size := msiSize
	if cfg.Masking {
		size = msiSizeMasked
	}
	return block{field: "MSI", size: size, id: CapMSI, fill: func(s *space, at int) {
		m.at = at
		control := uint16(bits.TrailingZeros(uint(m.vectors)))<<msiCapable | msi64
		if m.masking {
			control |= msiPerVector
			s.writable32(at+msiMask, uint32(1<<m.vectors-1))
		}
		s.set16(at+msiControl, control)
		s.writable16(at+msiControl, msiEnable|7<<msiAllocated)
		s.writable32(at+4, ^uint32(3))
		s.writable32(at+8, ^uint32(0))
		s.writable16(at+msiData, ^uint16(0))
	}}, nil
}

func (m *msi) enabled(s *space) bool {
	return m.at != 0 && s.get16(m.at+msiControl)&msiEnable != 0
}

// granted is how many vectors the driver allows, at most those on offer.
func (m *msi) granted(s *space) int {
	return min(1<<(s.get16(m.at+msiControl)>>msiAllocated&7), m.vectors)
}

// sendable reports whether the driver lets message vector out.
func (m *msi) sendable(s *space, vector int) bool {
	return !m.masking || s.get32(m.at+msiMask)>>vector&1 == 0
}

// setPending notes or forgets that a message could not be sent.
func (m *msi) setPending(s *space, vector int, on bool) {
	if on {
		m.pending |= 1 << vector
	} else {
		m.pending &^= 1 << vector
	}
	if m.masking {
		s.set32(m.at+msiPending, m.pending)
	}
}

// clear forgets all messages that could not be sent.
func (m *msi) clear(s *space) {
	m.pending = 0
	if m.masking {
		s.set32(m.at+msiPending, 0)
	}
}
