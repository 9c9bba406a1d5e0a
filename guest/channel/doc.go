// Package channel is an attested channel: a TLS session whose far end has proved
// by an attestation document which enclave it ends in, so that nobody between,
// the parent first of all, can read what is said or pose as the enclave.
//
// The enclave makes a key pair when it starts and signs its own certificate, which
// says nothing. Over a stream, usually vsock port 5443 of the enclave:
//
//  1. TLS 1.3 with ALPN "nitrolab-channel/1"; the client checks no name and no
//     chain. That the server has the private key is proved by the handshake.
//  2. The client sends a nonce of 32 bytes, the server answers with a document:
//     the question and the answer of package ask.
//  3. The client verifies the document ([attestation.Verify]), and that
//     public_key is the SubjectPublicKeyInfo of the session's certificate, nonce
//     its own, and user_data the SHA-256 of a label and of the session's exporter
//     value (RFC 9266 section 2), which both ends of this one session know.
//  4. Frames in both directions: four bytes of length, big-endian, and content.
//
// Public_key alone would do against who has no key of the enclave, nonce alone
// against who has old documents only; user_data ties the document to this session
// even if the key is known: whoever passes messages on between two sessions has
// two different exporter values.
//
// No byte of the client's but the nonce goes out before step 3 is done.
package channel
