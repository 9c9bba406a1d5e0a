// Package supervisor keeps an enclave or a parent instance alive after `nitrolab
// run-enclave` or `nitrolab launch` has returned, as nitro-cli's enclave process
// does, and lets later commands find it: one process and one state directory for
// each, with a control socket that only its owner may open. There is no daemon: the
// last one's end leaves nothing.
package supervisor

import (
	"encoding/json"
	"io"
)

// The control protocol is HTTP over the unix socket in the state directory. Behind
// it is one guest, which is an enclave or an instance.
//
//	GET  /enclave            one Description as JSON; 404 if the guest is an instance
//	GET  /instance           likewise; 404 if it is an enclave
//	POST /terminate          ends the guest; answers when it is gone
//	GET  /console?follow=1   the console so far, then as it grows
//	GET  /dial?port=N        upgrades to one vsock stream to port N of the guest: from
//	                         its parent, CID 3, if it is an enclave; from the Host,
//	                         CID 2, if it is an instance
//
// A refusal is a sentence for people as plain text. 503 of a dial says that the
// guest's kernel refused the connection: nobody listens on the port.
const (
	pathEnclave   = "/enclave"
	pathInstance  = "/instance"
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

// newEncoder writes JSON without escapes for HTML, which nitro-cli does not have
// either.
func newEncoder(w io.Writer) *json.Encoder {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e
}
