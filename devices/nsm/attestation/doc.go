// Package attestation makes and checks attestation documents of Nitro Enclaves.
//
// An [Authority] is an emulated attestation PKI: root, regional, zonal,
// instance and leaf certificate, P-384 and ECDSA with SHA-384 throughout, in
// the shapes measured on genuine documents of 2021 to 2025. An [Issuer] is the
// part of it that signs for one enclave. [Parse] reads a document, [Verify]
// decides about one, by AWS's list (nsm-api docs/attestation_process.md) and
// more strictly where fielded verifiers are known to be too lenient.
//
// The root of an Authority is not AWS's and never can be: it is another key,
// whatever names its certificates carry.
package attestation
