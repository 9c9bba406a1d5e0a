// Package supervisor keeps an enclave alive after `nitrolab run-enclave` has
// returned, as nitro-cli's enclave process does, and lets later commands find
// it: one process and one state directory per enclave, with a control socket
// that only its owner may open. There is no daemon: the last enclave's end
// leaves nothing.
package supervisor

import (
	"github.com/nitrolab/nitrolab/emulator"
)

// The control protocol is HTTP over the unix socket in the state directory.
//
//	GET  /enclave            one Description as JSON
//	POST /terminate          ends the enclave; answers when it is gone
//	GET  /console?follow=1   the console so far, then as it grows
//	GET  /dial?port=N        upgrades to one vsock stream to port N of the enclave
const (
	pathEnclave   = "/enclave"
	pathTerminate = "/terminate"
	pathConsole   = "/console"
	pathDial      = "/dial"

	socketName = "control.sock"

	// upgradeVsock names what the connection of a dial becomes.
	upgradeVsock = "vsock"
)

// A Description is what a supervisor says of its enclave.
type Description struct {
	Enclave emulator.EnclaveInfo
	// RootPEM is the certificate that its documents chain up to.
	RootPEM string
	// EIFPath is the image as it was named at the start.
	EIFPath string
	// Forwards are the forwards with the addresses really listened on.
	Forwards []string
}
