// Package kms is an emulated AWS Key Management Service that gives keys to
// attested enclaves and to nobody else.
//
// A [Service] is an [net/http.Handler] that speaks the protocol of the real
// service (awsJson1.1 over HTTP/1.1, SigV4), with the types of
// github.com/aws/aws-sdk-go-v2/service/kms as its messages; the tests talk to it
// with that SDK, unmodified. Key material is in package keys, the CMS envelope for
// an enclave in package envelope, policies in packages iam and iam/policy,
// signatures in package sigv4. What is here is the front: messages and their
// limits, who may do what, the attestation document of a Recipient, the audit log,
// and faults for tests.
//
// # Recipient
//
// Decrypt, DeriveSharedSecret, GenerateDataKey, GenerateDataKeyPair and
// GenerateRandom take a Recipient. Its document is verified by package
// devices/nsm/attestation against Config.Roots at Config.Clock, must be no older
// than Config.Window, and must carry an RSA key of 2048 to 4096 bits. Its PCRs
// become the condition keys kms:RecipientAttestation:ImageSha384 and
// kms:RecipientAttestation:PCR<n>, lower-case hex. The answer has
// CiphertextForRecipient and never a plaintext member.
//
// A document of an EC2 instance with a NitroTPM sets the keys
// kms:RecipientAttestation:NitroTPMPCR<n>, and those alone; that of an enclave sets
// none of them. A statement that needs a key of the other kind allows nothing.
//
// # What is a guess
//
// AWS documents neither the error for a document that does not verify nor a
// limit on its age. Config.DocumentError and Config.Window are the settings; the
// defaults are ValidationException and five minutes.
//
// # What is not here
//
// Grants, multi-Region keys, imported key material, custom and external key
// stores, ML-KEM, ML-DSA, Ed25519, SM2 and secp256k1 keys are refused with
// UnsupportedOperationException. All keys belong to one account; principals of
// other accounts use them by ARN, if both sides' policies allow it.
package kms
