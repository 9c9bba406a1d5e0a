// Package envelope opens CiphertextForRecipient, the form in which a key service
// answers an enclave: a CMS EnvelopedData (RFC 5652 section 6) encrypted to the
// RSA key that the enclave put into its attestation document.
//
// AWS KMS writes it in BER with indefinite lengths on the outer levels and the
// content split into OCTET STRINGs; emulators and test tools write DER with the
// content in one piece. [Open] reads both, any mixture of the two, and nothing
// else: one recipient, named by the SHA-256 of our SubjectPublicKeyInfo, OAEP with
// SHA-256 throughout, AES-256-CBC, no optional fields, no trailing bytes. An
// envelope is at most [MaxSize] bytes and its nesting is that of the structure, so
// a hostile one costs little.
//
// EnvelopedData is not authenticated. Our public key is in a document that our
// parent may have read, so it can make an envelope that opens. What says that the
// secret is the key service's is the TLS session it came in, and package kmsclient
// looks after that.
package envelope
