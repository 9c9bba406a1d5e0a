// Package vectors makes a corpus of attestation documents, good and hostile,
// each with the verdict that a correct verifier gives, to try any verifier in
// any language.
//
// [Generate] makes the corpus from a seed: equal seeds give equal bytes.
// [Write] puts it into a directory, [Read] reads one back and believes nothing
// in it. The emulator's own verifier (devices/nsm/attestation) is tried with it
// in this package's tests, and package run drives others.
//
// Nothing here is AWS's: every key comes from the seed, and every root that a
// case tells a verifier to trust says in its subject that it is emulated.
// Documents and certificates are put together byte by byte here, and not by the
// code that issues them for emulated enclaves, so that the two check each other.
package vectors
