// Package enclaveproc is the process that nitro-cli leaves behind for each
// enclave: it starts the enclave, holds its descriptor, answers commands on a
// unix socket, and ends when the enclave ends.
//
// An enclave lives as long as the descriptor that the driver gave for it, so
// whoever holds it must outlive nitro-cli run-enclave. [Serve] is all of such a
// process; it talks to the nitro-cli that made it over a socket pair, and to
// later ones over the file SLOT.sock in the sockets directory, in the protocol
// of package wire.
package enclaveproc
