package nsmtest

import (
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/nitrolab/nitrolab/devices/nsm/wire"
)

// Sequence is the whole suite, for a module that has just booted: every case
// runs once and in this order. At its end every PCR is locked.
func Sequence() []Case {
	return slices.Concat(Boot(), Matrix(), Extends(), Locks(), Attestations(), LockAll())
}

// Boot is the state in which every enclave boots: PCRs 0 to 15 are locked, the
// others zero.
func Boot() []Case {
	cases := []Case{
		{Name: "GetRandom", Request: text("GetRandom"), Want: Random{}, Grade: Hardware},
		{Name: "DescribeNSM at boot", Request: text("DescribeNSM"), Want: Module{Locked: 16}, Grade: Hardware},
		{Name: "Attestation at boot", Request: variant("Attestation"), Want: Document{Locked: 16}, Grade: Source},
	}
	for i := range uint64(16) {
		cases = append(cases, Case{Name: fmt.Sprintf("PCR%d at boot", i),
			Request: variant("DescribePCR", "index", integer(i)), Want: PCR{Lock: true}, Grade: Hardware})
	}
	for i := uint64(16); i < wire.NumPCRs; i++ {
		cases = append(cases, Case{Name: fmt.Sprintf("PCR%d at boot", i),
			Request: variant("DescribePCR", "index", integer(i)), Want: Reply{wire.DescribePCRResponse{}}, Grade: Hardware})
	}
	return cases
}

// Values of PCRs 16 and 17 after the steps of Extends, as hardware computed
// them.
var (
	pcr16 = []wire.PCR{
		value("b33da05a0fdb71627c8c68fc4232281fc440edd6f0ac7467fa497bbb907db32d957b5fd393845fa02c264ad5ea233888"),
		value("022db9572e340c6fe4ae1ea55fc665226932209b42dd8c42556000e913aea3ffec9e55c2cfa7efcc5dc52b0ebf03eb5b"),
	}
	pcr17 = []wire.PCR{
		value("8f0d145c0368ad6b70be22e41c400eea91b971d96ba220fec9fae25a58dffdaaf72dbe8f6783d55128c9df4efaf6f8a7"),
		value("881f42f6a310bb0d4f37d9d75b038a9010d052f0f01a1aac8a34b38f573ba5e4dd8f3d5c8fd14e2f641774d1c4b4c96e"),
		value("ffbb97ea3c03451254d8059cbec835359939342226cb7b672a4fba3f90c3bd343bcbd3a1ab06988ce9cd139ef1709e8e"),
		value("f79d5c4d198d4d050ae118f0dbb9f24df932300db1c5c85ed85ddf3eacc2dc98585f0e38c17755defb6dfe130f1a126d"),
	}
)

// Extends are the known answers of ExtendPCR (enclave-abi.md, section 2.4), on
// PCRs 16 and 17 as they are at boot.
func Extends() []Case {
	first, second := []byte{11, 0, 55, 72, 99, 255, 92, 101}, []byte{101, 102, 255, 0, 23, 44, 77}
	step := func(name string, index uint64, data []byte, want wire.PCR) Case {
		return Case{Name: name, Request: variant("ExtendPCR", "index", integer(index), "data", data),
			Want: Reply{wire.ExtendPCRResponse{Data: want}}, Grade: Hardware}
	}
	return []Case{
		step("extend PCR16", 16, byteString(first), pcr16[0]),
		{Name: "extend PCR16, unknown fields", Request: variant("ExtendPCR",
			"extra", text("yoo"), "data", byteString(second), "index", integer(16), "anotherOne", text("yoho")),
			Want: Reply{wire.ExtendPCRResponse{Data: pcr16[1]}}, Grade: Hardware},
		step("extend PCR17, no bytes", 17, byteString(nil), pcr17[0]),
		step("extend PCR17, 513 bytes", 17, byteString(make([]byte, 513)), pcr17[1]),
		step("extend PCR17, 4000 bytes", 17, byteString(make([]byte, 4000)), pcr17[2]),
		step("extend PCR17, text", 17, text("hello world"), pcr17[3]),
		describe("PCR16 extended", 16, false, pcr16[1]),
		describe("PCR17 extended", 17, false, pcr17[3]),
		describe("PCR18 untouched", 18, false, wire.PCR{}),
		describe("PCR20 untouched by the matrix", 20, false, wire.PCR{}),
	}
}

// Locks locks PCRs 16 to 19 in both ways, after Extends.
func Locks() []Case {
	cases := []Case{
		{Name: "lock PCR16", Request: variant("LockPCR", "index", integer(16)), Want: Reply{wire.LockPCRResponse{}}, Grade: Hardware},
		{Name: "lock PCR16 again", Request: variant("LockPCR", "index", integer(16)), Want: readOnly, Grade: Hardware},
		{Name: "extend locked PCR16", Request: request("ExtendPCR", "index", integer(16)), Want: readOnly, Grade: Source},
		describe("PCR16 locked", 16, true, pcr16[1]),
		{Name: "lock PCR17, unknown fields", Request: variant("LockPCR",
			"Unknown1", text("hello"), "index", integer(17), "Unknown2", text("world")), Want: Reply{wire.LockPCRResponse{}}, Grade: Hardware},
		{Name: "lock range 20", Request: variant("LockPCRs", "range", integer(20)), Want: Reply{wire.LockPCRsResponse{}}, Grade: Hardware},
		{Name: "lock range 20 again, unknown fields", Request: variant("LockPCRs",
			"Unknown1", text("hello"), "range", integer(20), "Unknown2", text("world")), Want: Reply{wire.LockPCRsResponse{}}, Grade: Hardware},
		{Name: "DescribeNSM after locks", Request: text("DescribeNSM"), Want: Module{Locked: 20}, Grade: Hardware},
	}
	for i := range uint64(wire.NumPCRs) {
		cases = append(cases, Case{Name: fmt.Sprintf("PCR%d after range 20", i),
			Request: variant("DescribePCR", "index", integer(i)), Want: PCR{Lock: i < 20}, Grade: Hardware})
	}
	return cases
}

// LockAll locks what is left, after Attestations.
func LockAll() []Case {
	return []Case{
		{Name: "extend PCR31", Request: request("ExtendPCR", "index", integer(31)),
			Want: Reply{wire.ExtendPCRResponse{Data: pcr31}}, Grade: Source},
		{Name: "lock range 33", Request: variant("LockPCRs", "range", integer(33)), Want: badIndex, Grade: Source},
		describe("PCR31 not locked by range 33", 31, false, pcr31),
		{Name: "lock range 32", Request: variant("LockPCRs", "range", integer(32)), Want: Reply{wire.LockPCRsResponse{}}, Grade: Source},
		describe("PCR31 locked", 31, true, pcr31),
		{Name: "extend locked PCR31", Request: request("ExtendPCR", "index", integer(31)), Want: readOnly, Grade: Source},
		{Name: "DescribeNSM, all locked", Request: text("DescribeNSM"), Want: Module{Locked: 32}, Grade: Source},
		{Name: "Attestation, all locked", Request: variant("Attestation"),
			Want: Document{Locked: 32, PCRs: map[uint16]wire.PCR{16: pcr16[1], 31: pcr31}}, Grade: Source},
	}
}

// pcr31 is SHA384(0^48 ‖ 01 02 03).
var pcr31 = value("cb178fcd3f328244c05c6248723fd068b3a1dda878e1ab8be911098f199958add55d0c27f04826d27b44d949a650694e")

func describe(name string, index uint64, locked bool, want wire.PCR) Case {
	return Case{Name: name, Request: variant("DescribePCR", "index", integer(index)),
		Want: Reply{wire.DescribePCRResponse{Lock: locked, Data: want}}, Grade: Source}
}

// value is a PCR written in hexadecimal.
func value(s string) wire.PCR {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic("nsmtest: " + err.Error()) // constant input
	}
	return wire.PCR(b)
}
