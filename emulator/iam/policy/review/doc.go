// Package review finds what a policy for the key of an enclave gets wrong.
//
// It asks two questions. [Table] plays the requests that matter, the attested
// image and everything that is not it, against the policy, and says which would
// be given a key. [Policy] reads the policy itself and says what in it is a way
// around the attestation, or keeps the enclave out.
//
// Conditions on keys about which nothing is known (an encryption context, an
// address, a tag) are taken to go the requester's way: what is called denied is
// denied whatever those are.
package review
