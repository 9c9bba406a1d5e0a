package guestmem

import (
	"encoding/binary"
	"testing"
)

func TestWords(t *testing.T) {
	b := make([]byte, 16)
	StoreRelease(b, 4, 0x11223344)
	Store16(b, 10, 0x5566)
	if got := binary.LittleEndian.Uint64(b[4:]); got != 0x5566_0000_11223344 {
		t.Errorf("memory %#x", got)
	}
	if got := LoadAcquire(b, 4); got != 0x11223344 {
		t.Errorf("LoadAcquire %#x", got)
	}
	if got := Load16(b, 10); got != 0x5566 {
		t.Errorf("Load16 %#x", got)
	}
	if !Aligned(b, 8) || Aligned(b[2:], 4) || !Aligned(b[2:], 2) {
		t.Error("Aligned is wrong")
	}
}

func TestWordsPanic(t *testing.T) {
	b := make([]byte, 16)
	for name, f := range map[string]func(){
		"load misaligned":     func() { LoadAcquire(b, 2) },
		"store misaligned":    func() { StoreRelease(b, 2, 0) },
		"load16 misaligned":   func() { Load16(b, 3) },
		"store16 misaligned":  func() { Store16(b, 3, 0) },
		"load beyond the end": func() { LoadAcquire(b[:6], 4) },
		"store16 negative":    func() { Store16(b, -2, 0) },
		"load16 of nothing":   func() { Load16(nil, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			f()
		})
	}
}
