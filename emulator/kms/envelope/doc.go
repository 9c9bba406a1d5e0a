// Package envelope makes CiphertextForRecipient, the form in which the key
// service answers a request that carries an attestation document: the secret,
// encrypted to the RSA key that the document names, as a CMS EnvelopedData (RFC
// 5652 section 6) that is byte for byte of the shape AWS KMS sends.
//
// The shape matters because clients are strict about it. The C library of AWS's
// enclave SDK reads the outer levels only in BER with indefinite lengths and
// everything about the recipient only with definite ones; DER, as most libraries
// write it, is refused:
//
//	ContentInfo                      SEQUENCE, indefinite
//	  id-envelopedData
//	  [0] EXPLICIT                   indefinite
//	    EnvelopedData                SEQUENCE, indefinite
//	      version 2
//	      RecipientInfos             SET, definite
//	        KeyTransRecipientInfo    SEQUENCE
//	          version 2
//	          [0] subjectKeyIdentifier   SHA-256 of the SubjectPublicKeyInfo
//	          id-RSAES-OAEP          SHA-256, MGF1 with SHA-256, empty label (RFC 4055 section 4.1)
//	          encryptedKey           the 32-byte content-encryption key
//	      EncryptedContentInfo       SEQUENCE, indefinite
//	        id-data
//	        aes256-CBC, IV           RFC 3565 section 4.1
//	        [0] encryptedContent     see [Form]; PKCS #7 padding (RFC 5652 section 6.3)
//
// For a 32-byte secret and an RSA-2048 key that is 493 bytes. EnvelopedData is
// not authenticated: who holds the public key can make one. What protects a
// client from a forged answer is TLS to the key service.
//
// The other end is guest/envelope.
package envelope
