// Package supervisor keeps an enclave alive after `nitrolab run-enclave` has
// returned, as nitro-cli's enclave process does, and lets later commands find
// it: one process and one state directory per enclave, with a control socket
// that only its owner may open. There is no daemon: the last enclave's end
// leaves nothing.
package supervisor

import (
	"bytes"
	"encoding/json"
	"io"

	"github.com/nitrolab/nitrolab/emulator"
)

// The control protocol is HTTP over the unix socket in the state directory.
//
//	GET  /enclave            one Description as JSON
//	POST /terminate          ends the enclave; answers when it is gone
//	GET  /console?follow=1   the console so far, then as it grows
//	GET  /dial?port=N        upgrades to one vsock stream to port N of the enclave
//
// A refusal is a sentence for people as plain text. 503 of a dial says that the
// enclave's kernel refused the connection: nobody listens on the port.
const (
	pathEnclave   = "/enclave"
	pathTerminate = "/terminate"
	pathConsole   = "/console"
	pathDial      = "/dial"

	socketName = "control.sock"

	// upgradeVsock names what the connection of a dial becomes.
	upgradeVsock = "vsock"
)

// maxDescription bounds a Description as JSON. Nearly all of it is the image's
// metadata, of which package eif loads at most 4 MiB; a control character of it
// is six characters here.
const maxDescription = 32 << 20

// A Description is what a supervisor says of its enclave.
type Description struct {
	// Enclave is without Metadata, which is below.
	Enclave emulator.EnclaveInfo
	// Metadata is the image's as nitro-cli prints it, nil if there is none. It is
	// text because the user's own keys stand beside the fixed ones in it.
	Metadata json.RawMessage `json:",omitempty"`
	// RootPEM is the certificate that its documents chain up to.
	RootPEM string
	// EIFPath is the image as it was named at the start.
	EIFPath string
	// Forwards are the forwards with the addresses really listened on.
	Forwards []string
}

// describe makes the part of a Description that is the enclave's.
func describe(info emulator.EnclaveInfo) Description {
	d := Description{Enclave: info}
	if info.Metadata != nil {
		var b bytes.Buffer
		if newEncoder(&b).Encode(info.Metadata) == nil { // what cannot be printed is left out
			d.Metadata = b.Bytes()
		}
	}
	d.Enclave.Metadata = nil
	return d
}

// newEncoder writes JSON without escapes for HTML, which nitro-cli does not have
// either.
func newEncoder(w io.Writer) *json.Encoder {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e
}
