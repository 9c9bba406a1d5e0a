package xz

import "encoding/binary"

// unfilterX86 undoes the x86 branch filter of xz on all of b, which starts at
// position 0 of the filtered data.
//
// The filter turned the relative target of each CALL (E8) and JMP (E9) into an
// absolute one, because many calls to one place then look alike. It took the
// four bytes after an opcode for a target only if the topmost is 00 or FF, and
// it remembered opcode-like bytes inside the last three bytes so as not to
// mistake part of one operand for another. Undoing it must make the very same
// choices.
func unfilterX86(b []byte) {
	const operand = 4
	// seen has bit k set when the byte k+1 before the current one looked like an
	// opcode but was not converted; only three bytes back matter.
	var seen uint32
	for i := 0; i+operand < len(b); {
		if b[i]&0xfe != 0xe8 {
			seen = seen << 1 & 7
			i++
			continue
		}
		if !takesOperand(b[i:], seen) {
			seen = (seen<<1 | 1) & 7
			i++
			continue
		}
		at := b[i+1 : i+1+operand]
		binary.LittleEndian.PutUint32(at, relative(binary.LittleEndian.Uint32(at), uint32(i)+1+operand, seen))
		seen = 0
		i += 1 + operand
	}
}

// takesOperand reports whether the filter converted the operand of the opcode
// at at[0], which has four bytes after it.
func takesOperand(at []byte, seen uint32) bool {
	if !signByte(at[4]) {
		return false
	}
	switch seen {
	case 0, 1, 2, 4: // at most one earlier opcode: no two operands overlap this one
	default:
		return false
	}
	// The byte that would be the topmost of the earlier opcode's operand must
	// not be a sign byte, else that operand was the likelier one.
	return seen == 0 || !signByte(at[4-reach(seen)])
}

// reach is how many bytes of this operand lie behind the end of the operand of
// the oldest opcode in seen.
func reach(seen uint32) uint {
	switch {
	case seen >= 4:
		return 3
	case seen >= 2:
		return 2
	case seen == 1:
		return 1
	}
	return 0
}

// relative turns the absolute target back into one relative to next, the
// position after the operand. Targets are 25 bits, sign-extended. Where an
// earlier opcode is in sight the filter repeated the conversion until the byte
// shared with that opcode's operand was no sign byte.
func relative(target, next, seen uint32) uint32 {
	for {
		out := target - next
		if seen != 0 {
			shift := 8 * reach(seen)
			if signByte(byte(out >> (24 - shift))) {
				target = out ^ (1<<(32-shift) - 1)
				continue
			}
		}
		return uint32(int32(out<<7) >> 7)
	}
}

// signByte reports whether c can be the topmost byte of a sign-extended 25-bit
// number.
func signByte(c byte) bool { return c == 0 || c == 0xff }
