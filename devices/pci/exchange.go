package pci

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// An Exchange is one data object that awaits its answer.
type Exchange struct {
	Vendor  uint16
	Type    uint8
	Request []byte // what followed the header: whole words, padding included

	box  *mailbox
	done chan struct{}
}

var (
	// ErrExchangeOver means that the requester aborted the exchange, the function
	// was reset, or the exchange is answered already.
	ErrExchangeOver = errors.New("data object exchange is over")

	// ErrObjectSize means that an answer is longer than DOE.MaxObject. The
	// mailbox then is in its error state.
	ErrObjectSize = errors.New("data object is too long")
)

// Done is closed when the exchange is over, in whichever way.
func (x *Exchange) Done() <-chan struct{} { return x.done }

// Respond answers with an object of the same vendor and type that holds payload,
// padded with zeros to a whole word. It does not keep payload.
func (x *Exchange) Respond(payload []byte) error {
	words := (doeHeaderBytes + len(payload) + 3) / 4
	if words > x.box.limit {
		x.Fail()
		return fmt.Errorf("answer of %d bytes: %w", len(payload), ErrObjectSize)
	}
	object := make([]byte, 4*words)
	binary.LittleEndian.PutUint32(object, uint32(x.Vendor)|uint32(x.Type)<<16)
	binary.LittleEndian.PutUint32(object[4:], uint32(words)&doeLengthMask)
	copy(object[doeHeaderBytes:], payload)
	out := make([]uint32, words)
	for i := range out {
		out[i] = binary.LittleEndian.Uint32(object[4*i:])
	}
	return x.finish(func(m *mailbox) { m.out = out })
}

// Discard drops the object without an answer, which is for objects that are not
// well-formed: the requester times out.
func (x *Exchange) Discard() { _ = x.finish(func(*mailbox) {}) }

// Fail sets the mailbox's Error bit: for an object that is in order but cannot be
// answered. The requester has to abort.
func (x *Exchange) Fail() { _ = x.finish((*mailbox).fail) }

// finish ends the exchange with a change of the mailbox, once.
func (x *Exchange) finish(change func(*mailbox)) error {
	m := x.box
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.current != x {
		return ErrExchangeOver
	}
	m.end()
	change(m)
	m.raise() // Busy went away, at the least
	return nil
}
