// Package kmsclient asks AWS KMS, or an emulator of it, for secrets that only an
// attested enclave gets: the unmodified AWS SDK for Go, over vsock to the proxy in
// the parent, with TLS from end to end and an attestation document as Recipient.
//
// Each call makes a document with the client's RSA public key in it, sends the
// request, and opens CiphertextForRecipient (package envelope). What the parent can
// do to it is refuse to carry it: it sees ciphertext of a session with the name
// kms.<region>.amazonaws.com under a pinned root, and an answer that is not sealed
// to the client's key is refused, never used. There is no second way to a secret.
//
// A request is tried a few times, within one limit of time, after throttling,
// server errors, resets and timeouts; a refusal is final at once. See [Client].
package kmsclient
