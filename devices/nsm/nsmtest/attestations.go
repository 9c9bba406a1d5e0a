package nsmtest

import (
	"bytes"

	"github.com/nitrolab/nitrolab/devices/nsm/wire"
)

// Attestations are requests that make a document, after Locks.
func Attestations() []Case {
	a, b, c := []byte{2, 3, 10, 88, 45, 32}, []byte{22, 13, 1, 8, 54, 23}, []byte{0, 1, 2, 3, 4, 5, 8}
	empty, kilo := []byte{}, bytes.Repeat([]byte{128}, 1024)
	// Both make a request of exactly wire.MaxRequest bytes.
	longKey, longNonce := make([]byte, 4050), make([]byte, 4073)

	cases := []Case{
		{Name: "document without fields", Request: variant("Attestation")},
		{Name: "document, unknown fields only", Request: variant("Attestation", "Unknown1", text("hello"), "Unknown2", text("world"))},
		{Name: "document, public_key null", Request: variant("Attestation", "public_key", null)},
		{Name: "document, public_key and user_data null", Request: variant("Attestation", "public_key", null, "user_data", null)},
		{Name: "document, all null", Request: variant("Attestation", "public_key", null, "user_data", null, "nonce", null)},
		{Name: "document, all empty", Request: variant("Attestation",
			"nonce", byteString(nil), "user_data", byteString(nil), "public_key", byteString(nil)),
			Want: Document{PublicKey: empty, UserData: empty, Nonce: empty}},
		{Name: "document, empty texts", Request: variant("Attestation", "nonce", text(""), "user_data", text("")),
			Want: Document{UserData: empty, Nonce: empty}, Grade: Decided},
		{Name: "document with public_key", Request: variant("Attestation", "nonce", null, "user_data", null, "public_key", byteString(a)),
			Want: Document{PublicKey: a}},
		{Name: "document with user_data", Request: variant("Attestation", "public_key", null, "nonce", null, "user_data", byteString(b)),
			Want: Document{UserData: b}},
		{Name: "document with nonce", Request: variant("Attestation", "public_key", null, "nonce", byteString(c), "user_data", null),
			Want: Document{Nonce: c}},
		{Name: "document with all", Request: variant("Attestation", "public_key", byteString(a), "user_data", byteString(b), "nonce", byteString(c)),
			Want: Document{PublicKey: a, UserData: b, Nonce: c}},
		{Name: "document with texts", Request: variant("Attestation", "public_key", text("hello"), "user_data", text("world"), "nonce", text("something")),
			Want: Document{PublicKey: []byte("hello"), UserData: []byte("world"), Nonce: []byte("something")}},
		{Name: "document with bytes and texts", Request: variant("Attestation", "public_key", byteString(a), "user_data", text("world"), "nonce", text("something")),
			Want: Document{PublicKey: a, UserData: []byte("world"), Nonce: []byte("something")}},
		{Name: "document with bytes in chunks", Request: variant("Attestation",
			"nonce", []byte{majorBytes | indefinite, 0x41, 0x01, 0x40, 0x42, 0x02, 0x03, stop}),
			Want: Document{Nonce: []byte{1, 2, 3}}, Grade: Decided},
		{Name: "document with 1024 bytes in each", Request: variant("Attestation",
			"user_data", byteString(kilo), "nonce", byteString(kilo), "public_key", byteString(kilo)),
			Want: Document{UserData: kilo, Nonce: kilo, PublicKey: kilo}, Grade: Source},
		{Name: "document with public_key of 4050 bytes", Request: variant("Attestation",
			"public_key", byteString(longKey), "user_data", null, "nonce", null),
			Want: Document{PublicKey: longKey}},
		{Name: "document with nonce of 4073 bytes", Request: variant("Attestation", "nonce", byteString(longNonce)),
			Want: Document{Nonce: longNonce}},
	}
	for i := range cases {
		w, _ := cases[i].Want.(Document) // none is the document without fields
		w.Locked = 20
		w.PCRs = map[uint16]wire.PCR{16: pcr16[1], 17: pcr17[3], 18: {}, 19: {}}
		cases[i].Want = w
		if cases[i].Grade == "" {
			cases[i].Grade = Hardware
		}
	}
	return cases
}
