package emulator

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/nitrolab/nitrolab/devices/guestmem"
)

// A machineIdentity is what one instance has that no other one has, in its
// firmware tables.
type machineIdentity struct {
	InstanceID string // i- and 17 hex digits
	UUID       string // as text, lower case, begins with ec2
}

// newMachineIdentity draws one.
func newMachineIdentity(entropy io.Reader) (machineIdentity, error) {
	var b [9 + 16]byte
	if _, err := io.ReadFull(entropy, b[:]); err != nil {
		return machineIdentity{}, fmt.Errorf("draw instance id: %w", err)
	}
	u := b[9:]
	u[0], u[1] = 0xec, 0x20|u[1]&0x0f // EC2's mark (parent-devices.md section 6.3)
	u[6], u[8] = 0x40|u[6]&0x0f, 0x80|u[8]&0x3f
	text := hex.EncodeToString(u)
	return machineIdentity{
		InstanceID: "i-" + hex.EncodeToString(b[:9])[:17],
		UUID:       strings.Join([]string{text[:8], text[8:12], text[12:16], text[16:20], text[20:]}, "-"),
	}, nil
}

// forms are the ways in which an identity lies in the RAM of a guest that has
// booted: texts of the SMBIOS tables and the kernel's copies of them, and the UUID
// in its binary form (SMBIOS 3.7, section 7.2.1: the first three fields are
// little-endian). All have the same length for every identity.
func (m machineIdentity) forms() ([][]byte, error) {
	raw, err := hex.DecodeString(strings.ReplaceAll(m.UUID, "-", ""))
	if err != nil || len(raw) != 16 || len(m.InstanceID) != 19 {
		return nil, fmt.Errorf("machine identity %q, %q: not of the usual form", m.InstanceID, m.UUID)
	}
	le := make([]byte, 16)
	copy(le, raw)
	binary.LittleEndian.PutUint32(le[0:], binary.BigEndian.Uint32(raw[0:]))
	binary.LittleEndian.PutUint16(le[4:], binary.BigEndian.Uint16(raw[4:]))
	binary.LittleEndian.PutUint16(le[6:], binary.BigEndian.Uint16(raw[6:]))
	return [][]byte{[]byte(m.InstanceID), []byte(m.UUID), []byte(strings.ToUpper(m.UUID)), le}, nil
}

// A mark is a place in the RAM file where a form of the identity lies.
type mark struct {
	Offset int64
	Form   int // index into forms
}

// maxMarks bounds what is remembered; a booted guest has about ten.
const maxMarks = 4096

// findMarks looks for an identity in a guest's RAM.
func findMarks(ram *guestmem.RAM, id machineIdentity) ([]mark, error) {
	forms, err := id.forms()
	if err != nil {
		return nil, err
	}
	var marks []mark
	for i, f := range forms {
		err := ram.Find(f, func(offset int64) bool {
			marks = append(marks, mark{offset, i})
			return len(marks) <= maxMarks
		})
		if err != nil {
			return nil, err
		}
	}
	if len(marks) == 0 || len(marks) > maxMarks {
		return nil, fmt.Errorf("the identity of the instance lies at %d places of its memory; allowed are 1 to %d", len(marks), maxMarks)
	}
	return marks, nil
}

// errMarks says that a guest's RAM is not what the marks were made for.
var errMarks = errors.New("the identity of the snapshot is not where it was")

// stamp gives a restored guest, which is paused, an identity of its own in the
// place of the one it booted with. So it has it where every program looks, the
// kernel's copies of the firmware tables included.
func stamp(ram *guestmem.RAM, marks []mark, from, to machineIdentity) error {
	was, err := from.forms()
	if err != nil {
		return err
	}
	is, err := to.forms()
	if err != nil {
		return err
	}
	for _, m := range marks {
		if m.Form < 0 || m.Form >= len(was) {
			return errMarks
		}
		found := make([]byte, len(was[m.Form]))
		if _, err := ram.File().ReadAt(found, m.Offset); err != nil {
			return fmt.Errorf("%w: %w", errMarks, err)
		}
		if string(found) != string(was[m.Form]) {
			return errMarks
		}
		if _, err := ram.File().WriteAt(is[m.Form], m.Offset); err != nil {
			return fmt.Errorf("stamp instance: %w", err)
		}
	}
	return nil
}
