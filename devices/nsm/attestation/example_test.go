package attestation_test

import (
	"bytes"
	"crypto/sha512"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/nitrolab/nitrolab/devices/nsm/attestation"
)

// A document is issued for an enclave in debug mode and shown to a verifier
// that expects a measured image.
func ExampleVerify() {
	now := time.Date(2026, time.November, 23, 9, 51, 41, 0, time.UTC)
	authority, err := attestation.NewAuthority(attestation.Config{
		Clock:   func() time.Time { return now },
		Entropy: bytes.NewReader(make([]byte, 48)), // for tests that want the same bytes each time
	})
	if err != nil {
		panic(err)
	}
	issuer, err := authority.Enclave(attestation.EnclaveID{
		InstanceID: "i-0a1b2c3d4e5f60718", SlotUID: 0x0199abcdef012345, Region: "us-east-1",
	})
	if err != nil {
		panic(err)
	}
	zero := make([]byte, sha512.Size384)
	document, err := issuer.Document(attestation.Claims{
		PCRs:  map[uint][]byte{0: zero, 1: zero, 2: zero},
		Nonce: []byte("from the verifier"),
	})
	if err != nil {
		panic(err)
	}

	image := sha512.Sum384([]byte("image"))
	result, err := attestation.Verify(document, attestation.Options{
		Roots: []*x509.Certificate{authority.Root()},
		PCRs:  map[uint][]byte{0: image[:]},
		Nonce: []byte("from the verifier"),
		Time:  now.Add(3 * time.Second),
	})
	for _, check := range result.Checks {
		if check.Status != attestation.Skipped {
			fmt.Printf("%-9s  %-4v  %s\n", check.Name, check.Status, check.Detail)
		}
	}
	fmt.Println("refused:", err != nil)

	// Output:
	// format     ok    COSE_Sign1, untagged, 2025 encoding (indefinite map), 3 PCRs
	// signature  ok    ES384, leaf serial 0199abcdef012345000000006b040cad
	// chain      ok    5 certificates, up to pinned root certificate "nitrolab-emulated.nitro-enclaves"
	// validity   ok    all valid at 2026-11-23T09:51:44Z, leaf for another 2h59m57s
	// digest     ok    SHA384
	// timestamp  ok    2026-11-23T09:51:41.000Z
	// fields     ok    nonce 17 bytes
	// debug      FAIL  PCR0, PCR1, PCR2 zero or absent: the enclave ran in debug mode
	// PCR0       FAIL  expected 7158…8c, found 0000…00: the enclave ran in debug mode
	// nonce      ok    6672…72, as expected
	// refused: true
}
