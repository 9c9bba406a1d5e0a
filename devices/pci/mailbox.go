package pci

import (
	"encoding/binary"
	"sync"
)

// A mailbox is the registers of a DOE instance. It is a Registers.
type mailbox struct {
	f         *Function
	protocols []DOEProtocol // the first is discovery
	limit     int           // words of an object
	interrupt bool
	vector    int

	mu       sync.Mutex
	in       []uint32  // written so far, at most limit words
	overlong bool      // more was written
	current  *Exchange // Busy
	out      []uint32  // not yet read; Data Object Ready if there is some
	failed   bool      // Error
	enabled  bool      // Interrupt Enable
	raised   bool      // Interrupt Status
}

// Registers, by offset in the capability (section 7.9.24).
const (
	doeCapabilities = 0x04
	doeControl      = 0x08
	doeStatus       = 0x0c
	doeWrite        = 0x10
	doeRead         = 0x14

	doeAbort           = 1 << 0
	doeInterruptEnable = 1 << 1
	doeGo              = 1 << 31

	doeBusy            = 1 << 0
	doeInterruptStatus = 1 << 1
	doeError           = 1 << 2
	doeReady           = 1 << 31

	doeLengthMask = 1<<18 - 1
)

// Load implements Registers.
func (m *mailbox) Load(off int) (v uint32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch off {
	case doeCapabilities:
		if m.interrupt {
			v = 1 | uint32(m.vector)<<1
		}
	case doeControl:
		v = flag(m.enabled, doeInterruptEnable)
	case doeStatus:
		v = flag(m.current != nil, doeBusy) | flag(m.raised, doeInterruptStatus) |
			flag(m.failed, doeError) | flag(len(m.out) > 0, doeReady)
	case doeRead:
		if len(m.out) > 0 {
			v = m.out[0]
		}
	}
	return v
}

func flag(on bool, bit uint32) uint32 {
	if on {
		return bit
	}
	return 0
}

// Store implements Registers. The two data registers take whole words only, the
// others single bytes as well.
func (m *mailbox) Store(off int, value, mask uint32) {
	m.mu.Lock()
	var x *Exchange
	var p *DOEProtocol
	switch whole := mask == ^uint32(0); {
	case off == doeControl:
		x, p = m.control(value&mask, mask)
	case off == doeStatus && value&mask&doeInterruptStatus != 0:
		m.raised = false
	case off == doeWrite && whole:
		m.push(value)
	case off == doeRead && whole:
		m.pop()
	}
	m.mu.Unlock()
	if x != nil {
		p.Handle(x)
	}
}

// control is a write to DOE Control. It returns an exchange that has to be handled.
func (m *mailbox) control(v, mask uint32) (*Exchange, *DOEProtocol) {
	if mask&doeInterruptEnable != 0 {
		was := m.enabled
		m.enabled = m.interrupt && v&doeInterruptEnable != 0
		if m.enabled && !was && m.raised {
			m.notify()
		}
	}
	switch {
	case v&doeAbort != 0:
		m.abort()
	case v&doeGo != 0:
		return m.start()
	}
	return nil, nil
}

// push takes one word of an object, but none while another is being answered. A word
// too many spoils the object and is not stored.
func (m *mailbox) push(v uint32) {
	switch {
	case m.current != nil:
	case len(m.in) == m.limit:
		m.overlong = true
	default:
		m.in = append(m.in, v)
	}
}

// pop moves on to the next word of the answer. Where there is none the requester
// lost count.
func (m *mailbox) pop() {
	switch {
	case m.failed:
	case len(m.out) == 0:
		m.fail()
	default:
		m.out = m.out[1:]
	}
}

// start takes the object that was written. An object whose length is not what was
// written, or that nobody answers, is silently discarded (section 6.30.1): its
// requester times out. One on top of another is an error.
func (m *mailbox) start() (*Exchange, *DOEProtocol) {
	if m.failed {
		return nil, nil
	}
	if m.current != nil || len(m.out) > 0 {
		m.fail()
		return nil, nil
	}
	in, overlong := m.in, m.overlong
	m.in, m.overlong = m.in[:0], false
	if overlong || len(in) < 2 {
		return nil, nil
	}
	length := int(in[1] & doeLengthMask)
	if length == 0 {
		length = 1 << 18
	}
	p := m.find(uint16(in[0]), uint8(in[0]>>16))
	if length != len(in) || p == nil {
		return nil, nil
	}
	x := &Exchange{Vendor: p.Vendor, Type: p.Type, Request: make([]byte, 0, 4*(len(in)-2)), box: m, done: make(chan struct{})}
	for _, w := range in[2:] {
		x.Request = binary.LittleEndian.AppendUint32(x.Request, w)
	}
	m.current = x
	return x, p
}

// abort empties the mailbox and ends the error state.
func (m *mailbox) abort() {
	busy := m.end()
	m.in, m.out, m.overlong, m.failed = m.in[:0], nil, false, false
	if busy {
		m.raise()
	}
}

// end takes the current exchange from its handler. False: there was none.
func (m *mailbox) end() bool {
	if m.current == nil {
		return false
	}
	close(m.current.done)
	m.current = nil
	return true
}

// fail enters the error state: there is nothing in the mailbox any more, and
// until an abort or a reset nothing comes out of it.
func (m *mailbox) fail() {
	m.end()
	m.in, m.out, m.overlong, m.failed = m.in[:0], nil, false, true
	m.raise()
}

// raise sets Interrupt Status: Data Object Ready or Error was set, or Busy cleared.
// There is one message each time when Status and Enable become both set (section
// 6.30.3), so none more until the driver has cleared the status.
func (m *mailbox) raise() {
	if !m.interrupt || m.raised {
		return
	}
	m.raised = true
	if m.enabled {
		m.notify()
	}
}

// notify sends the mailbox's message. It has no interrupt but MSI and MSI-X.
func (m *mailbox) notify() {
	m.f.mu.Lock()
	m.f.message(m.vector)
	m.f.mu.Unlock()
}

// reset brings the registers to their values after power-on.
func (m *mailbox) reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.end()
	m.in, m.out, m.overlong, m.failed = nil, nil, false, false
	m.enabled, m.raised = false, false
}
