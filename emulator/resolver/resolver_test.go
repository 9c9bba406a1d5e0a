package resolver

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"golang.org/x/net/dns/dnsmessage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var zone = Names{
	"kms.us-east-1.amazonaws.com": {netip.MustParseAddr("172.31.255.250")},
	"both.test":                   {netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1"), netip.MustParseAddr("::ffff:10.0.0.2")},
	"empty.test":                  {},
	"many.test":                   many(100),
}

func many(n int) (addrs []netip.Addr) {
	for i := range n {
		addrs = append(addrs, netip.AddrFrom4([4]byte{10, 0, 1, byte(i)}))
	}
	return addrs
}

// ask is a query as a stub resolver makes it.
func ask(name string, kind dnsmessage.Type, change ...func(*dnsmessage.Message)) dnsmessage.Message {
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 0x1234, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: kind, Class: dnsmessage.ClassINET}},
	}
	for _, f := range change {
		f(&m)
	}
	return m
}

// opt adds an EDNS record of a version.
func opt(version uint32, owner string) func(*dnsmessage.Message) {
	return func(m *dnsmessage.Message) {
		m.Additionals = append(m.Additionals, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(owner), Class: 4096, TTL: version << 16},
			Body:   &dnsmessage.OPTResource{Options: []dnsmessage.Option{{Code: 10, Data: []byte("cookie!!")}}},
		})
	}
}

func class(c dnsmessage.Class) func(*dnsmessage.Message) {
	return func(m *dnsmessage.Message) { m.Questions[0].Class = c }
}

// text is an answer in short.
func text(t *testing.T, b []byte) string {
	t.Helper()
	var m dnsmessage.Message
	if err := m.Unpack(b); err != nil {
		t.Fatalf("answer %x: %v", b, err)
	}
	if !m.Response || !m.RecursionAvailable || m.Authoritative || m.Truncated || m.ID != 0x1234 {
		t.Errorf("header %+v", m.Header)
	}
	code := strings.TrimPrefix(m.RCode.String(), "RCode")
	out := []string{}
	for _, q := range m.Questions {
		out = append(out, "? "+q.Name.String()+" "+strings.TrimPrefix(q.Type.String(), "Type"))
	}
	for _, a := range m.Answers {
		if a.Header.TTL != TTL || a.Header.Name != m.Questions[0].Name || a.Header.Class != dnsmessage.ClassINET {
			t.Errorf("record %+v", a.Header)
		}
		switch r := a.Body.(type) {
		case *dnsmessage.AResource:
			out = append(out, netip.AddrFrom4(r.A).String())
		case *dnsmessage.AAAAResource:
			out = append(out, netip.AddrFrom16(r.AAAA).String())
		default:
			t.Errorf("record %v", a)
		}
	}
	for _, a := range m.Additionals {
		if a.Header.Type == dnsmessage.TypeOPT {
			out = append(out, "EDNS")
			code = strings.TrimPrefix(a.Header.ExtendedRCode(m.RCode).String(), "RCode")
		}
	}
	return strings.Join(append([]string{code}, out...), " ")
}

func TestAnswer(t *testing.T) {
	const kms = "kms.us-east-1.amazonaws.com."
	tests := []struct {
		name  string
		query dnsmessage.Message
		want  string
	}{
		{"A", ask(kms, dnsmessage.TypeA), "Success ? " + kms + " A 172.31.255.250"},
		{"in capitals, which stay", ask("KMS.US-east-1.amazonAWS.com.", dnsmessage.TypeA), "Success ? KMS.US-east-1.amazonAWS.com. A 172.31.255.250"},
		{"AAAA of a name without", ask(kms, dnsmessage.TypeAAAA), "Success ? " + kms + " AAAA"},
		{"A of both", ask("both.test.", dnsmessage.TypeA), "Success ? both.test. A 10.0.0.1 10.0.0.2"},
		{"AAAA of both", ask("both.test.", dnsmessage.TypeAAAA), "Success ? both.test. AAAA fd00::1"},
		{"ANY", ask("both.test.", dnsmessage.TypeALL), "Success ? both.test. ALL 10.0.0.1 fd00::1 10.0.0.2"},
		{"any class", ask(kms, dnsmessage.TypeA, class(dnsmessage.ClassANY)), "Success ? " + kms + " A 172.31.255.250"},
		{"name without addresses", ask("empty.test.", dnsmessage.TypeA), "Success ? empty.test. A"},
		{"MX", ask(kms, dnsmessage.TypeMX), "Success ? " + kms + " MX"},
		{"unknown", ask("example.com.", dnsmessage.TypeA), "NameError ? example.com. A"},
		{"below a name", ask("x."+kms, dnsmessage.TypeA), "NameError ? x." + kms + " A"},
		{"root", ask(".", dnsmessage.TypeNS), "NameError ? . NS"},
		{"too many", ask("many.test.", dnsmessage.TypeA), "Success ? many.test. A" + addrs(MaxAddresses)},
		{"EDNS", ask(kms, dnsmessage.TypeA, opt(0, ".")), "Success ? " + kms + " A 172.31.255.250 EDNS"},
		{"EDNS of an unknown name", ask("example.com.", dnsmessage.TypeA, opt(0, ".")), "NameError ? example.com. A EDNS"},
		{"EDNS of a later version", ask(kms, dnsmessage.TypeA, opt(1, ".")), "16 ? " + kms + " A EDNS"},
		{"EDNS twice", ask(kms, dnsmessage.TypeA, opt(0, "."), opt(0, ".")), "FormatError ? " + kms + " A"},
		{"EDNS of a name", ask(kms, dnsmessage.TypeA, opt(0, "a.")), "FormatError ? " + kms + " A"},
		{"other class", ask(kms, dnsmessage.TypeA, class(dnsmessage.ClassCHAOS)), "NotImplemented ? " + kms + " A"},
		{"other operation", ask(kms, dnsmessage.TypeA, func(m *dnsmessage.Message) { m.OpCode = 5 }), "NotImplemented"},
		{"no question", ask(kms, dnsmessage.TypeA, func(m *dnsmessage.Message) { m.Questions = nil }), "FormatError"},
		{"two questions", ask(kms, dnsmessage.TypeA, func(m *dnsmessage.Message) { m.Questions = append(m.Questions, m.Questions[0]) }), "FormatError"},
	}
	r := New(zone.Lookup)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			q, err := tt.query.Pack()
			if err != nil {
				t.Fatal(err)
			}
			b, ok := r.Answer(q)
			if !ok {
				t.Fatal("no answer")
			}
			if diff := cmp.Diff(tt.want, text(t, b)); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
			if got := b[2] & 1; got != q[2]&1 {
				t.Error("recursion desired was not copied")
			}
		})
	}
}

func addrs(n int) string {
	var s strings.Builder
	for _, a := range many(n) {
		fmt.Fprintf(&s, " %v", a)
	}
	return s.String()
}

// hostile are messages that nobody with good intentions sends, in hexadecimal.
var hostile = map[string]string{
	"nothing":                       "",
	"half a header":                 "123401000001",
	"an answer":                     "1234818000010000000000000161000001" + "0001",
	"header without its question":   "123401000001000000000000",
	"name that does not end":        "123401000001000000000000" + "0361626303616263",
	"pointer to itself":             "123401000001000000000000" + "c00c00010001",
	"pointers in a ring":            "123401000001000000000000" + "c00ec00c00010001",
	"pointer beyond the end":        "123401000001000000000000" + "cfff00010001",
	"label of 64":                   "123401000001000000000000" + "40" + strings.Repeat("61", 64) + "0000010001",
	"name of 300":                   "123401000001000000000000" + strings.Repeat("09"+strings.Repeat("61", 9), 30) + "0000010001",
	"65535 questions":               "12340100ffff000000000000" + "0161000001" + "0001",
	"65535 further records":         "12340100000100000000ffff" + "01610000010001",
	"records where answers go":      "123401000001ffffffffffff" + "01610000010001",
	"EDNS longer than the message":  "123401000001000000000001" + "01610000010001" + "0000291000000000000ffff",
	"label with a dot in it":        "123401000001000000000000" + "03612e62" + "0000010001",
	"label of bytes above 127":      "123401000001000000000000" + "02ff80" + "0000010001",
	"zero bytes in the name":        "123401000001000000000000" + "020000" + "0000010001",
	"bytes after the end":           "123401000001000000000000" + "01610000010001" + "deadbeef",
	"twenty records beside":         "123401000001000000000014" + "01610000010001" + strings.Repeat("0000100001000000000000", 20),
	"record shorter than it should": "123401000001000000000001" + "01610000010001" + "00002910000000000000",
}

// What is hostile has an answer that is an error or none at all, never an address.
func TestHostile(t *testing.T) {
	r := New(func(string) ([]netip.Addr, bool) { return many(1), true })
	innocent := map[string]bool{"label of bytes above 127": true, "zero bytes in the name": true, "bytes after the end": true}
	for name, text := range hostile {
		t.Run(name, func(t *testing.T) {
			q, err := hex.DecodeString(text + strings.Repeat("0", len(text)%2))
			if err != nil {
				t.Fatal(err)
			}
			b, ok := r.Answer(q)
			if !ok {
				return
			}
			var m dnsmessage.Message
			if err := m.Unpack(b); err != nil {
				t.Fatalf("answer %x: %v", b, err)
			}
			if !innocent[name] && (m.RCode != dnsmessage.RCodeFormatError || len(m.Answers) > 0) {
				t.Errorf("answer %+v", m)
			}
		})
	}
}

func FuzzAnswer(f *testing.F) {
	for _, text := range hostile {
		if b, err := hex.DecodeString(text + strings.Repeat("0", len(text)%2)); err == nil {
			f.Add(b)
		}
	}
	for _, m := range []dnsmessage.Message{ask("both.test.", dnsmessage.TypeALL, opt(0, ".")), ask("many.test.", dnsmessage.TypeA), ask("x.", dnsmessage.TypeA, opt(3, "."))} {
		b, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	r := New(zone.Lookup)
	f.Fuzz(func(t *testing.T, q []byte) {
		b, ok := r.Answer(q)
		if !ok {
			return
		}
		var m dnsmessage.Message
		if err := m.Unpack(b); err != nil {
			t.Fatalf("%x: answer %x: %v", q, b, err)
		}
		if !m.Response || string(b[:2]) != string(q[:2]) || len(b) > 1024 {
			t.Errorf("%x: answer %x", q, b)
		}
		if _, again := r.Answer(b); again {
			t.Errorf("an answer has an answer: %x", b)
		}
	})
}

func BenchmarkAnswer(b *testing.B) {
	m := ask("kms.us-east-1.amazonaws.com.", dnsmessage.TypeA, opt(0, "."))
	q, err := m.Pack()
	if err != nil {
		b.Fatal(err)
	}
	r := New(zone.Lookup)
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := r.Answer(q); !ok {
			b.Fatal("no answer")
		}
	}
}
