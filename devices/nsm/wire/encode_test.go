package wire_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/devices/nsm/wire"
)

// bin is the bytes written in s, in hexadecimal with spaces.
func bin(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const (
	zero48  = "000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
	zero256 = zero48 + zero48 + zero48 + zero48 + zero48 + "00000000000000000000000000000000"
)

// The bytes are those of AWS's clients (enclave-abi.md, section 2.1).
var requests = []struct {
	name string
	req  wire.Request
	want string
}{
	{"DescribeNSM", wire.DescribeNSM{}, "6b 44657363726962654e534d"},
	{"GetRandom", wire.GetRandom{}, "69 47657452616e646f6d"},
	{"DescribePCR", wire.DescribePCR{}, "a1 6b 4465736372696265504352 a1 65 696e646578 00"},
	{"DescribePCR 24", wire.DescribePCR{Index: 24}, "a1 6b 4465736372696265504352 a1 65 696e646578 1818"},
	{"DescribePCR 65535", wire.DescribePCR{Index: 65535}, "a1 6b 4465736372696265504352 a1 65 696e646578 19ffff"},
	{"ExtendPCR", wire.ExtendPCR{Index: 16, Data: []byte{1, 2}}, "a1 69 457874656e64504352 a2 65 696e646578 10 64 64617461 42 0102"},
	{"ExtendPCR empty", wire.ExtendPCR{Index: 16, Data: []byte{}}, "a1 69 457874656e64504352 a2 65 696e646578 10 64 64617461 40"},
	{"LockPCR", wire.LockPCR{Index: 16}, "a1 67 4c6f636b504352 a1 65 696e646578 10"},
	{"LockPCRs", wire.LockPCRs{Range: 32}, "a1 68 4c6f636b50435273 a1 65 72616e6765 1820"},
	{
		"Attestation null", wire.Attestation{},
		"a1 6b 4174746573746174696f6e a3 69 757365725f64617461 f6 65 6e6f6e6365 f6 6a 7075626c69635f6b6579 f6",
	},
	{
		"Attestation", wire.Attestation{UserData: []byte{1}, Nonce: []byte{}, PublicKey: []byte{2, 3}},
		"a1 6b 4174746573746174696f6e a3 69 757365725f64617461 41 01 65 6e6f6e6365 40 6a 7075626c69635f6b6579 42 0203",
	},
}

func TestRequestBytes(t *testing.T) {
	for _, tt := range requests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := wire.AppendRequest([]byte("kept"), tt.req)
			if err != nil {
				t.Fatal(err)
			}
			want := append([]byte("kept"), bin(t, tt.want)...)
			if !bytes.Equal(got, want) {
				t.Errorf("got  %x\nwant %x", got, want)
			}
			back, err := wire.DecodeRequest(got[4:])
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.req, back); d != "" {
				t.Errorf("decoded again (-want +got):\n%s", d)
			}
		})
	}
}

func TestExtendPCRWithoutDataSendsNoBytes(t *testing.T) {
	got, err := wire.AppendRequest(nil, wire.ExtendPCR{Index: 16})
	if err != nil {
		t.Fatal(err)
	}
	if want := bin(t, "a1 69 457874656e64504352 a2 65 696e646578 10 64 64617461 40"); !bytes.Equal(got, want) {
		t.Errorf("got %x, want %x: null is InvalidOperation", got, want)
	}
}

// The bytes are those of enclave-abi.md, section 2.2.
var responses = []struct {
	name string
	resp wire.Response
	want string
}{
	{"DescribePCR", wire.DescribePCRResponse{Lock: true}, "a1 6b 4465736372696265504352 a2 64 6c6f636b f5 64 64617461 5830" + zero48},
	{"ExtendPCR", wire.ExtendPCRResponse{}, "a1 69 457874656e64504352 a1 64 64617461 5830" + zero48},
	{"LockPCR", wire.LockPCRResponse{}, "67 4c6f636b504352"},
	{"LockPCRs", wire.LockPCRsResponse{}, "68 4c6f636b50435273"},
	{
		"DescribeNSM",
		wire.DescribeNSMResponse{VersionMajor: 1, ModuleID: "i-0", MaxPCRs: 32, LockedPCRs: []uint16{0, 23, 24}, Digest: "SHA384"},
		"a1 6b 44657363726962654e534d a7 6d 76657273696f6e5f6d616a6f72 01 6d 76657273696f6e5f6d696e6f72 00" +
			"6d 76657273696f6e5f7061746368 00 69 6d6f64756c655f6964 63 692d30 68 6d61785f70637273 1820" +
			"6b 6c6f636b65645f70637273 83 00 17 1818 66 646967657374 66 534841333834",
	},
	{
		"DescribeNSM none locked",
		wire.DescribeNSMResponse{Digest: "SHA512", LockedPCRs: []uint16{}},
		"a1 6b 44657363726962654e534d a7 6d 76657273696f6e5f6d616a6f72 00 6d 76657273696f6e5f6d696e6f72 00" +
			"6d 76657273696f6e5f7061746368 00 69 6d6f64756c655f6964 60 68 6d61785f70637273 00" +
			"6b 6c6f636b65645f70637273 80 66 646967657374 66 534841353132",
	},
	{"Attestation", wire.AttestationResponse{Document: []byte{0x84, 0x44}}, "a1 6b 4174746573746174696f6e a1 68 646f63756d656e74 42 8444"},
	{
		// The kernel compares the 19 bytes before the length.
		"GetRandom", wire.GetRandomResponse{Random: make([]byte, wire.RandomSize)},
		"a1 69 47657452616e646f6d a1 66 72616e646f6d 590100" + zero256,
	},
}

func TestResponseBytes(t *testing.T) {
	for _, tt := range responses {
		t.Run(tt.name, func(t *testing.T) {
			got, err := wire.AppendResponse([]byte("kept"), tt.resp)
			if err != nil {
				t.Fatal(err)
			}
			want := append([]byte("kept"), bin(t, tt.want)...)
			if !bytes.Equal(got, want) {
				t.Errorf("got  %x\nwant %x", got, want)
			}
			back, err := wire.DecodeResponse(got[4:])
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.resp, back); d != "" {
				t.Errorf("decoded again (-want +got):\n%s", d)
			}
		})
	}
}

func TestNilListsOfRepliesAreEmpty(t *testing.T) {
	for _, tt := range []struct {
		resp wire.Response
		want wire.Response
	}{
		{wire.AttestationResponse{}, wire.AttestationResponse{Document: []byte{}}},
		{wire.GetRandomResponse{}, wire.GetRandomResponse{Random: []byte{}}},
		{wire.DescribeNSMResponse{Digest: "SHA384"}, wire.DescribeNSMResponse{Digest: "SHA384", LockedPCRs: []uint16{}}},
	} {
		b, err := wire.AppendResponse(nil, tt.resp)
		if err != nil {
			t.Fatal(err)
		}
		got, err := wire.DecodeResponse(b)
		if err != nil {
			t.Fatalf("%x: %v", b, err)
		}
		if d := cmp.Diff(tt.want, got); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	}
}

func TestErrorBytes(t *testing.T) {
	// Names and numbers of nsm-lib, in its order.
	names := []string{
		"Success", "InvalidArgument", "InvalidIndex", "InvalidResponse", "ReadOnlyIndex",
		"InvalidOperation", "BufferTooSmall", "InputTooLarge", "InternalError",
	}
	for i, name := range names {
		code := wire.ErrorCode(i)
		t.Run(name, func(t *testing.T) {
			if code.String() != name {
				t.Errorf("code %d is %s, want %s", i, code, name)
			}
			got, err := wire.AppendResponse(nil, code)
			if err != nil {
				t.Fatal(err)
			}
			want := append(bin(t, "a1 65 4572726f72"), byte(0x60+len(name)))
			want = append(want, name...)
			if !bytes.Equal(got, want) {
				t.Errorf("got  %x\nwant %x", got, want)
			}
			if _, err := wire.DecodeResponse(got); !errors.Is(err, code) || errors.Is(err, wire.ErrMalformed) {
				t.Errorf("decoded again: %v, want %v", err, code)
			}
		})
	}
	if got := wire.ErrorCode(len(names)).String(); got != "ErrorCode(9)" {
		t.Errorf("code beyond the last is %s", got)
	}
}

func TestAppendResponseReusesItsBuffer(t *testing.T) {
	buf := make([]byte, 0, wire.MaxResponse)
	got, err := wire.AppendResponse(buf, wire.DescribePCRResponse{})
	if err != nil {
		t.Fatal(err)
	}
	if &got[0] != &buf[:1][0] {
		t.Error("reply is not in the buffer that had room for it")
	}
}
