// Package vsockproxy carries connections of an enclave to one TCP service: what
// runs in a parent instance on vsock CID 3 port 8000 so that an enclave, which has
// no network, reaches kms.<region>.amazonaws.com. guest/cmd/vsock-proxy is the
// program, with the command line of AWS's program of this name (vsock_proxy of
// aws-nitro-enclaves-cli 1.5.0).
//
// The proxy sees what the parent sees: an enclave that talks TLS shows it
// ciphertext. Whom it may connect to is in a file, the [Allowlist]; that protects
// the parent's network from its enclaves, not the enclaves.
//
// It differs from AWS's program where that is known to fail: the end of one
// direction is passed on and the other one goes on, both directions move at the
// same time so that a full one does not stop the other, a name that does not resolve
// fails one connection and not the program, all addresses of a name are tried, and
// SIGTERM ends connections in order. A name is resolved anew for each connection.
package vsockproxy
