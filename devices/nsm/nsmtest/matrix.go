package nsmtest

import (
	"slices"
	"syscall"

	"github.com/nitrolab/nitrolab/devices/nsm/wire"
)

// Matrix is the error matrix (enclave-abi.md, section 2.3) and the encodings
// that are accepted: cases that change nothing and may run in any order, at any
// time after boot.
func Matrix() []Case {
	return slices.Concat(commands(), topLevel(), numbers(), widths(), data(), attestationErrors(), leniency(), limits())
}

const (
	invalid  = Error(wire.InvalidOperation)
	badIndex = Error(wire.InvalidIndex)
	readOnly = Error(wire.ReadOnlyIndex)
)

// numbered are the requests with one number and the name of that number.
var numbered = []struct{ name, field string }{
	{"DescribePCR", "index"},
	{"LockPCR", "index"},
	{"LockPCRs", "range"},
	{"ExtendPCR", "index"},
}

// request is the variant with these fields, and with the data that ExtendPCR
// needs to be complete.
func request(name string, items ...any) []byte {
	if name == "ExtendPCR" {
		items = append(items, "data", byteString([]byte{1, 2, 3}))
	}
	return variant(name, items...)
}

// commands are what is no request at all.
func commands() []Case {
	return []Case{
		{Name: "unknown command", Request: text("UnknownCommand"), Want: invalid, Grade: Hardware},
		{Name: "not CBOR", Request: []byte{0xff, 0xff, 0xff, 0xff}, Want: invalid, Grade: Hardware},
		{Name: "unknown command with fields", Request: variant("UnknownCommand"), Want: invalid, Grade: Decided},
		{Name: "command in lower case", Request: text("describensm"), Want: invalid, Grade: Decided},
		{Name: "command in byte string", Request: byteString([]byte("DescribeNSM")), Want: invalid, Grade: Decided},
		{Name: "number", Request: integer(0), Want: invalid, Grade: Decided},
		{Name: "null", Request: null, Want: invalid, Grade: Decided},
		{Name: "array", Request: append([]byte{0x81}, text("DescribeNSM")...), Want: invalid, Grade: Decided},
		{Name: "fields missing", Request: text("DescribePCR"), Want: invalid, Grade: Decided},
		{Name: "fields for a command without", Request: variant("DescribeNSM"), Want: invalid, Grade: Decided},
		{Name: "fields null", Request: mapOf(text("DescribePCR"), null), Want: invalid, Grade: Decided},
		{Name: "fields in array", Request: mapOf(text("DescribePCR"), []byte{0x81, 0x00}), Want: invalid, Grade: Decided},
		{Name: "truncated text", Request: text("DescribeNSM")[:5], Want: invalid, Grade: Decided},
		{Name: "truncated map", Request: request("DescribePCR", "index", integer(4))[:15], Want: invalid, Grade: Decided},
		{Name: "trailing byte", Request: append(text("DescribeNSM"), 0), Want: invalid, Grade: Decided},
		{Name: "two commands", Request: append(text("DescribeNSM"), text("DescribeNSM")...), Want: invalid, Grade: Decided},
		{Name: "tagged", Request: append(slices.Clone(selfDescribed), text("DescribeNSM")...), Want: invalid, Grade: Decided},
		{Name: "invalid UTF-8", Request: text("Describe\xff"), Want: invalid, Grade: Decided},
	}
}

// topLevel are maps of other than one entry.
func topLevel() []Case {
	cases := []Case{
		{Name: "empty map", Request: mapOf(), Want: invalid, Grade: Decided},
		{Name: "same command twice", Request: mapOf(
			text("DescribePCR"), fields("index", integer(2)),
			text("DescribePCR"), fields("index", integer(2)),
		), Want: invalid, Grade: Decided},
	}
	for _, r := range numbered {
		valid := [][]byte{text(r.name), request(r.name, r.field, integer(20))[1+len(text(r.name)):]}
		before := [][]byte{text("Unknown1"), text("hello")}
		after := [][]byte{text("Unknown2"), text("world")}
		cases = append(cases,
			Case{Name: r.name + " between unknown entries", Request: mapOf(slices.Concat(before, valid, after)...), Want: invalid, Grade: Hardware},
			Case{Name: r.name + " before an unknown entry", Request: mapOf(slices.Concat(valid, after)...), Want: invalid, Grade: Hardware},
			Case{Name: r.name + " after an unknown entry", Request: mapOf(slices.Concat(before, valid)...), Want: invalid, Grade: Source},
		)
	}
	return cases
}

// numbers are indexes and ranges that are none, or out of range.
func numbers() []Case {
	var cases []Case
	for _, r := range numbered {
		for _, v := range []struct {
			name  string
			items []any
			want  Want
			grade Grade
		}{
			{"missing", nil, invalid, Source},
			{"misspelt", []any{r.field[:4], integer(2)}, invalid, Hardware},
			{"in upper case", []any{"INDEX", integer(2), "RANGE", integer(2)}, invalid, Decided},
			{"text", []any{r.field, text("")}, invalid, Hardware},
			{"null", []any{r.field, null}, invalid, Hardware},
			{"undefined", []any{r.field, undefined}, invalid, Decided},
			{"byte string", []any{r.field, byteString(nil)}, invalid, Hardware},
			{"4294967296", []any{r.field, integer(1 << 32)}, invalid, Hardware},
			{"negative", []any{r.field, minusOne}, invalid, Hardware},
			{"true", []any{r.field, []byte{0xf5}}, invalid, Decided},
			{"float 0.0", []any{r.field, []byte{0xf9, 0x00, 0x00}}, invalid, Decided},
			{"bignum 2", []any{r.field, []byte{0xc2, 0x41, 0x02}}, invalid, Decided},
			{"tagged", []any{r.field, append(slices.Clone(selfDescribed), 2)}, invalid, Decided},
			{"2 beside a tagged field", []any{r.field, integer(2), "x", append(slices.Clone(selfDescribed), 2)}, invalid, Decided},
			{"array", []any{r.field, []byte{0x81, 0x02}}, invalid, Decided},
			{"twice", []any{r.field, integer(2), r.field, integer(2)}, invalid, Decided},
			{"50", []any{r.field, integer(50)}, badIndex, Hardware},
			{"33", []any{r.field, integer(33)}, badIndex, Source},
			{"255", []any{r.field, integer(255)}, badIndex, Decided},
			{"256", []any{r.field, integer(256)}, badIndex, Decided},
			{"65535", []any{r.field, integer(65535)}, badIndex, Decided},
			{"65536", []any{r.field, integer(65536)}, invalid, Decided},
			{"2^64-1", []any{r.field, integer(1<<64 - 1)}, invalid, Decided},
		} {
			if r.name == "ExtendPCR" && v.grade == Hardware {
				v.grade = Source // hardware was asked with the other three
			}
			cases = append(cases, Case{
				Name: r.name + " " + r.field + " " + v.name, Request: request(r.name, v.items...),
				Want: v.want, Grade: v.grade,
			})
		}
		if r.field == "index" {
			cases = append(cases, Case{
				Name: r.name + " index 32", Request: request(r.name, "index", integer(32)), Want: badIndex, Grade: Source,
			})
		}
	}
	return append(cases,
		Case{Name: "LockPCR locked PCR", Request: request("LockPCR", "index", integer(0)), Want: readOnly, Grade: Hardware},
		Case{Name: "LockPCRs range 16 locked already", Request: request("LockPCRs", "range", integer(16)),
			Want: Reply{wire.LockPCRsResponse{}}, Grade: Hardware},
		Case{Name: "LockPCRs range 0", Request: request("LockPCRs", "range", integer(0)),
			Want: Reply{wire.LockPCRsResponse{}}, Grade: Decided},
	)
}

// widths are indexes in every width that CBOR has.
func widths() []Case {
	var cases []Case
	for _, w := range []struct {
		name  string
		width int
	}{{"1 byte", 1}, {"2 bytes", 2}, {"4 bytes", 4}, {"8 bytes", 8}} {
		cases = append(cases,
			Case{Name: "index 4 in " + w.name, Request: request("DescribePCR", "index", wide(majorUint, 4, w.width)),
				Want: PCR{Lock: true}, Grade: Source},
			Case{Name: "index 50 in " + w.name, Request: request("DescribePCR", "index", wide(majorUint, 50, w.width)),
				Want: badIndex, Grade: Decided},
		)
	}
	return cases
}

// data are ExtendPCR requests that fail because of the data or the lock.
func data() []Case {
	extend := func(index uint64, items ...any) []byte {
		return variant("ExtendPCR", append([]any{"index", integer(index)}, items...)...)
	}
	return []Case{
		{Name: "ExtendPCR locked PCR", Request: extend(0, "data", byteString([]byte{0, 1, 2, 3})), Want: readOnly, Grade: Hardware},
		{Name: "ExtendPCR data missing", Request: extend(16), Want: invalid, Grade: Hardware},
		{Name: "ExtendPCR data null", Request: extend(16, "data", null), Want: invalid, Grade: Hardware},
		{Name: "ExtendPCR fields misspelt", Request: variant("ExtendPCR", "inde", integer(2), "dat", byteString(nil)), Want: invalid, Grade: Hardware},
		{Name: "ExtendPCR data missing, locked PCR", Request: extend(0), Want: invalid, Grade: Decided},
		{Name: "ExtendPCR data missing, index 50", Request: extend(50), Want: invalid, Grade: Decided},
		{Name: "ExtendPCR data number", Request: extend(16, "data", integer(1)), Want: invalid, Grade: Decided},
		{Name: "ExtendPCR data array", Request: extend(16, "data", []byte{0x82, 0x01, 0x02}), Want: invalid, Grade: Decided},
		{Name: "ExtendPCR data twice", Request: extend(16, "data", byteString(nil), "data", byteString(nil)), Want: invalid, Grade: Decided},
		{Name: "ExtendPCR data longer than the request", Request: extend(16, "data", wide(majorBytes, 1<<62, 8)), Want: invalid, Grade: Decided},
		{Name: "ExtendPCR data text of invalid UTF-8", Request: extend(16, "data", text("\xff")), Want: invalid, Grade: Decided},
	}
}

// attestationErrors are Attestation requests that make no document.
func attestationErrors() []Case {
	cases := []Case{
		{Name: "Attestation text", Request: mapOf(text("Attestation"), text("hello")), Want: invalid, Grade: Hardware},
		{Name: "Attestation null", Request: mapOf(text("Attestation"), null), Want: invalid, Grade: Decided},
		{Name: "Attestation nonce number among texts", Request: variant("Attestation",
			"public_key", text("public_key"), "nonce", integer(52), "user_data", text("user_data")),
			Want: invalid, Grade: Hardware},
	}
	for _, field := range []string{"user_data", "nonce", "public_key"} {
		cases = append(cases,
			Case{Name: "Attestation " + field + " number", Request: variant("Attestation", field, integer(52)), Want: invalid, Grade: Source},
			Case{Name: "Attestation " + field + " array", Request: variant("Attestation", field, []byte{0x80}), Want: invalid, Grade: Decided},
			Case{Name: "Attestation " + field + " twice", Request: variant("Attestation", field, null, field, null), Want: invalid, Grade: Decided},
		)
	}
	return cases
}

// leniency are requests that look odd and are accepted.
func leniency() []Case {
	locked := PCR{Lock: true}
	return []Case{
		{Name: "DescribePCR unknown fields", Request: variant("DescribePCR",
			"Unknown1", text("hello"), "index", integer(4), "Unknown2", text("world")), Want: locked, Grade: Hardware},
		{Name: "DescribePCR unknown fields of other types", Request: mapOf(text("DescribePCR"), mapOf(
			integer(1), integer(1), byteString([]byte{1}), null, text("index"), integer(4), text("x"), mapOf(null, []byte{0x81, 0x80}),
		)), Want: locked, Grade: Decided},
		{Name: "DescribePCR indefinite maps", Request: slices.Concat(
			[]byte{majorMap | indefinite}, text("DescribePCR"), []byte{majorMap | indefinite}, text("index"), integer(4), []byte{stop, stop},
		), Want: locked, Grade: Decided},
		{Name: "DescribePCR indefinite name", Request: mapOf(
			slices.Concat([]byte{majorText | indefinite}, text("Describe"), text("PCR"), []byte{stop}), fields("index", integer(4)),
		), Want: locked, Grade: Decided},
		{Name: "DescribePCR names in long heads", Request: mapOf(
			append(wide(majorText, 11, 8), "DescribePCR"...), mapOf(append(wide(majorText, 5, 4), "index"...), integer(4)),
		), Want: locked, Grade: Decided},
	}
}

// limits are requests around the limits on their length and depth.
func limits() []Case {
	// The map of one entry to the map of one entry to the byte string takes 23
	// bytes around the nonce.
	longest := wire.MaxRequest - 23
	return []Case{
		{Name: "request of 4097 bytes", Request: variant("Attestation", "nonce", byteString(make([]byte, longest+1))),
			Want: Error(wire.InputTooLarge), Grade: Source, Errno: syscall.EMSGSIZE},
		{Name: "request of 8192 bytes", Request: make([]byte, 8192),
			Want: Error(wire.InputTooLarge), Grade: Source, Errno: syscall.EMSGSIZE},
		{Name: "nesting of 4096 arrays", Request: slices.Repeat([]byte{0x81}, wire.MaxRequest), Want: invalid, Grade: Decided},
		{Name: "nesting of 40 in an unknown field", Request: variant("DescribePCR",
			"index", integer(4), "x", append(slices.Repeat([]byte{0x81}, 40), 0)), Want: invalid, Grade: Decided},
		{Name: "nesting of 16 in an unknown field", Request: variant("DescribePCR",
			"index", integer(4), "x", append(slices.Repeat([]byte{0x81}, 16), 0)), Want: PCR{Lock: true}, Grade: Decided},
		{Name: "map of 2^63 entries", Request: wide(majorMap, 1<<63, 8), Want: invalid, Grade: Decided},
		{Name: "array of 2^32 entries in an unknown field", Request: variant("DescribePCR",
			"index", integer(4), "x", wide(0x80, 1<<32, 8)), Want: invalid, Grade: Decided},
		{Name: "map of 1000 unknown fields", Request: mapOf(text("DescribePCR"), mapOf(append(
			numberedFields(1000), text("index"), integer(4))...)), Want: PCR{Lock: true}, Grade: Decided},
	}
}

// numberedFields are n entries whose keys are the numbers from 0 on.
func numberedFields(n int) (items [][]byte) {
	for i := range n {
		items = append(items, integer(uint64(i)), null)
	}
	return items
}

// Empty is a request of no bytes. It stands apart because drivers and transports
// differ: the 4.14 driver refuses it with EINVAL, later ones post a descriptor
// of length 0, which virtio does not foresee.
func Empty() Case {
	return Case{Name: "empty request", Request: []byte{}, Want: invalid, Grade: Decided, Errno: syscall.EINVAL}
}
