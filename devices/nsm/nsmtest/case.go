// Package nsmtest is the conformance suite of the Nitro Secure Module: requests
// as bytes and what the module must answer, as a table that runs over anything
// that takes a request and gives a reply. The same table checks the device model
// in a unit test, and a whole guest through the Linux driver.
//
// Most rows are assertions that were made on hardware: test_nsm.py of
// dorjoy03/nsm-api, 3cdc2fa, written to be run inside a real enclave.
package nsmtest

import (
	"errors"
	"fmt"
	"syscall"
	"testing"
)

// A Grade says how it is known that a row is right.
type Grade string

// The grades, best first.
const (
	Hardware Grade = "hardware" // asserted by a suite that ran on hardware
	Source   Grade = "source"   // follows from AWS's own code or the kernel's
	Decided  Grade = "decided"  // unknown on hardware, decided by devices/nsm
)

// A Case is one request.
type Case struct {
	Name    string
	Request []byte // CBOR, or what is to be refused as such
	Want    Want   // what the module answers
	Grade   Grade

	// Errno is the error with which a Linux driver may refuse the request
	// before the module sees it; 0 if no driver does.
	Errno syscall.Errno
}

// A Want is what a reply has to be: [Error], [Reply], [PCR], [Module],
// [Document] or [Random].
type Want interface {
	// Check is nil if the reply is as wanted.
	Check(reply []byte) error
}

// A Func sends one request and returns the reply. An error that wraps a
// [syscall.Errno] is the driver's refusal; any other is a failure of the path.
type Func func(req []byte) (reply []byte, err error)

// Run sends the request and is nil if the answer is as wanted.
func (c Case) Run(do Func) error {
	reply, err := do(c.Request)
	if err != nil {
		if errno := syscall.Errno(0); errors.As(err, &errno) && c.Errno != 0 && errno == c.Errno {
			return nil
		}
		return fmt.Errorf("request of %d bytes: %w", len(c.Request), err)
	}
	if err := c.Want.Check(reply); err != nil {
		return fmt.Errorf("request %s (%s): %w", abbreviate(c.Request), c.Grade, err)
	}
	return nil
}

// Run runs the cases in their order, each as a subtest.
func Run(t *testing.T, do Func, cases []Case) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			if err := c.Run(do); err != nil {
				t.Error(err)
			}
		})
	}
}

// abbreviate is b in hexadecimal, the middle left out if it is long.
func abbreviate(b []byte) string {
	const keep = 48
	if len(b) <= 2*keep {
		return fmt.Sprintf("%x", b)
	}
	return fmt.Sprintf("%x…%x (%d bytes)", b[:keep], b[len(b)-keep:], len(b))
}
