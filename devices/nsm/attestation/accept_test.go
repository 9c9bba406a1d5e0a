package attestation

import (
	"bytes"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nitrolab/nitrolab/devices/weaken"
)

// TestAccept: what is legal must pass, or the negative tests prove nothing.
// Numbers are those of the catalogue, users-and-attacks section 2.2 A.
func TestAccept(t *testing.T) {
	for _, tt := range []struct {
		name   string
		forge  func(*forgery)
		demand func(*Options)
	}{
		{name: "as issued"},
		{name: "A19 tag 18", forge: func(f *forgery) { f.prefix = []byte{0xd2} }},
		{name: "A19 indefinite map", forge: func(f *forgery) { f.head, f.tail = []byte{0xbf}, []byte{0xff} }},
		{name: "A19 length of the map in two bytes", forge: func(f *forgery) { f.head = []byte{0xb8, 9} }},
		{name: "keys in another order", forge: func(f *forgery) { f.fields[0], f.fields[8] = f.fields[8], f.fields[0] }},
		{
			name: "A17 optional fields null",
			forge: func(f *forgery) {
				for _, key := range []string{"public_key", "user_data", "nonce"} {
					f.set(key, []byte{0xf6})
				}
			},
		},
		{
			name: "A17 optional fields absent",
			forge: func(f *forgery) {
				for _, key := range []string{"public_key", "user_data", "nonce"} {
					f.drop(key)
				}
			},
		},
		{
			name: "A17 each field as expected",
			demand: func(o *Options) {
				o.PublicKey, o.UserData, o.Nonce = []byte("public key"), []byte("user data"), []byte("nonce")
			},
		},
		{
			name:   "A17 empty nonce as expected",
			forge:  func(f *forgery) { f.set("nonce", []byte{0x40}) },
			demand: func(o *Options) { o.Nonce = []byte{} },
		},
		{name: "1024 bytes of user data", forge: func(f *forgery) { f.set("user_data", bstr(make([]byte, 1024))) }},
		{
			name:   "4000 bytes of nonce, allowed",
			forge:  func(f *forgery) { f.set("nonce", bstr(make([]byte, 4000))) },
			demand: func(o *Options) { o.MaxField = 4096 },
		},
		{
			name: "A8 PCR0 to PCR31",
			forge: func(f *forgery) {
				all := productionPCRs()
				for i := range uint(16) {
					all[16+i] = make([]byte, pcrSize)
				}
				f.set("pcrs", pcrItem(all))
			},
		},
		{
			name: "A8 PCR20 alone beside PCR0 to PCR15",
			forge: func(f *forgery) {
				all := productionPCRs()
				all[20] = pcr("twenty")
				f.set("pcrs", pcrItem(all))
			},
			demand: func(o *Options) { o.PCRs[20] = pcr("twenty") },
		},
		{
			name: "A8 PCR8 of a signed image",
			forge: func(f *forgery) {
				all := productionPCRs()
				all[8] = pcr("signer")
				f.set("pcrs", pcrItem(all))
			},
			demand: func(o *Options) { o.PCRs[8] = pcr("signer") },
		},
		{name: "no PCR policy, said so", demand: func(o *Options) { o.PCRs, o.NoPCRPolicy = nil, true }},
		{name: "A11 fresh", demand: func(o *Options) { o.MaxAge = time.Minute }},
		{name: "A12 archived, replayed at its own time", demand: func(o *Options) { o.Time, o.AtDocumentTime = time.Time{}, true }},
		{name: "A13 first instant", demand: func(o *Options) { o.Time = t0.Truncate(time.Second).Add(-3 * time.Second) }},
		{name: "A13 last instant", demand: func(o *Options) { o.Time = t0.Truncate(time.Second).Add(3 * time.Hour) }},
		{name: "A16 malleable twin", forge: func(f *forgery) { f.signature = negateS }},
		{name: "another pinned root before ours", demand: func(o *Options) {
			other := newTestAuthority(t, Config{Entropy: entropy(9)})
			o.Roots = append([]*x509.Certificate{other.Root()}, o.Roots...)
		}},
		{
			name: "instance without key identifiers, as until 2024",
			forge: func(f *forgery) {
				f.instance = f.reissue(f.reissue(f.instance, without(oidSubjectKeyID)), without(oidAuthorityKeyID))
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newForgery(t)
			opts := policy(f.root.cert)
			if tt.forge != nil {
				tt.forge(f)
			}
			if tt.demand != nil {
				tt.demand(&opts)
			}
			r, err := Verify(f.bytes(), opts)
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Chain) != 5 || r.Document == nil {
				t.Errorf("result has %d certificates and document %v", len(r.Chain), r.Document)
			}
		})
	}
}

// TestOneRamdisk: PCR2 of an image with a single ramdisk measures nothing and
// is still not zero (enclave-abi section 4.4).
func TestOneRamdisk(t *testing.T) {
	f := newForgery(t)
	all := productionPCRs()
	all[2] = mustHex(t, "21b9efbc184807662e966d34f390821309eeac6802309798826296bf3e8bec7c10edb30948c90ba67310f7b964fc500a")
	f.set("pcrs", pcrItem(all))
	opts := policy(f.root.cert)
	opts.PCRs[2] = all[2]
	if _, err := Verify(f.bytes(), opts); err != nil {
		t.Error(err)
	}
}

// TestReport: names, order, status and words of a report, for a good document
// and for one of a debug enclave.
func TestReport(t *testing.T) {
	a := newTestAuthority(t, Config{})
	i := newTestIssuer(t, a)
	opts := policy(a.Root())
	opts.PCRs = map[uint][]byte{0: pcr("PCR0"), 8: make([]byte, pcrSize)}
	opts.Nonce, opts.MaxAge = []byte("nonce"), time.Minute
	lines := func(r *Result) []string {
		var out []string
		for _, c := range r.Checks {
			out = append(out, c.Name+" | "+c.Status.String()+" | "+c.Detail)
			if (c.Err != nil) != (c.Status == Failed) {
				t.Errorf("check %s has status %v and error %v", c.Name, c.Status, c.Err)
			}
		}
		return out
	}

	good, err := Verify(newTestDocument(t, i, Claims{PCRs: productionPCRs(), Nonce: []byte("nonce")}), opts)
	if err != nil {
		t.Fatal(err)
	}
	start := []string{
		"format | ok | COSE_Sign1, untagged, 2025 encoding (indefinite map), 16 PCRs",
		"signature | ok | ES384, leaf serial 0199abcdef012345000000006b040cad",
		`chain | ok | 5 certificates, up to pinned root certificate "nitrolab-emulated.nitro-enclaves"`,
		"validity | ok | all valid at 2026-11-23T09:51:42Z, leaf for another 2h59m59s",
		"digest | ok | SHA384",
		"timestamp | ok | 2026-11-23T09:51:41.250Z",
		"freshness | ok | 1s old, at most 1m0s",
		"fields | ok | nonce 5 bytes",
	}
	want := append(append([]string{}, start...),
		"debug | ok | PCR0, PCR1, PCR2 are not zero",
		"PCR0 | ok | "+short(pcr("PCR0")),
		"PCR1 | skipped | any value: the policy does not name it",
		"PCR2 | skipped | any value: the policy does not name it",
		"PCR8 | ok | 0000…00",
		"public_key | skipped | no value is expected",
		"user_data | skipped | no value is expected",
		"nonce | ok | 6e6f…65, as expected",
	)
	if diff := cmp.Diff(want, lines(good)); diff != "" {
		t.Errorf("report of a good document (-want +got):\n%s", diff)
	}

	debug, err := Verify(newTestDocument(t, i, Claims{PCRs: debugPCRs(), Nonce: []byte("nonce")}), opts)
	want[8] = "debug | FAIL | PCR0, PCR1, PCR2 zero or absent: the enclave ran in debug mode"
	want[9] = "PCR0 | FAIL | expected " + short(pcr("PCR0")) + ", found 0000…00: the enclave ran in debug mode"
	if diff := cmp.Diff(want, lines(debug)); diff != "" {
		t.Errorf("report of a debug document (-want +got):\n%s", diff)
	}
	wantErr := "attestation document refused: 2 of 12 checks failed: debug: " + strings.SplitN(want[8], " | ", 3)[2] +
		"; PCR0: " + strings.SplitN(want[9], " | ", 3)[2]
	if err == nil || err.Error() != wantErr {
		t.Errorf("error %v\nwant  %s", err, wantErr)
	}
	var refusal *VerifyError
	if !errors.As(err, &refusal) || len(refusal.Failed) != 2 || refusal.Made != 12 {
		t.Errorf("error is %#v, want a VerifyError of 2 among 12", err)
	}

	bad, err := Verify([]byte("no document"), opts)
	if !errors.Is(err, ErrFormat) {
		t.Errorf("error %v, want ErrFormat", err)
	}
	var names []string
	for _, line := range want {
		names = append(names, strings.SplitN(line, " | ", 2)[0])
	}
	for k, c := range bad.Checks {
		if c.Name != names[k] || (k > 0 && c.Status != Skipped) {
			t.Errorf("unreadable document: check %d is %s %v, want %s skipped", k, c.Name, c.Status, names[k])
		}
	}
}

// TestWeakenZeroPCR is the counter-proof of A4 and A5: with that one protection
// off, and nothing else, the same documents pass, and the report says so.
func TestWeakenZeroPCR(t *testing.T) {
	for name, pcrs := range map[string]map[uint][]byte{"A4 debug": debugPCRs(), "A5 all zero": registers()} {
		t.Run(name, func(t *testing.T) {
			f := newForgery(t)
			f.set("pcrs", pcrItem(pcrs))
			raw := f.bytes()
			for _, opts := range []Options{
				{NoPCRPolicy: true},
				{PCRs: map[uint][]byte{0: make([]byte, pcrSize)}}, // B2: a policy that pins zeros
			} {
				opts.Roots, opts.Time = []*x509.Certificate{f.root.cert}, t0
				r, err := Verify(raw, opts)
				if diff := cmp.Diff([]string{CheckDebug}, failures(r)); diff != "" || !errors.Is(err, ErrDebug) {
					t.Errorf("protected: error %v, failed checks (-want +got):\n%s", err, diff)
				}
				opts.Weaken = weaken.Only(weaken.ZeroPCR)
				r, err = Verify(raw, opts)
				if err != nil {
					t.Errorf("weakened: %v", err)
				}
				c := check(t, r, CheckDebug)
				want := "PROTECTION OFF: attestation: zero PCR check: PCR0, PCR1, PCR2 zero or absent, accepted"
				if c.Status != Skipped || c.Detail != want {
					t.Errorf("weakened: check is %v %q, want skipped %q", c.Status, c.Detail, want)
				}
			}
		})
	}
	// It switches off nothing else.
	f := newForgery(t)
	f.set("pcrs", pcrItem(debugPCRs()))
	f.signature = func(s []byte) []byte { return bytes.Repeat([]byte{0}, len(s)) }
	opts := policy(f.root.cert)
	opts.Weaken = weaken.Only(weaken.ZeroPCR)
	r, _ := Verify(f.bytes(), opts)
	if diff := cmp.Diff([]string{CheckSignature, "PCR0", "PCR1", "PCR2"}, failures(r)); diff != "" {
		t.Errorf("failed checks (-want +got):\n%s", diff)
	}
}

// TestTwin is A16: two documents of different bytes, both good, one content.
func TestTwin(t *testing.T) {
	f := newForgery(t)
	opts := policy(f.root.cert)
	first, err := Verify(f.bytes(), opts)
	if err != nil {
		t.Fatal(err)
	}
	f.signature, f.prefix = negateS, []byte{0xd2}
	second, err := Verify(f.bytes(), opts)
	if err != nil {
		t.Fatal(err)
	}
	if first.Document.Fingerprint() != second.Document.Fingerprint() {
		t.Error("the twin has another fingerprint")
	}
	f.set("nonce", bstr([]byte("other")))
	third, err := Verify(f.bytes(), opts)
	if err != nil {
		t.Fatal(err)
	}
	if first.Document.Fingerprint() == third.Document.Fingerprint() {
		t.Error("another content has the same fingerprint")
	}
}
