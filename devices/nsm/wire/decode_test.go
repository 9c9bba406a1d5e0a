package wire_test

import (
	"bytes"
	"errors"
	"runtime"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nitrolab/nitrolab/devices/nsm/wire"
)

// What is refused and what is accepted is in nsmtest.Matrix, which runs over
// the device; here is what the accepted requests mean.
func TestDecodeRequestLeniently(t *testing.T) {
	for _, tt := range []struct {
		name string
		req  string
		want wire.Request
	}{
		{"index in 8 bytes", "a1 6b 4465736372696265504352 a1 65 696e646578 1b0000000000000111", wire.DescribePCR{Index: 0x111}},
		{"index beyond the bank", "a1 67 4c6f636b504352 a1 65 696e646578 19ffff", wire.LockPCR{Index: 65535}},
		{"text for bytes", "a1 69 457874656e64504352 a2 65 696e646578 10 64 64617461 62 c3a9", wire.ExtendPCR{Index: 16, Data: []byte("é")}},
		{"empty text for bytes", "a1 69 457874656e64504352 a2 65 696e646578 10 64 64617461 60", wire.ExtendPCR{Index: 16, Data: []byte{}}},
		{"fields in another order", "a1 69 457874656e64504352 a2 64 64617461 41 07 65 696e646578 10", wire.ExtendPCR{Index: 16, Data: []byte{7}}},
		{"length in 8 bytes", "a1 69 457874656e64504352 a2 65 696e646578 10 64 64617461 5b0000000000000001 07", wire.ExtendPCR{Index: 16, Data: []byte{7}}},
		{"chunks", "bf 69 457874656e64504352 bf 65 696e646578 10 64 64617461 5f 41 07 41 08 ff ff ff", wire.ExtendPCR{Index: 16, Data: []byte{7, 8}}},
		{"null and absent", "a1 6b 4174746573746174696f6e a1 65 6e6f6e6365 f6", wire.Attestation{}},
		{"empty is not null", "a1 6b 4174746573746174696f6e a2 65 6e6f6e6365 40 69 757365725f64617461 60", wire.Attestation{Nonce: []byte{}, UserData: []byte{}}},
		{"unknown keys of any type", "a1 68 4c6f636b50435273 a4 01 02 41 03 f6 65 72616e6765 14 80 a0", wire.LockPCRs{Range: 20}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := wire.DecodeRequest(bin(t, tt.req))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

func TestDecodeRequestDoesNotKeepItsInput(t *testing.T) {
	req := bin(t, "a1 69 457874656e64504352 a2 65 696e646578 10 64 64617461 42 0102")
	got, err := wire.DecodeRequest(req)
	if err != nil {
		t.Fatal(err)
	}
	clear(req)
	if d := cmp.Diff(wire.ExtendPCR{Index: 16, Data: []byte{1, 2}}, got); d != "" {
		t.Errorf("request changed with the buffer (-want +got):\n%s", d)
	}
}

// A length that lies must not cost memory: a request of a dozen bytes claims
// 2^31 of data, then a map and an array of as many elements.
func TestDecodeRequestAllocatesByTheBytesItHas(t *testing.T) {
	for _, req := range []string{
		"a1 69 457874656e64504352 a2 65 696e646578 10 64 64617461 5a 7fffffff 00",
		"a1 69 457874656e64504352 ba 7fffffff",
		"a1 6b 4174746573746174696f6e a1 61 78 9a 7fffffff",
	} {
		b := bin(t, req)
		const runs = 100
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range runs {
			if _, err := wire.DecodeRequest(b); !errors.Is(err, wire.InvalidOperation) {
				t.Fatalf("%s: %v, want InvalidOperation", req, err)
			}
		}
		runtime.ReadMemStats(&after)
		if n := (after.TotalAlloc - before.TotalAlloc) / runs; n > 4096 {
			t.Errorf("%s: %d bytes allocated", req, n)
		}
	}
}

func TestDecodeResponseRefusesMalformed(t *testing.T) {
	nsm := "76657273696f6e5f6d616a6f72 01 6d 76657273696f6e5f6d696e6f72 00 6d 76657273696f6e5f7061746368 00 69 6d6f64756c655f6964 60" +
		"68 6d61785f70637273 1820 6b 6c6f636b65645f70637273 "
	for _, tt := range []struct{ name, reply string }{
		{"empty", ""},
		{"not CBOR", "ffffffff"},
		{"null", "f6"},
		{"unknown name", "61 78"},
		{"unknown variant", "a1 61 78 a0"},
		{"name of a request without a reply of its own", "69 47657452616e646f6d"},
		{"two entries", "a2 65 4572726f72 67 53756363657373 61 78 00"},
		{"trailing byte", "67 4c6f636b504352 00"},
		{"tagged", "c0 67 4c6f636b504352"},
		{"error of unknown code", "a1 65 4572726f72 61 78"},
		{"error as number", "a1 65 4572726f72 02"},
		{"error as bytes", "a1 65 4572726f72 47 53756363657373"},
		{"PCR without lock", "a1 6b 4465736372696265504352 a1 64 64617461 5830" + zero48},
		{"PCR without data", "a1 6b 4465736372696265504352 a1 64 6c6f636b f5"},
		{"PCR data null", "a1 6b 4465736372696265504352 a2 64 6c6f636b f5 64 64617461 f6"},
		{"PCR lock null", "a1 6b 4465736372696265504352 a2 64 6c6f636b f6 64 64617461 5830" + zero48},
		{"PCR lock number", "a1 6b 4465736372696265504352 a2 64 6c6f636b 01 64 64617461 5830" + zero48},
		{"PCR of 47 bytes", "a1 69 457874656e64504352 a1 64 64617461 582f" + zero48[2:]},
		{"PCR of 49 bytes", "a1 69 457874656e64504352 a1 64 64617461 5831 00" + zero48},
		{"PCR as text", "a1 69 457874656e64504352 a1 64 64617461 7830" + zero48},
		{"PCR as array", "a1 69 457874656e64504352 a1 64 64617461 9830" + zero48},
		{"field unknown", "a1 69 457874656e64504352 a2 64 64617461 5830" + zero48 + "61 78 00"},
		{"field twice", "a1 6b 4465736372696265504352 a3 64 6c6f636b f5 64 6c6f636b f5 64 64617461 5830" + zero48},
		{"field in upper case", "a1 69 457874656e64504352 a1 64 44415441 5830" + zero48},
		{"fields null", "a1 69 457874656e64504352 f6"},
		{"document text", "a1 6b 4174746573746174696f6e a1 68 646f63756d656e74 61 78"},
		{"document null", "a1 6b 4174746573746174696f6e a1 68 646f63756d656e74 f6"},
		{"random missing", "a1 69 47657452616e646f6d a0"},
		{"random array", "a1 69 47657452616e646f6d a1 66 72616e646f6d 81 01"},
		{"indexes descending", "a1 6b 44657363726962654e534d a7 6d" + nsm + "82 01 00 66 646967657374 66 534841333834"},
		{"indexes equal", "a1 6b 44657363726962654e534d a7 6d" + nsm + "82 01 01 66 646967657374 66 534841333834"},
		{"index null", "a1 6b 44657363726962654e534d a7 6d" + nsm + "81 f6 66 646967657374 66 534841333834"},
		{"digest unknown", "a1 6b 44657363726962654e534d a7 6d" + nsm + "80 66 646967657374 64 53484131"},
		{"digest missing", "a1 6b 44657363726962654e534d a6 6d" + nsm + "80"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := wire.DecodeResponse(bin(t, tt.reply))
			if !errors.Is(err, wire.ErrMalformed) {
				t.Errorf("got %v, %v; want ErrMalformed", r, err)
			}
			if code := wire.ErrorCode(0); errors.As(err, &code) {
				t.Errorf("a malformed reply passes for the module's verdict %v", code)
			}
		})
	}
}

func TestDecodeResponseLimitsLength(t *testing.T) {
	reply := func(n int) []byte {
		b, err := wire.AppendResponse(nil, wire.AttestationResponse{Document: make([]byte, n)})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	const around = 26 // bytes of the reply that are not the document
	if _, err := wire.DecodeResponse(reply(wire.MaxResponse - around)); err != nil {
		t.Errorf("longest reply: %v", err)
	}
	if _, err := wire.DecodeResponse(reply(wire.MaxResponse - around + 1)); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("too long a reply: %v, want ErrMalformed", err)
	}
}

func TestParseErrorCode(t *testing.T) {
	if c, ok := wire.ParseErrorCode("ReadOnlyIndex"); !ok || c != wire.ReadOnlyIndex {
		t.Errorf("ReadOnlyIndex is %v, %t", c, ok)
	}
	if _, ok := wire.ParseErrorCode("readonlyindex"); ok {
		t.Error("a name in lower case is a code")
	}
}

func FuzzDecodeRequest(f *testing.F) {
	for _, tt := range requests {
		f.Add(bin(f, tt.want))
	}
	f.Add(bin(f, "bf 6b 4465736372696265504352 bf 01 02 65 696e646578 1b0000000000000005 ff ff"))
	f.Add(bin(f, "a1 69 457874656e64504352 a2 64 64617461 7f 61 61 61 62 ff 65 696e646578 10"))
	f.Fuzz(func(t *testing.T, b []byte) {
		input := slices.Clone(b)
		r, err := wire.DecodeRequest(b)
		if !bytes.Equal(input, b) {
			t.Fatal("input changed")
		}
		if err != nil {
			if want := wire.InvalidOperation; len(b) <= wire.MaxRequest && !errors.Is(err, want) {
				t.Fatalf("got %v, want %v", err, want)
			}
			if len(b) > wire.MaxRequest && !errors.Is(err, wire.InputTooLarge) {
				t.Fatalf("got %v for %d bytes", err, len(b))
			}
			return
		}
		// What was understood means the same in AWS's own encoding.
		canonical, err := wire.AppendRequest(nil, r)
		if err != nil {
			t.Fatal(err)
		}
		if len(canonical) > wire.MaxRequest {
			return // nulls that were left out are spelt out
		}
		again, err := wire.DecodeRequest(canonical)
		if err != nil {
			t.Fatalf("%x: %v", canonical, err)
		}
		if d := cmp.Diff(r, again); d != "" {
			t.Fatalf("(-first +again):\n%s", d)
		}
	})
}

func FuzzDecodeResponse(f *testing.F) {
	for _, tt := range responses {
		f.Add(bin(f, tt.want))
	}
	f.Add(bin(f, "a1 65 4572726f72 6c 496e76616c6964496e646578"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := wire.DecodeResponse(b)
		if err != nil {
			code := wire.ErrorCode(0)
			if errors.Is(err, wire.ErrMalformed) == errors.As(err, &code) {
				t.Fatalf("%v is not exactly one of malformed and a code", err)
			}
			return
		}
		canonical, err := wire.AppendResponse(nil, r)
		if err != nil {
			t.Fatal(err)
		}
		again, err := wire.DecodeResponse(canonical)
		if err != nil {
			t.Fatalf("%x: %v", canonical, err)
		}
		if d := cmp.Diff(r, again); d != "" {
			t.Fatalf("(-first +again):\n%s", d)
		}
	})
}

var sinkRequest wire.Request

func BenchmarkDecodeRequest(b *testing.B) {
	for _, tt := range requests {
		req := bin(b, tt.want)
		b.Run(tt.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r, err := wire.DecodeRequest(req)
				if err != nil {
					b.Fatal(err)
				}
				sinkRequest = r
			}
		})
	}
}
