package enclaves

import (
	"fmt"
	"slices"
	"syscall"
	"time"
)

// Faults make the device misbehave, for those who write drivers. The zero value
// is a device that works.
type Faults struct {
	// Replies: the first of them that applies to a command is carried out.
	Replies []ReplyFault

	// EnableStuck makes RegEnable keep its value: a device that is off does not
	// come on (Linux: probe fails with EIO), one that is on does not go off
	// (Linux: waits 120 s in remove).
	EnableStuck bool

	// Version, if not 0, is what RegVersion reads after any write. Another value
	// than 1 makes Linux's probe fail with EIO.
	Version uint16

	// LostEvents: enclaves end, but vector 1 is not raised and not counted.
	LostEvents bool
}

// A ReplyFault is what goes wrong with the replies to a command.
type ReplyFault struct {
	Command Command // 0: any
	Times   int     // how often it happens; 0: always

	// Errno, if not 0, is the reply, and the command is not executed. A
	// SLOT_INFO that fails is worth a try: Linux then takes the enclave for one
	// never started, and frees its slot without stopping it.
	Errno syscall.Errno

	// Delay holds the reply back, RegReceive included. The device meanwhile
	// takes the next command: a driver that gave up waiting takes the late
	// reply for that one's. Of what delays hold back at a time, 64 replies and
	// interrupts are kept, the rest is lost.
	Delay time.Duration

	// Lost: no reply, no vector, nothing counted.
	Lost bool

	// NoInterrupt: the reply is there and counted, the vector is not raised.
	NoInterrupt bool

	// Duplicates is how many times more the vector is raised, at most 16, each
	// DuplicateDelay after the one before. At once they may well be one
	// interrupt to the driver. One that comes while the driver waits for its
	// next reply makes it read the old one.
	Duplicates     int
	DuplicateDelay time.Duration
}

const (
	maxDuplicates = 16

	maxLate = 64 // replies and interrupts held back at a time
)

func (f *Faults) check() error {
	for i, r := range f.Replies {
		switch {
		case r.Command > lastCommand, r.Times < 0, r.Delay < 0, r.Errno > maxErrno,
			r.Duplicates < 0, r.Duplicates > maxDuplicates, r.DuplicateDelay < 0:
			return fmt.Errorf("reply fault %d: %+v: out of range", i, r)
		}
	}
	return nil
}

func (f Faults) clone() Faults {
	f.Replies = slices.Clone(f.Replies)
	return f
}

// take is the fault for a command that is about to be executed, the zero value
// if there is none. It counts Times.
func (f *Faults) take(c Command) ReplyFault {
	i := slices.IndexFunc(f.Replies, func(r ReplyFault) bool { return r.Command == 0 || r.Command == c })
	if i < 0 {
		return ReplyFault{}
	}
	r := f.Replies[i]
	if r.Times > 0 {
		f.Replies[i].Times--
		if f.Replies[i].Times == 0 {
			f.Replies = slices.Delete(f.Replies, i, i+1)
		}
	}
	return r
}

// SetFaults replaces the faults of the running device; Times counts anew.
// What a delay holds back now still comes.
func (d *Device) SetFaults(f Faults) error {
	if err := f.check(); err != nil {
		return fmt.Errorf("set faults: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults = f.clone()
	return nil
}
