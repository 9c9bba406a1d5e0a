package nsm_test

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/nitrolab/nitrolab/devices/nsm"
	"github.com/nitrolab/nitrolab/devices/nsm/nsmtest"
	"github.com/nitrolab/nitrolab/devices/nsm/wire"
)

// next splits a request off input: two bytes of length, then that many bytes or
// what is left.
func next(input []byte) (req, rest []byte) {
	if len(input) < 2 {
		return input, nil
	}
	n := min(int(binary.BigEndian.Uint16(input)), len(input)-2)
	return input[2 : 2+n], input[2+n:]
}

// frame is the inverse of next.
func frame(reqs ...[]byte) (input []byte) {
	for _, r := range reqs {
		input = append(binary.BigEndian.AppendUint16(input, uint16(len(r))), r...)
	}
	return input
}

// FuzzHandle sends a sequence of requests to one module and checks after each
// that the reply is one, and that the PCRs changed as PCRs may.
func FuzzHandle(f *testing.F) {
	var all [][]byte
	for _, c := range nsmtest.Sequence() {
		if len(c.Request) < 200 {
			all = append(all, c.Request)
			f.Add(frame(c.Request))
		}
	}
	f.Add(frame(all[:40]...))
	f.Add(frame(all[len(all)-80:]...))
	f.Fuzz(func(t *testing.T, input []byte) {
		d := newDevice(t)
		for len(input) > 0 {
			var req []byte
			req, input = next(input)
			before := d.Bank()
			reply := d.Handle(req)
			checkReply(t, req, reply)
			checkBank(t, req, before, d.Bank())
		}
	})
}

func checkReply(t *testing.T, req, reply []byte) {
	t.Helper()
	if err := cbor.Wellformed(reply); err != nil {
		t.Fatalf("request %x: reply %x: %v", req, reply, err)
	}
	code := wire.ErrorCode(0)
	if _, err := wire.DecodeResponse(reply); err != nil && !errors.As(err, &code) {
		t.Fatalf("request %x: reply %x: %v", req, reply, err)
	}
	if code == wire.InternalError {
		t.Fatalf("request %x: %v", req, code)
	}
}

func checkBank(t *testing.T, req []byte, before, after nsm.Bank) {
	t.Helper()
	changed := 0
	for i := range uint16(wire.NumPCRs) {
		old, wasLocked, _ := before.Describe(i)
		now, locked, _ := after.Describe(i)
		switch {
		case wasLocked && !locked:
			t.Fatalf("request %x unlocked PCR%d", req, i)
		case wasLocked && now != old:
			t.Fatalf("request %x changed locked PCR%d", req, i)
		case now != old && locked:
			t.Fatalf("request %x changed and locked PCR%d", req, i)
		case now != old:
			changed++
		}
	}
	if changed > 1 {
		t.Fatalf("request %x changed %d PCRs", req, changed)
	}
}
