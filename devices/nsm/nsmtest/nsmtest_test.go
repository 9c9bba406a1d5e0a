package nsmtest_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"syscall"
	"testing"

	"github.com/nitrolab/nitrolab/devices/nsm"
	"github.com/nitrolab/nitrolab/devices/nsm/nsmtest"
	"github.com/nitrolab/nitrolab/devices/nsm/wire"
)

func all() []nsmtest.Case { return append(nsmtest.Sequence(), nsmtest.Empty()) }

func TestTableIsComplete(t *testing.T) {
	seen := map[string]bool{}
	longest := 0
	for _, c := range all() {
		if c.Name == "" || c.Want == nil || c.Request == nil {
			t.Errorf("case %+v is incomplete", c)
		}
		if seen[c.Name] {
			t.Errorf("two cases are called %q", c.Name)
		}
		seen[c.Name] = true
		if !slices.Contains([]nsmtest.Grade{nsmtest.Hardware, nsmtest.Source, nsmtest.Decided}, c.Grade) {
			t.Errorf("%s: grade %q", c.Name, c.Grade)
		}
		if len(c.Request) > wire.MaxRequest {
			if c.Errno != syscall.EMSGSIZE {
				t.Errorf("%s: request of %d bytes, but drivers do not refuse it", c.Name, len(c.Request))
			}
		} else {
			longest = max(longest, len(c.Request))
		}
	}
	if longest != wire.MaxRequest {
		t.Errorf("longest request that drivers take has %d bytes, want %d", longest, wire.MaxRequest)
	}
}

// The matrix may run at any time: the PCRs are the same afterwards.
func TestMatrixChangesNothing(t *testing.T) {
	d, err := nsm.New(nsm.Config{ModuleID: "i-0", Attester: nsmtest.Unsigned{}})
	if err != nil {
		t.Fatal(err)
	}
	before := d.Bank()
	cases := nsmtest.Matrix()
	slices.Reverse(cases)
	nsmtest.Run(t, func(req []byte) ([]byte, error) { return d.Handle(req), nil }, cases)
	if d.Bank() != before {
		t.Error("PCRs changed")
	}
}

// A suite that passes a module which gets one thing wrong proves nothing. Each
// of these gets one thing wrong.
func TestSuiteFindsWrongModules(t *testing.T) {
	replace := func(from, to string) func(reply []byte) []byte {
		return func(reply []byte) []byte { return bytes.ReplaceAll(reply, []byte(from), []byte(to)) }
	}
	for _, tt := range []struct {
		name  string
		wrong func(reply []byte) []byte
	}{
		{"empty replies", func([]byte) []byte { return nil }},
		{"trailing byte", func(reply []byte) []byte { return append(reply, 0) }},
		{"another error", replace("\x70InvalidOperation", "\x6fInvalidArgument")},
		{"no error", replace("\xa1\x65Error\x70InvalidOperation", "\x67LockPCR")},
		{"locks inverted", replace("lock\xf4", "lock\xf5")},
		{"other values", replace("\xb3\x3d\xa0\x5a", "\x00\x00\x00\x00")},
		{"another version", replace("version_patch\x00", "version_patch\x01")},
		{"no module id", replace("\x63i-0", "\x60")},
		{"another digest", replace("\x66SHA384", "\x66SHA256")},
		{"random of 32 bytes", func(reply []byte) []byte {
			if bytes.Contains(reply, []byte("random")) {
				return append(append(reply[:19:19], 0x58, 0x20), reply[22:54]...)
			}
			return reply
		}},
		{"random in another form", func(reply []byte) []byte {
			if bytes.Contains(reply, []byte("random")) {
				return append(append(reply[:19:19], 0x5a, 0, 0, 1, 0), reply[22:]...)
			}
			return reply
		}},
		{"random of zeros", func(reply []byte) []byte {
			if bytes.Contains(reply, []byte("random")) {
				clear(reply[22:])
			}
			return reply
		}},
		{"empty field is null", replace("nonce\x40", "nonce\xf6")},
		{"null field is empty", replace("nonce\xf6", "nonce\x40")},
		{"fields exchanged", replace("\x69user_data\x46", "\x69user_date\x46")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, err := nsm.New(nsm.Config{ModuleID: "i-0", Attester: nsmtest.Unsigned{}})
			if err != nil {
				t.Fatal(err)
			}
			failed := 0
			for _, c := range nsmtest.Sequence() {
				if c.Run(func(req []byte) ([]byte, error) { return tt.wrong(d.Handle(req)), nil }) != nil {
					failed++
				}
			}
			if failed == 0 {
				t.Error("every case passed")
			}
		})
	}
}

// An attester that leaves out the newest lock, or adds a PCR that is none.
func TestSuiteFindsWrongClaims(t *testing.T) {
	for _, tt := range []struct {
		name  string
		wrong func(*nsm.Claims)
	}{
		{"a locked PCR missing", func(c *nsm.Claims) { delete(c.PCRs, uint16(len(c.PCRs)-1)) }},
		{"an unlocked PCR", func(c *nsm.Claims) { c.PCRs[31] = wire.PCR{} }},
		{"a value", func(c *nsm.Claims) { c.PCRs[16] = wire.PCR{1} }},
		{"the module id", func(c *nsm.Claims) { c.ModuleID = "" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, err := nsm.New(nsm.Config{ModuleID: "i-0", Attester: wrongClaims(tt.wrong)})
			if err != nil {
				t.Fatal(err)
			}
			failed := 0
			for _, c := range nsmtest.Sequence() {
				if c.Run(func(req []byte) ([]byte, error) { return d.Handle(req), nil }) != nil {
					failed++
				}
			}
			if failed == 0 {
				t.Error("every case passed")
			}
		})
	}
}

type wrongClaims func(*nsm.Claims)

func (w wrongClaims) Document(c nsm.Claims) ([]byte, error) {
	w(&c)
	return nsmtest.Unsigned{}.Document(c)
}

func TestRefusalByTheDriver(t *testing.T) {
	refused := nsmtest.Case{Request: make([]byte, 5000), Want: nsmtest.Error(wire.InputTooLarge), Errno: syscall.EMSGSIZE}
	passed := nsmtest.Case{Request: []byte{0}, Want: nsmtest.Error(wire.InvalidOperation)}
	tooLarge := []byte("\xa1\x65Error\x6dInputTooLarge")
	for _, tt := range []struct {
		name  string
		c     nsmtest.Case
		reply []byte
		err   error
		ok    bool
	}{
		{"the errno it may be", refused, nil, fmt.Errorf("ioctl: %w", syscall.EMSGSIZE), true},
		{"the module's own answer", refused, tooLarge, nil, true},
		{"another errno", refused, nil, syscall.EIO, false},
		{"no errno", refused, nil, io.EOF, false},
		{"another answer", refused, []byte("\xa1\x65Error\x70InvalidOperation"), nil, false},
		{"an errno where there is none", passed, nil, syscall.EMSGSIZE, false},
		{"errno 0 where there is none", passed, nil, syscall.Errno(0), false},
	} {
		err := tt.c.Run(func([]byte) ([]byte, error) { return tt.reply, tt.err })
		if ok := err == nil; ok != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
		if tt.err != nil && err != nil && !errors.Is(err, tt.err) {
			t.Errorf("%s: %v hides %v", tt.name, err, tt.err)
		}
	}
}
