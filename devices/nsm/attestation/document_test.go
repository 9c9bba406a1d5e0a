package attestation

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// bstr and tstr are CBOR strings of up to 65535 bytes, made by hand: this file
// shares no encoder with what it tests.
func bstr(b []byte) []byte { return head(0x40, b) }
func tstr(s string) []byte { return head(0x60, []byte(s)) }

func head(major byte, b []byte) []byte {
	switch n := len(b); {
	case n < 24:
		return append([]byte{major | byte(n)}, b...)
	case n < 256:
		return append([]byte{major | 24, byte(n)}, b...)
	default:
		return append([]byte{major | 25, byte(n >> 8), byte(n)}, b...)
	}
}

// TestWireForm builds the expected bytes by hand, from the certificates and the
// signature in the document, and compares all of them.
func TestWireForm(t *testing.T) {
	pcrs32 := registers(0, 1, 2, 4, 8)
	for i := range uint(16) {
		pcrs32[16+i] = make([]byte, pcrSize)
	}
	sparse := registers(0, 1, 2, 4)
	sparse[20] = pcr("one more")
	for _, tt := range []struct {
		name       string
		claims     Claims
		start, end []byte // of the payload
		pcrs       []byte // head of the map
	}{
		{"2021", Claims{PCRs: productionPCRs(), Encoding: Encoding2021}, []byte{0xa9}, nil, []byte{0xb0}},
		{"2025", Claims{PCRs: productionPCRs(), Encoding: Encoding2025}, []byte{0xbf}, []byte{0xff}, []byte{0xb0}},
		{"default", Claims{PCRs: productionPCRs()}, []byte{0xbf}, []byte{0xff}, []byte{0xb0}},
		{"32 PCRs", Claims{PCRs: pcrs32}, []byte{0xbf}, []byte{0xff}, []byte{0xb8, 32}},
		{"sparse PCRs", Claims{PCRs: sparse}, []byte{0xbf}, []byte{0xff}, []byte{0xb1}},
		{"one PCR", Claims{PCRs: map[uint][]byte{0: pcr("x")}}, []byte{0xbf}, []byte{0xff}, []byte{0xa1}},
		{"empty fields", Claims{PCRs: productionPCRs(), UserData: []byte{}, Nonce: []byte{}, PublicKey: []byte{}}, []byte{0xbf}, []byte{0xff}, []byte{0xb0}},
		{
			"long fields",
			Claims{PCRs: productionPCRs(), UserData: bytes.Repeat([]byte{1}, 1300), Nonce: []byte("n"), PublicKey: bytes.Repeat([]byte{2}, 294)},
			[]byte{0xbf}, []byte{0xff}, []byte{0xb0},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			raw := newTestDocument(t, newTestIssuer(t, newTestAuthority(t, Config{})), tt.claims)
			doc, err := Parse(raw)
			if err != nil {
				t.Fatal(err)
			}
			want := append([]byte{}, tt.start...)
			want = append(append(want, tstr("module_id")...), tstr("i-0a1b2c3d4e5f60718-enc0199abcdef012345")...)
			want = append(append(want, tstr("digest")...), tstr("SHA384")...)
			want = append(append(want, tstr("timestamp")...), 0x1b)
			want = binary.BigEndian.AppendUint64(want, uint64(t0.UnixMilli()))
			want = append(append(want, tstr("pcrs")...), tt.pcrs...)
			for i := range uint(32) {
				v, ok := tt.claims.PCRs[i]
				switch {
				case !ok:
					continue
				case i < 24:
					want = append(want, byte(i))
				default:
					want = append(want, 0x18, byte(i))
				}
				want = append(want, bstr(v)...)
			}
			want = append(append(want, tstr("certificate")...), bstr(doc.Certificate)...)
			want = append(append(want, tstr("cabundle")...), 0x84)
			for _, der := range doc.CABundle {
				want = append(want, bstr(der)...)
			}
			for _, f := range []struct {
				key   string
				value []byte
			}{{"public_key", tt.claims.PublicKey}, {"user_data", tt.claims.UserData}, {"nonce", tt.claims.Nonce}} {
				want = append(want, tstr(f.key)...)
				if f.value == nil {
					want = append(want, 0xf6)
				} else {
					want = append(want, bstr(f.value)...)
				}
			}
			want = append(want, tt.end...)
			envelope := append([]byte{0x84, 0x44, 0xa1, 0x01, 0x38, 0x22, 0xa0}, bstr(want)...)
			envelope = append(append(envelope, 0x58, 0x60), doc.Signature()...)
			if diff := cmp.Diff(hex.Dump(envelope), hex.Dump(raw)); diff != "" {
				t.Errorf("document (-want +got):\n%s", diff)
			}
			got := Claims{PCRs: doc.PCRs, UserData: doc.UserData, Nonce: doc.Nonce, PublicKey: doc.PublicKey, Encoding: doc.Encoding}
			if tt.claims.Encoding == EncodingDefault {
				tt.claims.Encoding = Encoding2025
			}
			if diff := cmp.Diff(tt.claims, got); diff != "" { // tells nil from empty
				t.Errorf("claims read back (-want +got):\n%s", diff)
			}
		})
	}
}

// TestDocumentSize: 4.4 to 5 KiB without optional fields is what clients size
// their buffers by.
func TestDocumentSize(t *testing.T) {
	raw := newTestDocument(t, newTestIssuer(t, newTestAuthority(t, Config{Names: NamesAWS})), Claims{PCRs: productionPCRs()})
	if len(raw) < 4350 || len(raw) > 4500 {
		t.Errorf("document has %d bytes, want about 4400 to 4470 as measured", len(raw))
	}
}

// TestDeterministic: same entropy, same clock, same bytes, whatever was asked
// for before and however often the process has signed. The sums hold on every
// machine; if one changes, so do the bytes every user of a fixed seed gets.
func TestDeterministic(t *testing.T) {
	sums := map[string]string{}
	for range 2 {
		a := newTestAuthority(t, Config{})
		b := newTestAuthority(t, Config{})
		other, err := b.Enclave(EnclaveID{InstanceID: "i-00000000000000001", SlotUID: 1, Region: "eu-west-1"})
		if err != nil {
			t.Fatal(err)
		}
		newTestDocument(t, other, Claims{PCRs: debugPCRs()})
		for _, e := range []Encoding{Encoding2021, Encoding2025} {
			c := Claims{PCRs: productionPCRs(), Nonce: []byte("nonce"), Encoding: e}
			one, two := newTestDocument(t, newTestIssuer(t, a), c), newTestDocument(t, newTestIssuer(t, b), c)
			if !bytes.Equal(one, two) {
				t.Errorf("%v: equal entropy and clock gave different documents", e)
			}
			sums[e.String()] = fmt.Sprintf("%x", sha256.Sum256(one))
		}
		sums["root"] = fmt.Sprintf("%x", sha256.Sum256(a.Root().Raw))
	}
	want := map[string]string{
		"root":                           "3f0991c17239ee6d5592d24ab59d76e5ed5fc39e5b9e9a7477ee53c755cdcc8f",
		"2021 encoding (definite map)":   "5c96116577925cb4305df28cc3bfd237987cbd9171c0e4564c8e945ab63f41f2",
		"2025 encoding (indefinite map)": "004108a997ddc055b4997d78cec7b9f8201d16069b302e79befe60a94264bc3a",
	}
	if diff := cmp.Diff(want, sums); diff != "" {
		t.Errorf("SHA-256 (-want +got):\n%s", diff)
	}

	same := newTestDocument(t, newTestIssuer(t, newTestAuthority(t, Config{})), Claims{PCRs: productionPCRs()})
	different := newTestDocument(t, newTestIssuer(t, newTestAuthority(t, Config{Entropy: entropy(2)})), Claims{PCRs: productionPCRs()})
	if bytes.Equal(same, different) {
		t.Error("different entropy gave the same document")
	}
}

// TestFingerprint: one per signed content, not per bytes.
func TestFingerprint(t *testing.T) {
	i := newTestIssuer(t, newTestAuthority(t, Config{}))
	raw := newTestDocument(t, i, Claims{PCRs: productionPCRs()})
	doc, err := Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := doc.Fingerprint(), sha512.Sum384(doc.Payload()); got != want {
		t.Errorf("fingerprint %x, want %x", got, want)
	}
	tagged, err := Parse(append([]byte{0xd2}, raw...))
	if err != nil {
		t.Fatal(err)
	}
	if tagged.Fingerprint() != doc.Fingerprint() {
		t.Error("tag 18 changes the fingerprint")
	}
	if diff := cmp.Diff(doc, tagged, cmpopts.IgnoreUnexported(Document{}), cmpopts.IgnoreFields(Document{}, "Tagged")); diff != "" {
		t.Errorf("tag 18 changes more than Tagged:\n%s", diff)
	}
}

// TestRefusedClaims: what no NSM asks for is an error, not a strange document.
func TestRefusedClaims(t *testing.T) {
	i := newTestIssuer(t, newTestAuthority(t, Config{}))
	for _, tt := range []struct {
		name   string
		claims Claims
		want   string
	}{
		{"no PCRs", Claims{}, "attestation document: no PCRs"},
		{"PCR32", Claims{PCRs: map[uint][]byte{32: pcr("")}}, "attestation document: PCR32: the last is PCR31"},
		{"PCR24 of a TPM", Claims{NitroTPM: true, PCRs: map[uint][]byte{24: pcr("")}}, "attestation document: PCR24: the last is PCR23"},
		{"short PCR", Claims{PCRs: map[uint][]byte{0: make([]byte, 32)}}, "attestation document: PCR0: 32 bytes, want 48"},
		{"unknown encoding", Claims{PCRs: productionPCRs(), Encoding: 9}, "attestation document: unknown Encoding(9)"},
		{"too large", Claims{PCRs: productionPCRs(), Nonce: make([]byte, 16<<10)}, "attestation document: encode payload: 20"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := i.Document(tt.claims)
			if err == nil || !bytes.HasPrefix([]byte(err.Error()), []byte(tt.want)) {
				t.Errorf("error %v, want %s...", err, tt.want)
			}
		})
	}
}
