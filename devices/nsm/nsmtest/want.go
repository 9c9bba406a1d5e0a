package nsmtest

import (
	"errors"
	"fmt"
	"slices"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/devices/nsm/wire"
)

// Error wants the error reply with that code.
type Error wire.ErrorCode

// Check implements [Want].
func (w Error) Check(reply []byte) error {
	r, err := wire.DecodeResponse(reply)
	switch code := wire.ErrorCode(0); {
	case err == nil:
		return fmt.Errorf("got %s, want error %v", r.Name(), wire.ErrorCode(w))
	case !errors.As(err, &code):
		return fmt.Errorf("got %w (%s), want error %v", err, abbreviate(reply), wire.ErrorCode(w))
	case code != wire.ErrorCode(w):
		return fmt.Errorf("got error %v, want error %v", code, wire.ErrorCode(w))
	}
	return nil
}

// Reply wants exactly that reply. The order of the fields on the wire is left
// open.
type Reply struct{ Response wire.Response }

// Check implements [Want].
func (w Reply) Check(reply []byte) error {
	r, err := wire.DecodeResponse(reply)
	if err != nil {
		return fmt.Errorf("got %w, want %s", err, w.Response.Name())
	}
	if d := cmp.Diff(w.Response, r); d != "" {
		return fmt.Errorf("reply differs (-want +got):\n%s", d)
	}
	return nil
}

// PCR wants the description of a PCR with that lock and any value.
type PCR struct{ Lock bool }

// Check implements [Want].
func (w PCR) Check(reply []byte) error {
	r, err := decode[wire.DescribePCRResponse](reply)
	if err != nil {
		return err
	}
	if r.Lock != w.Lock {
		return fmt.Errorf("got lock %t, want %t", r.Lock, w.Lock)
	}
	return nil
}

// Module wants the description of a module of version 1.0.0 with 32 PCRs, of
// which the first Locked are locked.
type Module struct{ Locked uint16 }

// Check implements [Want].
func (w Module) Check(reply []byte) error {
	r, err := decode[wire.DescribeNSMResponse](reply)
	if err != nil {
		return err
	}
	if r.ModuleID == "" {
		return errors.New("module id is empty")
	}
	want := wire.DescribeNSMResponse{
		VersionMajor: 1,
		ModuleID:     r.ModuleID,
		MaxPCRs:      wire.NumPCRs,
		LockedPCRs:   first(w.Locked),
		Digest:       wire.DigestSHA384,
	}
	if d := cmp.Diff(want, r); d != "" {
		return fmt.Errorf("description differs (-want +got):\n%s", d)
	}
	return nil
}

// Random wants 256 bytes of entropy, with the exact bytes before them that the
// kernel's hwrng compares.
type Random struct{}

// Check implements [Want].
func (Random) Check(reply []byte) error {
	r, err := decode[wire.GetRandomResponse](reply)
	if err != nil {
		return err
	}
	if len(r.Random) != wire.RandomSize {
		return fmt.Errorf("got %d random bytes, want %d", len(r.Random), wire.RandomSize)
	}
	if slices.Max(r.Random) == slices.Min(r.Random) {
		return fmt.Errorf("every random byte is %#x", r.Random[0])
	}
	prefix := slices.Concat([]byte{0xa1}, text("GetRandom"), []byte{0xa1}, text("random"), []byte{0x59, 0x01, 0x00})
	if len(reply) < len(prefix) || !slices.Equal(reply[:len(prefix)], prefix) {
		return fmt.Errorf("reply begins with %x, the kernel wants %x", reply[:min(len(reply), len(prefix))], prefix)
	}
	return nil
}

// decode is the reply if it is of kind R.
func decode[R wire.Response](reply []byte) (R, error) {
	r, err := wire.DecodeResponse(reply)
	if err != nil {
		var want R
		return want, fmt.Errorf("got %w, want %s", err, want.Name())
	}
	got, ok := r.(R)
	if !ok {
		return got, fmt.Errorf("got %s, want %s", r.Name(), got.Name())
	}
	return got, nil
}

// first is the indexes 0 to n-1.
func first(n uint16) []uint16 {
	s := make([]uint16, n)
	for i := range s {
		s[i] = uint16(i)
	}
	return s
}
