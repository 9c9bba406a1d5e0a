package pci

import (
	"errors"
	"fmt"
	"slices"
)

// A block is one capability before and after it found its place.
type block struct {
	field string // of Config, for errors
	at    int    // 0: anywhere
	size  int    // bytes, header included
	id    uint16
	fill  func(s *space, at int) // writes what follows the header; may be nil
}

// errNoRoom means that capabilities do not fit.
var errNoRoom = errors.New("no room left")

// place gives every block its offset between low and high, aligned to four bytes:
// first those that ask for one, then the others in their order, at the lowest
// offset that fits. It leaves blocks sorted by offset.
func place(blocks []block, low, high int) error {
	taken := make([]bool, high)
	claim := func(b *block, at int) bool {
		if at < low || at%4 != 0 || at+b.size > high || slices.Contains(taken[at:at+b.size], true) {
			return false
		}
		for i := at; i < at+b.size; i++ {
			taken[i] = true
		}
		b.at = at
		return true
	}
	for i := range blocks {
		if b := &blocks[i]; b.at != 0 && !claim(b, b.at) {
			return invalid(b.field, "%d bytes at %#x: taken, not a multiple of 4 or outside %#x to %#x", b.size, b.at, low, high)
		}
	}
	for i := range blocks {
		b := &blocks[i]
		for at := low; b.at == 0 && at < high; at += 4 {
			claim(b, at)
		}
		if b.at == 0 {
			return &ConfigError{Field: b.field, Err: fmt.Errorf("%d bytes: %w", b.size, errNoRoom)}
		}
	}
	slices.SortFunc(blocks, func(a, b block) int { return a.at - b.at })
	return nil
}

// layOutStandard links blocks into the list that begins at 0x34 (section 7.5.3):
// a byte of ID, a byte of offset.
func layOutStandard(s *space, blocks []block) error {
	if err := place(blocks, headerSize, extendedBase); err != nil {
		return err
	}
	link := regCapabilities
	for _, b := range blocks {
		s.bytes[link] = byte(b.at)
		s.bytes[b.at] = byte(b.id)
		b.fill(s, b.at)
		link = b.at + 1
	}
	if len(blocks) > 0 {
		s.set16(regStatus, s.get16(regStatus)|statusCapabilities)
	}
	return nil
}

// Where extended capabilities lie, section 7.6.
const (
	extendedBase   = 0x100
	extendedEnd    = 0x1000
	extendedHeader = 4
)

// layOutExtended links blocks into the list that begins at 0x100: 16 bits of ID,
// 4 of version, 12 of offset. fill adds the version.
func layOutExtended(s *space, blocks []block) error {
	if len(blocks) == 0 {
		return nil
	}
	if err := place(blocks, extendedBase, extendedEnd); err != nil {
		return err
	}
	if blocks[0].at != extendedBase {
		return invalid(blocks[0].field, "at %#x, but the list has to begin at %#x", blocks[0].at, extendedBase)
	}
	for i, b := range blocks {
		header := uint32(b.id)
		if i+1 < len(blocks) {
			header |= uint32(blocks[i+1].at) << 20
		}
		s.set32(b.at, header)
		b.fill(s, b.at)
	}
	return nil
}
